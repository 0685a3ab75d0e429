//! Readers of files that only this crate uses otherwise, for the fuzz targets.

use crate::access::{ClientNames, Domains, read_clients, read_tokens};
use crate::net::check_pem;

/// Reads a file of `--admin-tokens`. Returns the number of tokens.
///
/// # Errors
/// What the log would say.
pub fn tokens(text: &[u8]) -> Result<usize, String> {
    read_tokens(text)
}

/// Reads a file of `--access`. Returns whether a client whose certificate has these names may check all domains, some, or none.
///
/// # Errors
/// What the log would say.
pub fn clients(text: &[u8], uris: Vec<String>, dns: Vec<String>) -> Result<&'static str, String> {
    let domains = read_clients(text, &ClientNames { uris, dns })?;
    Ok(match domains {
        Domains::All => "all",
        Domains::Only(some) if some.is_empty() => "none",
        Domains::Only(_) => "some",
    })
}

/// Reads the PEM files of a port as at a reload. Returns when the certificate expires, in seconds since the epoch.
///
/// # Errors
/// What the log would say.
pub fn pem(cert: &[u8], key: &[u8], client_ca: Option<&[u8]>) -> Result<i64, String> {
    check_pem(cert, key, client_ca)
}
