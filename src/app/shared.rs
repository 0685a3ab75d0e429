//! The store of shared counters, as the flags name it.

use std::sync::Arc;

use crate::engine_link::{StoreUrl, UrlError};
use crate::limiter::{self, Limiter, Sharing};
use crate::runtime::clock::Clock;
use crate::runtime::lifecycle::Phases;
use crate::settings::{StoreSettings, WhenDown};
use crate::sharing::{self, SharedStore};

/// Why the store cannot be used. That it does not answer is no reason.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The file with the URL.
    #[error("--store: the file with the URL cannot be read: {0}")]
    File(std::io::Error),
    /// The URL.
    #[error("--store: the URL cannot be used: {0}")]
    Url(#[from] UrlError),
    /// A flag without effect.
    #[error("{flag} is for a store with TLS: write --store rediss://...")]
    NoTls {
        /// The flag.
        flag: &'static str,
    },
    /// TLS.
    #[error("--store: {0}")]
    Tls(String),
}

/// Where the store is; `None`: counters are those of this process.
///
/// # Errors
/// A flag, or a file that it names, cannot be used.
pub(super) fn url(settings: &StoreSettings) -> Result<Option<StoreUrl>, StoreError> {
    let text = settings.store.reveal().map_err(StoreError::File)?;
    if text == "memory" {
        return Ok(None);
    }
    let url: StoreUrl = text.parse()?;
    let files = [("--store-ca", &settings.store_ca), ("--store-cert", &settings.store_cert)];
    if let Some((flag, _)) = files.into_iter().find(|(_, file)| file.is_some() && !url.has_tls) {
        return Err(StoreError::NoTls { flag });
    }
    Ok(Some(url))
}

/// What the limiter needs to share its counters.
pub(super) fn limiter_sharing(settings: &StoreSettings, outage_bytes: usize) -> Sharing {
    let when_down = match settings.store_when_down {
        WhenDown::Local => limiter::WhenDown::Local,
        WhenDown::Deny => limiter::WhenDown::Deny,
        WhenDown::Allow => limiter::WhenDown::Allow,
    };
    let sharing = Sharing::new(settings.store_prefix.clone(), when_down, outage_bytes);
    sharing.set_replicas(settings.store_replicas.unwrap_or(1));
    sharing
}

/// The store, to which nobody has connected yet.
pub(super) fn store(settings: &StoreSettings, url: StoreUrl, id: &str, clock: &Arc<Clock>) -> Arc<SharedStore> {
    let settings = sharing::Settings {
        url,
        prefix: settings.store_prefix.clone(),
        timeout: settings.store_timeout,
        replicas: settings.store_replicas,
        id: id.to_owned(),
    };
    Arc::new(SharedStore::new(settings, Arc::clone(clock)))
}

/// Looks after the store until the process closes. Needs a tokio runtime.
pub(super) fn keep(store: &Arc<SharedStore>, limiter: &Arc<Limiter>, phases: Phases) {
    let limiter = Arc::clone(limiter);
    let heard = move |replicas| {
        if let Some(sharing) = limiter.sharing() {
            sharing.set_replicas(replicas);
        }
    };
    tokio::spawn(sharing::keep(Arc::clone(store), phases, heard));
}
