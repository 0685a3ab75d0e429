//! TLS by rustls, with ring as the only cryptography.

mod client;
mod pem;

pub(crate) use client::{ClientFiles, TlsClient, explain};
