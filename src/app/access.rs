//! The guard of the admin port, and the clients of the gRPC port.

use std::sync::Arc;

use crate::access::{AccessFileError, ClientFile, FailedLogins, Hosts, TokenFile};
use crate::admin::Guard;
use crate::net::Address;
use crate::runtime::clock::Clock;
use crate::runtime::threads::Worker;
use crate::settings::AccessSettings;

/// The guard, the clients, and the threads that read their files again.
pub(super) struct Access {
    pub(super) guard: Arc<Guard>,
    /// `None`: every client may check every domain.
    pub(super) clients: Option<Arc<ClientFile>>,
    pub(super) watch: Vec<Worker>,
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccessError {
    /// Other machines reach it, and nothing says who may use it.
    #[error(
        "--admin-addr {0} is reached from other machines, and every caller can switch off all limits: give --admin-tokens FILE \
         (`tidegate token new` makes tokens), a loopback address, or --admin-open if its network keeps strangers out"
    )]
    Exposed(Address),
    /// The tokens or the clients cannot be read.
    #[error(transparent)]
    File(#[from] AccessFileError),
    /// There is no thread.
    #[error("cannot watch the files of --admin-tokens and --access: {0}")]
    Thread(#[from] std::io::Error),
}

impl Access {
    /// Reads the tokens and the clients, and begins to watch them.
    pub(super) fn open(settings: &AccessSettings, bound: &Address, clock: &Arc<Clock>) -> Result<Self, AccessError> {
        let tokens = settings.admin_tokens.as_deref().map(TokenFile::open).transpose()?.map(Arc::new);
        if tokens.is_none() && !settings.admin_open && !bound.is_local() {
            return Err(AccessError::Exposed(bound.clone()));
        }
        if let Some(tokens) = &tokens {
            tracing::info!(tokens = tokens.len(), "the admin port asks for tokens");
        }
        let clients = open_clients(settings)?;
        if let Some(clients) = &clients {
            tracing::info!(clients = clients.len(), "checks need a client that --access names; there is no /json");
        }
        let watch = [tokens.as_ref().map(TokenFile::watch), clients.as_ref().map(ClientFile::watch)];
        let watch = watch.into_iter().flatten().collect::<Result<_, _>>()?;
        let hosts = Hosts::new(&settings.admin_host);
        let guard = Guard { tokens, hosts, failed: FailedLogins::new(), clock: Arc::clone(clock) };
        Ok(Self { guard: Arc::new(guard), clients, watch })
    }
}

fn open_clients(settings: &AccessSettings) -> Result<Option<Arc<ClientFile>>, AccessFileError> {
    Ok(settings.access.as_deref().map(ClientFile::open).transpose()?.map(Arc::new))
}

/// Whether the files can be read.
///
/// # Errors
/// One cannot.
pub(super) fn check(settings: &AccessSettings) -> Result<(), AccessError> {
    settings.admin_tokens.as_deref().map(TokenFile::open).transpose()?;
    open_clients(settings)?;
    Ok(())
}
