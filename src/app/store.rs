//! The store of shared counters, as the flags name it.

use std::sync::Arc;

use crate::engine_link::{Node, NodeCounts, RequestKind, RequestTimes, SharedCheck, StoreUrl, Tls, UrlError};
use crate::limiter::{self, Limiter, Sharing};
use crate::net::ClientFiles;
use crate::rules::RuleSet;
use crate::runtime::clock::Clock;
use crate::runtime::lifecycle::Phases;
use crate::settings::{StoreSettings, WhenDown};
use crate::sharing::{self, Hearing, SharedStore};
use crate::telemetry::{StoreNodeValues, StoreValues, Times};
use crate::units::Timestamp;

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
    let mut url: StoreUrl = text.parse()?;
    let files = [("--store-ca", &settings.store_ca), ("--store-cert", &settings.store_cert)];
    if let Some((flag, _)) = files.into_iter().find(|(_, file)| file.is_some() && !url.has_tls) {
        return Err(StoreError::NoTls { flag });
    }
    if url.has_tls {
        let files = ClientFiles {
            ca: settings.store_ca.as_deref(),
            identity: settings.store_cert.as_deref().zip(settings.store_key.as_deref()),
        };
        url.login.tls = Some(Tls::new(files).map_err(StoreError::Tls)?);
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
    warn_of_sharing(limiter);
    tokio::spawn(sharing::keep(Arc::clone(store), phases, Heard(Arc::clone(limiter))));
}

/// Says that limits are counted otherwise than their rules ask for.
fn warn_of_sharing(limiter: &Limiter) {
    let Some(view) = limiter.view() else { return };
    let limits = view
        .rules()
        .into_iter()
        .flat_map(RuleSet::rules)
        .flat_map(|rule| rule.limits.iter().filter(|limit| rule.sharing_words(limit).is_some()));
    let limits = limits.count();
    if limits > 0 {
        tracing::warn!(limits, "`sharing` in the rules has no effect yet: with --store every limit is counted exactly");
    }
}

/// Has the limiter follow what is heard of the store.
struct Heard(Arc<Limiter>);

impl Hearing for Heard {
    fn replicas(&self, replicas: u32) {
        if let Some(sharing) = self.0.sharing() {
            sharing.set_replicas(replicas);
        }
    }

    fn spent(&self, engine_now: Timestamp) -> Vec<SharedCheck> {
        self.0.take_spent(engine_now)
    }
}

/// The store, as metrics show it.
pub(super) fn store_values(store: &SharedStore, limiter: &Limiter) -> StoreValues {
    let counts = store.counts();
    StoreValues {
        nodes: store.nodes().iter().map(|node| node_values(node)).collect(),
        key_operations: vec![("exact", counts.key_operations())],
        waited: counts.waited(),
        down: limiter.sharing().map(|sharing| sharing.down().counts()).unwrap_or_default(),
        state_lost: counts.state_lost(),
        may_evict: counts.may_evict(),
        evicted: counts.evicted(),
        replicas: counts.replicas(),
    }
}

fn node_values(node: &Node) -> StoreNodeValues {
    let counts: &NodeCounts = node.counts();
    let RequestTimes { at_most, count, sum } = counts.times();
    StoreNodeValues {
        node: node.address().to_string(),
        up: node.is_up(),
        requests: RequestKind::ALL.map(|kind| (kind.name(), counts.requests(kind))).to_vec(),
        errors: counts.errors(),
        breaker_opened: counts.opened(),
        times: Times { at_most, count, sum },
        clock_offset_ns: node.clock_offset_ns(),
    }
}
