//! The earliest of the instants at which something in a part of a table is to be looked after, so that the part is passed over until then.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::units::Timestamp;

/// No instant before this one matters; [`Timestamp::MAX`]: none does.
///
/// What makes an instant later does not write it, so the visit may come in vain, and finds out the next instant. What adds one, or makes one
/// earlier, lowers it, with its shard locked.
#[derive(Debug)]
pub(super) struct Earliest(AtomicU64);

impl Earliest {
    pub(super) const fn new(at: Timestamp) -> Self {
        Self(AtomicU64::new(at.as_ns()))
    }

    /// Cost: a load, and most times no more: of many instants most are later than the first.
    pub(super) fn lower(&self, at: Timestamp) {
        if at.as_ns() < self.0.load(Ordering::Relaxed) {
            self.0.fetch_min(at.as_ns(), Ordering::Relaxed);
        }
    }

    pub(super) fn has_come(&self, now: Timestamp) -> bool {
        Timestamp::from_ns(self.0.load(Ordering::Relaxed)).has_come(now)
    }

    /// Before the shards are visited, if it has come. Returns whether it has. What lowers it before its shard is locked for the visit is seen by
    /// that, and what does afterwards finds it forgotten.
    pub(super) fn forget_if_come(&self, now: Timestamp) -> bool {
        let has_come = self.has_come(now);
        if has_come {
            self.0.store(Timestamp::MAX.as_ns(), Ordering::Relaxed);
        }
        has_come
    }
}
