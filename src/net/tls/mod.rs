//! TLS by rustls, with ring as the only cryptography.

mod client;
mod pem;
mod server;

pub(crate) use client::{ClientFiles, TlsClient, explain};
pub(crate) use server::{ServerFiles, TlsError, TlsServer, watch};
