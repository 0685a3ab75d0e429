//! Requests of leases that are on their way.

use std::sync::Arc;

use super::SharedStore;
use crate::engine_link::RequestOutcomes;
use crate::store::LeaseAsk;
use crate::store::lease::{Answer, Now, Wish};

/// A request of a lease that has not ended. If nobody ends it, it is lost.
#[derive(Debug)]
pub(super) struct OpenLease {
    pub(super) asked: LeaseAsk,
    store: Arc<SharedStore>,
    /// It was sent to a node that no longer had its counter.
    pub(super) has_moved: bool,
    is_open: bool,
}

impl OpenLease {
    /// Asks for the lease with this key, if it has anything to ask or to say.
    pub(super) fn ask(store: &Arc<SharedStore>, key: &[u8], now: Now) -> Option<Self> {
        let asked = store.leases.ask(key, now)?;
        Some(Self { asked, store: Arc::clone(store), has_moved: false, is_open: true })
    }

    /// The engine has answered. Returns what the lease wishes next.
    pub(super) fn answered(mut self, answer: &Answer, now: Now) -> Wish {
        self.is_open = false;
        self.store.leases.answered(&self.asked, answer, now)
    }

    /// It was certainly not executed.
    pub(super) fn not_sent(mut self, now: Now) {
        self.is_open = false;
        self.store.leases.not_sent(&self.asked, now);
    }
}

impl Drop for OpenLease {
    fn drop(&mut self) {
        if self.is_open {
            self.store.leases.lost(&self.asked, self.store.now());
        }
    }
}

/// Gives leases the answers of a reply that comes late.
pub(super) fn late(store: &SharedStore, leases: &[LeaseAsk], outcomes: &RequestOutcomes) {
    let now = store.now();
    for (asked, answer) in leases.iter().zip(&outcomes.leases) {
        if let Ok(Some(answer)) = answer {
            store.leases.late(asked, answer, now);
        }
    }
}
