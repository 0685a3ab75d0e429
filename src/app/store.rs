//! The store of shared counters, as the flags name it.

use std::sync::Arc;

use crate::engine_link::{Node, NodeCounts, RequestKind, RequestTimes, SharedCheck, StoreUrl, Tls, UrlError};
use crate::limiter::{self, Limiter, Sharing, Spent};
use crate::net::ClientFiles;
use crate::operations::Operations;
use crate::rules::{Rule, RuleSet, Shared};
use crate::runtime::clock::Clock;
use crate::runtime::lifecycle::Phases;
use crate::sanitize::sanitize;
use crate::settings::{StoreSettings, WhenDown};
use crate::sharing::{self, Changes, ChangesCounts, Hearing, SharedStore};
use crate::store::Leases;
use crate::telemetry::{StoreChangesValues, StoreNodeValues, StoreValues, Times};
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
    sharing.hear(settings.store_replicas.unwrap_or(1), 0);
    sharing
}

/// The store, to which nobody has connected yet.
pub(super) fn store(
    settings: &StoreSettings,
    url: StoreUrl,
    id: &str,
    clock: &Arc<Clock>,
    leases: &Arc<Leases>,
) -> Arc<SharedStore> {
    let settings = sharing::Settings {
        url,
        prefix: settings.store_prefix.clone(),
        timeout: settings.store_timeout,
        replicas: settings.store_replicas,
        id: id.to_owned(),
    };
    Arc::new(SharedStore::new(settings, Arc::clone(clock), Arc::clone(leases)))
}

/// Looks after the store until the process closes. Needs a tokio runtime.
pub(super) fn keep(store: &Arc<SharedStore>, limiter: &Arc<Limiter>, phases: Phases) {
    log_sharing(limiter, store.counts().replicas());
    tokio::spawn(sharing::keep(Arc::clone(store), phases, Heard(Arc::clone(limiter))));
}

/// Shares what operators change until the process closes. Needs a tokio runtime.
pub(super) fn share_changes(store: &Arc<SharedStore>, operations: &Arc<Operations>, phases: Phases) {
    let changes: Arc<dyn Changes> = Arc::<Operations>::clone(operations);
    tokio::spawn(sharing::share_changes(Arc::clone(store), changes, phases));
}

/// Says how many limits are shared in which way, and which are not leased although their rules do not say so.
fn log_sharing(limiter: &Limiter, replicas: u32) {
    let Some(view) = limiter.view() else { return };
    let rules = || view.rules().into_iter().flat_map(RuleSet::rules);
    let (mut leased, mut exact, mut local, mut named) = (0_usize, 0_usize, 0_usize, 0_usize);
    for (rule, limit) in rules().flat_map(|rule: &Rule| rule.limits.iter().map(move |limit| (rule, limit))) {
        let shared = rule.shared(limit, replicas);
        let count = match shared {
            Shared::Leased(_) => &mut leased,
            Shared::Exact(_) => &mut exact,
            Shared::Local(_) => &mut local,
        };
        *count += 1;
        if !shared.is_configured()
            && let Some(why) = shared.why_not_leased()
        {
            named += 1;
            if named <= MAX_NAMED {
                let (rule, mode) = (sanitize(&rule.path), shared.mode().name());
                tracing::info!(rule, place = limit.place, mode, why, "a limit is not leased");
            }
        }
    }
    let others = named.saturating_sub(MAX_NAMED);
    tracing::info!(leased, exact, local, not_named = others, "limits on the store");
}

/// Has the limiter follow what is heard of the store.
struct Heard(Arc<Limiter>);

impl Hearing for Heard {
    fn heard(&self, replicas: u32, clock_offset_ns: i64) {
        if let Some(sharing) = self.0.sharing() {
            sharing.hear(replicas, clock_offset_ns);
        }
    }

    type Spent = Spent;

    fn spent(&self, engine_now: Timestamp) -> Vec<(SharedCheck, Spent)> {
        self.0.spent(engine_now)
    }

    fn is_charged(&self, spent: Spent, engine_now: Timestamp) {
        self.0.is_charged(&spent, engine_now);
    }

    fn may_be_charged(&self, spent: Spent, engine_now: Timestamp) {
        self.0.may_be_charged(&spent, engine_now);
    }
}

/// The store, as metrics show it.
pub(super) fn store_values(
    store: &SharedStore,
    limiter: &Limiter,
    operations: &Operations,
    now: Timestamp,
) -> StoreValues {
    let (counts, hits) = (store.counts(), store.leases().hits());
    let (exact, leased) = counts.key_operations();
    StoreValues {
        nodes: store.nodes().iter().map(|node| node_values(node)).collect(),
        key_operations: vec![("exact", exact), ("leased", leased)],
        leased_hits: hits.granted,
        returned_hits: hits.returned,
        lapsed_hits: hits.lapsed,
        refunds_dropped: hits.refunds_dropped,
        waited: counts.waited(),
        down: limiter.sharing().map(|sharing| sharing.down().counts()).unwrap_or_default(),
        state_lost: counts.state_lost(),
        may_evict: counts.may_evict(),
        evicted: counts.evicted(),
        replicas: counts.replicas(),
        changes: changes_values(store, operations, now),
    }
}

fn changes_values(store: &SharedStore, operations: &Operations, now: Timestamp) -> StoreChangesValues {
    let ChangesCounts { pending, failures, adopted, unreadable, synchronized } = store.changes().counts();
    let synchronized_ago = synchronized.map(|at| now.since(at));
    let latest = operations.shared_status().and_then(|status| status.latest);
    StoreChangesValues { pending, failures, adopted, unreadable, synchronized_ago, latest }
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

/// Limits that are not leased, of which the log says why.
const MAX_NAMED: usize = 20;
