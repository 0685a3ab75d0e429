//! The sweep: frees counters that equal fresh ones, one stripe at a time, so that no decision waits long.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::Memory;
use crate::engine::{self, Cell, Limit, Log, Op};
use crate::runtime::clock::Stopwatch;
use crate::store::LimitId;
use crate::units::{Nanos, Timestamp};

/// Counts of the sweep since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepStats {
    /// Passes over the whole store.
    pub passes: u64,
    /// Counters freed.
    pub freed: u64,
    /// The longest time that one step locked a stripe: an upper bound on the wait of a decision.
    pub longest_pause: Nanos,
}

/// The position and the counts of the sweep.
#[derive(Debug, Default)]
pub(crate) struct SweepState {
    next_stripe: AtomicUsize,
    passes: AtomicU64,
    freed: AtomicU64,
    longest_pause_ns: AtomicU64,
    no_room: AtomicU64,
}

impl SweepState {
    pub(crate) fn stats(&self) -> SweepStats {
        SweepStats {
            passes: self.passes.load(Ordering::Relaxed),
            freed: self.freed.load(Ordering::Relaxed),
            longest_pause: Nanos::from_ns(self.longest_pause_ns.load(Ordering::Relaxed)),
        }
    }

    pub(crate) fn no_room(&self) -> u64 {
        self.no_room.load(Ordering::Relaxed)
    }

    pub(crate) fn count_no_room(&self) {
        self.no_room.fetch_add(1, Ordering::Relaxed);
    }
}

impl Memory {
    /// Frees expired counters of the next stripe that may have any. Returns how long to rest before the next step.
    ///
    /// A batch of checks may have an earlier instant. Its later charges in that stripe count as of `now`, so that no window that
    /// was used and freed is opened again.
    ///
    /// One caller at a time. A pass takes [`PASS`], and ends a step; but from half the budget on a step ends only at what may be freed, and
    /// has no rest after it. Cost: a few loads for each stripe in which no counter is expired, and then a visit to each counter of one stripe.
    pub fn sweep_step(&self, now: Timestamp) -> Duration {
        let is_memory_short = self.is_memory_short();
        let looked_at = if is_memory_short { STRIPES } else { self.left_of_pass().min(STRIPES_AT_ONCE) };
        let swept = (1..=looked_at).find(|_| self.sweep_next(now, is_memory_short));
        let rest = PASS / STRIPES;
        match swept {
            Some(_) if is_memory_short => Duration::ZERO,
            None if is_memory_short => rest,
            swept => rest * swept.unwrap_or(looked_at),
        }
    }

    /// Sweeps the next stripe, unless none of its counters can be spent. Returns whether it did.
    fn sweep_next(&self, now: Timestamp, is_memory_short: bool) -> bool {
        let stripe = self.sweeping.next_stripe.fetch_add(1, Ordering::Relaxed) % self.cells.stripes();
        let is_due = self.may_free(stripe, now);
        if is_due {
            self.sweep_stripe(stripe, now, is_memory_short);
        }
        if stripe + 1 == self.cells.stripes() {
            self.sweeping.passes.fetch_add(1, Ordering::Relaxed);
        }
        is_due
    }

    /// The number of stripes that the pass has not come to.
    fn left_of_pass(&self) -> u32 {
        let done = self.sweeping.next_stripe.load(Ordering::Relaxed) % self.cells.stripes();
        u32::try_from(self.cells.stripes() - done).unwrap_or(STRIPES)
    }

    fn is_memory_short(&self) -> bool {
        self.bytes() > self.budget_bytes / 2
    }

    fn may_free(&self, stripe: usize, now: Timestamp) -> bool {
        let leases = || self.leases.as_ref().is_some_and(|leases| leases.may_drop(stripe, now));
        self.cells.may_drop(stripe, now) || self.logs.may_drop(stripe, now) || leases()
    }

    fn sweep_stripe(&self, stripe: usize, now: Timestamp, is_memory_short: bool) {
        let stopwatch = Stopwatch::start();
        let cells = self.cells.sweep(stripe, now, |cell: &Cell| cell.fresh_at(), |_| 0);
        let logs = self.logs.sweep(stripe, now, Log::fresh_at, Log::heap_bytes);
        let leases = self.leases.as_ref().map_or(0, |leases| leases.sweep(stripe, now, is_memory_short));
        self.sweeping.longest_pause_ns.fetch_max(stopwatch.elapsed().as_ns(), Ordering::Relaxed);
        self.sweeping.freed.fetch_add((cells + logs + leases) as u64, Ordering::Relaxed);
    }

    /// Updates the counters of limits that a new configuration changed, as a charge at `now` would. `changed` returns the new
    /// limit of a counter, from the limit's id and the key.
    ///
    /// Otherwise a bucket without checks would continue to fill at its old rate. Cost: a pass over all counters, with one shard
    /// locked at a time.
    pub fn bring_up_to_date(&self, now: Timestamp, changed: impl Fn(LimitId, &[u8]) -> Option<Limit>) {
        self.cells.visit(|name, cell| {
            if let Some(limit) = LimitId::of_key(name).and_then(|limit_id| changed(limit_id, name)) {
                *cell = engine::step(&limit, *cell, now, Op::Charge(0)).1;
            }
            cell.fresh_at()
        });
    }

    /// Frees all expired counters at once. For `simulate` and tests; a server uses [`Memory::sweep_step`].
    pub fn sweep_all(&self, now: Timestamp) {
        for stripe in (0..self.cells.stripes()).filter(|stripe| self.may_free(*stripe, now)) {
            self.sweep_stripe(stripe, now, self.is_memory_short());
        }
        self.sweeping.passes.fetch_add(1, Ordering::Relaxed);
    }
}

/// How long a pass over all stripes takes below half the budget: the longest time that an expired counter stays.
const PASS: Duration = Duration::from_secs(10);
/// The number of stripes of a table.
const STRIPES: u32 = 1024;
/// Stripes of one step if none of them has an expired counter, so that a server with nothing to free does not wake up a hundred times a
/// second for it.
const STRIPES_AT_ONCE: u32 = 10;
