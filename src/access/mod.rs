//! Who may do what: on the admin port by tokens with a role and domains, on the gRPC port by the names in client certificates.
//!
//! ```text
//! --admin-tokens FILE --read--> Tokens (SHA-256 hashes only) --swap--> TokenFile
//! `authorization: Bearer ...` --TokenFile--> Principal { name, role, domains } | Rejection
//!
//! --access FILE --read--> Clients --swap--> ClientFile
//! certificate of a connection --ClientNames--> Caller --ClientFile--> Domains, for each batch of checks
//! ```
//!
//! Here are only decisions; `admin::guard` applies those of tokens to requests, and the services of the admin port keep to a
//! principal's domains; `service` applies those of clients to checks.

mod caller;
mod clients;
mod content;
mod failures;
mod file;
mod host;
mod principal;
mod tokens;

use std::sync::Arc;

use file::Content;

pub(crate) use caller::Caller;
pub(crate) use clients::ClientNames;
pub(crate) use failures::{FailedLogins, FailureCounts};
pub(crate) use host::Hosts;
pub(crate) use principal::{Domains, Principal, Role};
pub(crate) use tokens::NewToken;

pub(crate) use file::AccessFileError;

/// The tokens of the admin port, read again when they change.
pub(crate) type TokenFile = file::AccessFile<tokens::Tokens>;
/// The clients of the gRPC port, read again when they change.
pub(crate) type ClientFile = file::AccessFile<clients::Clients>;

/// Reads a file of tokens. Returns their number.
///
/// # Errors
/// The first thing that is wrong, with its line.
pub(crate) fn read_tokens(text: &[u8]) -> Result<usize, String> {
    tokens::Tokens::read(text).map(|tokens| tokens.len()).map_err(|error| error.to_string())
}

/// Reads a file of clients. Returns the domains of a client with these names.
///
/// # Errors
/// The first thing that is wrong, with its line.
pub(crate) fn read_clients(text: &[u8], names: &ClientNames) -> Result<Domains, String> {
    clients::Clients::read(text).map(|clients| clients.domains(names)).map_err(|error| error.to_string())
}

impl TokenFile {
    /// The principal of a token.
    pub(crate) fn find(&self, secret: &str) -> Option<Arc<Principal>> {
        self.current().find(secret)
    }
}
