//! Drops counters that are spent. Each stripe keeps the instant before which none of its counters can be, so that a sweep passes over
//! the stripes in which there is nothing to drop without a look at their counters.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{CHANGED, Map, Stripe, Table, slot_bytes};
use crate::units::Timestamp;

/// The instant before which no counter of a stripe is fresh; [`Timestamp::MAX`] without any.
///
/// A charge that makes the end of its counter later does not write it, so the first end may be later than this one, which the next sweep
/// finds out. A counter that is added, or whose end becomes earlier, lowers it, with its shard locked.
#[derive(Debug)]
pub(super) struct EarliestEnd(AtomicU64);

impl EarliestEnd {
    /// That of a stripe without counters.
    pub(super) const fn none() -> Self {
        Self(AtomicU64::new(Timestamp::MAX.as_ns()))
    }

    /// A counter is fresh from `fresh_at` on. Cost: a load, and most times no more: of many counters most end later than the first.
    pub(super) fn lower(&self, fresh_at: Timestamp) {
        if fresh_at.as_ns() < self.0.load(Ordering::Relaxed) {
            self.0.fetch_min(fresh_at.as_ns(), Ordering::Relaxed);
        }
    }

    /// Before the shards of the stripe are visited. What lowers it before its shard is locked for that is seen by the visit, and what does
    /// afterwards finds it forgotten.
    fn forget(&self) {
        self.0.store(Timestamp::MAX.as_ns(), Ordering::Relaxed);
    }

    fn has_come(&self, now: Timestamp) -> bool {
        let fresh_at = Timestamp::from_ns(self.0.load(Ordering::Relaxed));
        fresh_at <= now && fresh_at < Timestamp::MAX
    }
}

impl<V> Table<V> {
    /// Whether a sweep of one stripe may drop a counter. Cost: one load.
    pub(in crate::store) fn may_drop(&self, stripe: usize, now: Timestamp) -> bool {
        self.stripes.get(stripe).is_some_and(|stripe| stripe.fresh_at.has_come(now))
    }

    /// Drops the counters of one stripe that are fresh at `now`, and frees unused slots. Returns the number of dropped
    /// counters. From then on no counter in the stripe is charged at an instant before `now`. `fresh_at` returns the instant from which on
    /// a counter is fresh, unless it is charged.
    ///
    /// One shard is locked at a time, for as long as it takes to visit its slots; none if no counter [may be dropped](Self::may_drop).
    pub(in crate::store) fn sweep(
        &self,
        stripe: usize,
        now: Timestamp,
        fresh_at: impl Fn(&V) -> Timestamp,
        heap: impl Fn(&V) -> usize,
    ) -> usize {
        let Some(Stripe { map, swept_at_ns, fresh_at: earliest, .. }) = self.stripes.get(stripe) else { return 0 };
        if !earliest.has_come(now) {
            return 0;
        }
        swept_at_ns.fetch_max(now.as_ns(), Ordering::Relaxed);
        earliest.forget();
        let (mut dropped, mut freed, mut kept_until) = (0, 0, Timestamp::MAX);
        let tracks = self.tracks.load(Ordering::Relaxed);
        map.retain(|(), record| {
            let fresh_at = fresh_at(&record.state);
            // What has been changed is first written: otherwise the state before would come back after a crash.
            let is_spent = fresh_at <= now && fresh_at < Timestamp::MAX && !(tracks && record.named.has(CHANGED));
            if is_spent {
                dropped += 1;
                freed += record.bytes() + heap(&record.state);
            } else {
                kept_until = kept_until.min(fresh_at);
            }
            !is_spent
        });
        earliest.lower(kept_until);
        if dropped > 0 {
            self.weight.live.fetch_sub(dropped, Ordering::Relaxed);
            self.weight.bytes.fetch_sub(freed + self.shrink(map), Ordering::Relaxed);
        }
        dropped
    }

    /// Frees slots if three quarters of a shard are empty, one shard at a time. Returns the bytes.
    fn shrink(&self, map: &Map<V>) -> usize {
        let mut freed = 0;
        for shard in map.shards() {
            let mut slots = shard.write();
            let before = slots.buckets();
            if before > 1 && slots.len() * 4 < before {
                let wanted = slots.len() * 2;
                slots.shrink_to(wanted, |((), record)| self.hasher.hash_one(record.get().named.name()));
                freed += slot_bytes::<V>(before) - slot_bytes::<V>(slots.buckets());
            }
        }
        freed
    }
}
