//! TLS by rustls, with ring as the only cryptography.

mod client;
mod peer_names;
mod pem;
mod server;

pub(crate) use client::{ClientFiles, TlsClient, TlsDialer, Words, explain};
pub(crate) use peer_names::PeerNames;
pub(crate) use server::{ServerFiles, TlsError, TlsServer, check_pem, watch};
