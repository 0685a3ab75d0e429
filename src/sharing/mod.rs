//! Counters that replicas share on a Redis or Valkey: who is asked, when, and what happens when nobody answers.
//!
//! ```text
//! worker: Asker --one request per node--> Link --> node of the engine
//!              \                                   ^
//!               Routes <-- SharedStore <-- keep (two tasks: topology, probes, replicas; and leases that nobody asks for)
//! ```
//! What is asked and what an answer means is known to `limiter`; this module waits for it. It knows no protocol either: that is
//! `engine_link`.

mod apart;
mod asker;
mod changes;
mod counts;
mod keeper;
mod leasing;
mod open_lease;
mod queue;
mod replicas;
mod routes;
mod tending;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

pub use asker::{Asker, KeptMessage};
pub use changes::{Changes, ChangesCounts, ChangesState, SharedChanges, share_changes};
pub use counts::StoreCounts;
pub use keeper::{Hearing, keep};
pub use queue::{NotAsked, StoreAnswer};

pub use crate::store::lease::Now;
use routes::Routes;

use crate::engine_link::{KeyPrefix, Node, StoreUrl};
use crate::runtime::clock::Clock;
use crate::store::Leases;
use crate::units::Timestamp;

/// What does not change while a process shares counters.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the engine is, and who connects to it.
    pub url: StoreUrl,
    /// What begins every key.
    pub prefix: KeyPrefix,
    /// How long a request is waited for.
    pub timeout: Duration,
    /// The number of replicas; `None`: those that are heard of.
    pub replicas: Option<u32>,
    /// The name of this process among the replicas.
    pub id: String,
}

/// The engine, as the whole process sees it.
#[derive(Debug)]
pub struct SharedStore {
    settings: Settings,
    clock: Arc<Clock>,
    routes: ArcSwap<Routes>,
    /// Whether a node has ever answered.
    has_connected: AtomicBool,
    /// How often the topology was asked for; and that it has been read so often.
    refresh: watch::Sender<Refresh>,
    /// What this process may spend on its own.
    leases: Arc<Leases>,
    /// All leases are to go back.
    drain: Notify,
    counts: StoreCounts,
    /// How sharing goes what operators change.
    changes: Arc<SharedChanges>,
}

/// The state of reading the topology.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Refresh {
    /// It is to be read again.
    is_wanted: bool,
    /// How often it has been read.
    read: u64,
}

impl SharedStore {
    /// An engine to which nobody has connected yet; [`keep`] does.
    pub fn new(settings: Settings, clock: Arc<Clock>, leases: Arc<Leases>) -> Self {
        let routes = Routes::at_start(&settings.url, settings.timeout);
        let counts = StoreCounts::new(settings.replicas.unwrap_or(1));
        Self {
            settings,
            clock,
            routes: ArcSwap::from_pointee(routes),
            has_connected: AtomicBool::new(false),
            refresh: watch::Sender::default(),
            leases,
            drain: Notify::new(),
            counts,
            changes: Arc::default(),
        }
    }

    /// The time by the engine's clock, when ours shows `now`.
    pub fn engine_time(&self, now: Timestamp) -> Timestamp {
        self.routes.load().nodes().first().map_or(now, |node| node.engine_time(now))
    }

    /// What this process may spend on its own.
    pub fn leases(&self) -> &Arc<Leases> {
        &self.leases
    }

    /// The present time, by our clock and by the engine's.
    pub fn now(&self) -> Now {
        let local = self.clock.now();
        Now { local, engine: self.engine_time(local) }
    }

    /// The engine's clock less ours, in nanoseconds.
    pub fn clock_offset_ns(&self) -> i64 {
        self.routes.load().nodes().first().map_or(0, |node| node.clock_offset_ns())
    }

    /// How long a check waits at most.
    pub fn timeout(&self) -> Duration {
        self.settings.timeout
    }

    /// Whether a node has ever answered.
    pub fn has_connected(&self) -> bool {
        self.has_connected.load(Ordering::Relaxed)
    }

    /// Whether all nodes are up.
    pub fn is_up(&self) -> bool {
        self.routes.load().are_up()
    }

    /// The nodes.
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        self.routes.load().nodes().to_vec()
    }

    /// What is counted besides the nodes.
    pub fn counts(&self) -> &StoreCounts {
        &self.counts
    }

    /// How sharing goes what operators change.
    pub fn changes(&self) -> &Arc<SharedChanges> {
        &self.changes
    }

    /// Has the topology read again.
    fn want_refresh(&self) {
        self.refresh.send_if_modified(|refresh| !std::mem::replace(&mut refresh.is_wanted, true));
    }

    /// Waits until the topology has been read once more.
    async fn refreshed(&self) {
        let mut changed = self.refresh.subscribe();
        let before = changed.borrow_and_update().read;
        self.want_refresh();
        // The sender is in the store, which lives.
        let _ended = changed.wait_for(|refresh| refresh.read > before).await;
    }
}
