//! How many replicas there are: each has its name and the time in a sorted set on the engine.

use std::sync::atomic::Ordering;

use super::SharedStore;
use crate::engine_link::slot_of;
use crate::units::{Nanos, Timestamp};

/// Tells the others that this replica is there, and hears of them.
#[derive(Debug)]
pub(super) struct Heartbeat {
    key: String,
    id: String,
    /// The number is given: there is no heartbeat.
    is_fixed: bool,
    beaten_at: Timestamp,
}

impl Heartbeat {
    pub(super) fn new(store: &SharedStore) -> Self {
        let settings = &store.settings;
        let key = format!("{}{{replicas}}", settings.prefix.as_str());
        Self { key, id: settings.id.clone(), is_fixed: settings.replicas.is_some(), beaten_at: Timestamp::EPOCH }
    }

    /// Beats when that is due. What goes wrong leaves the number as it was last heard.
    pub(super) async fn beat(&mut self, store: &SharedStore) {
        let now = store.clock.now();
        if self.is_fixed || now.since(self.beaten_at) < BEAT {
            return;
        }
        let routes = store.routes.load_full();
        let at = routes.node_of_slot(slot_of(&self.key));
        let Some(node) = at.and_then(|at| routes.nodes().get(at)).filter(|node| node.is_up()) else { return };
        self.beaten_at = now;
        let Ok(replicas) = node.heartbeat(&self.key, &self.id, now, ABSENCE).await else { return };
        let replicas = replicas.clamp(1, MAX_REPLICAS);
        if store.counts.replicas.swap(replicas, Ordering::Relaxed) != replicas {
            tracing::info!(replicas, "replicas on the store");
        }
    }
}

/// Between two beats.
const BEAT: Nanos = Nanos::from_secs(2);
/// One that has not been heard of for so long is gone.
const ABSENCE: Nanos = Nanos::from_secs(10);
/// More replicas than that are another program's keys.
const MAX_REPLICAS: u32 = 100_000;
