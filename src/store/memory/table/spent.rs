//! Drops counters that are spent. Each stripe keeps the instant before which none of its counters can be, so that a sweep passes over
//! the stripes in which there is nothing to drop without a look at their counters.

use std::sync::atomic::Ordering;

use super::{CHANGED, Map, Stripe, Table, slot_bytes};
use crate::units::Timestamp;

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
        if !earliest.forget_if_come(now) {
            return 0;
        }
        swept_at_ns.fetch_max(now.as_ns(), Ordering::Relaxed);
        let (mut dropped, mut freed, mut kept_until) = (0, 0, Timestamp::MAX);
        let tracks = self.tracks.load(Ordering::Relaxed);
        map.retain(|(), record| {
            let fresh_at = fresh_at(&record.state);
            // What has been changed is first written: otherwise the state before would come back after a crash.
            let is_spent = fresh_at.has_come(now) && !(tracks && record.named.has(CHANGED));
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
