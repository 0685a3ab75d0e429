//! The guard of the admin port.

use std::sync::Arc;

use crate::access::{FailedLogins, Hosts, TokenFile, TokenFileError};
use crate::admin::Guard;
use crate::net::Address;
use crate::runtime::clock::Clock;
use crate::runtime::threads::Worker;
use crate::settings::AccessSettings;

/// The guard, and the thread that reads the tokens again.
pub(super) struct Access {
    pub(super) guard: Arc<Guard>,
    pub(super) watch: Option<Worker>,
}

/// Why the admin port is not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccessError {
    /// Other machines reach it, and nothing says who may use it.
    #[error(
        "--admin-addr {0} is reached from other machines, and every caller can switch off all limits: give --admin-tokens FILE \
         (`tidegate token new` makes tokens), a loopback address, or --admin-open if its network keeps strangers out"
    )]
    Exposed(Address),
    /// The tokens cannot be read.
    #[error(transparent)]
    Tokens(#[from] TokenFileError),
    /// There is no thread.
    #[error("cannot watch the tokens: {0}")]
    Thread(#[from] std::io::Error),
}

impl Access {
    /// Reads the tokens, and begins to watch them.
    pub(super) fn open(settings: &AccessSettings, bound: &Address, clock: &Arc<Clock>) -> Result<Self, AccessError> {
        let tokens = settings.admin_tokens.as_deref().map(TokenFile::open).transpose()?.map(Arc::new);
        if tokens.is_none() && !settings.admin_open && !bound.is_local() {
            return Err(AccessError::Exposed(bound.clone()));
        }
        if let Some(tokens) = &tokens {
            tracing::info!(tokens = tokens.len(), "the admin port asks for tokens");
        }
        let watch = tokens.as_ref().map(TokenFile::watch).transpose()?;
        let hosts = Hosts::new(&settings.admin_host);
        let guard = Guard { tokens, hosts, failed: FailedLogins::new(), clock: Arc::clone(clock) };
        Ok(Self { guard: Arc::new(guard), watch })
    }
}
