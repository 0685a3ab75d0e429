//! Who may do what on the admin port: tokens with a role and domains, and what happens to callers without one.
//!
//! ```text
//! --admin-tokens FILE --read--> Tokens (SHA-256 hashes only) --swap--> TokenFile
//! `authorization: Bearer ...` --TokenFile--> Principal { name, role, domains } | Rejection
//! ```
//!
//! Here are only decisions; `admin::guard` applies them to requests, and the services of the admin port keep to a principal's domains.

mod failures;
mod host;
mod principal;
mod token_file;
mod tokens;

pub(crate) use failures::{FailedLogins, FailureCounts};
pub(crate) use host::Hosts;
pub(crate) use principal::{Domains, Principal, Role};
pub(crate) use token_file::{TokenFile, TokenFileError};
pub(crate) use tokens::NewToken;
