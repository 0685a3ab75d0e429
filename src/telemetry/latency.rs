//! How long decisions take: at high rates one in [`ONE_IN`] is measured, at low rates every one.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::runtime::clock::Stopwatch;
use crate::units::{Nanos, Timestamp};
use crate::usage::WorkerSlot;

/// The times of sampled decisions, a row of counters for each worker slot.
///
/// Cost of a check that is not sampled: two loads and a store of a line that only its own worker slot writes. No clock is read.
#[derive(Debug)]
pub struct DecisionTimes {
    workers: Box<[SlotTimes]>,
}

/// One worker slot's counters, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct SlotTimes {
    /// Decisions since one was sampled.
    since: AtomicU32,
    /// When that was, in nanoseconds since the epoch.
    sampled_ns: AtomicU64,
    /// Sampled decisions that took at most this bound and more than the one before; the last bucket has no upper bound.
    buckets: [AtomicU64; BOUNDS_NS.len() + 1],
    sum_ns: AtomicU64,
}

/// A histogram at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// The upper bound of each bucket and the number of decisions that took at most that long, in ascending order.
    pub at_most: Vec<(Nanos, u64)>,
    /// The number of decisions.
    pub count: u64,
    /// Their total duration.
    pub sum: Nanos,
}

impl DecisionTimes {
    /// No measurements yet, for that many worker slots.
    pub fn new(workers: usize) -> Self {
        Self { workers: std::iter::repeat_with(SlotTimes::default).take(workers.max(1)).collect() }
    }

    /// Begins a decision with its `now`. Returns a stopwatch for one decision in [`ONE_IN`] of each worker slot, and for the
    /// first one after [`REST`] without a sample.
    pub fn begin(&self, worker: WorkerSlot, now: Timestamp) -> Option<Stopwatch> {
        let row = self.row(worker)?;
        // Two threads on one worker slot may overwrite each other's count: then slightly fewer decisions are sampled.
        let count = row.since.load(Ordering::Relaxed) + 1;
        let sampled = Timestamp::from_ns(row.sampled_ns.load(Ordering::Relaxed));
        if count < ONE_IN && now.since(sampled) < REST {
            row.since.store(count, Ordering::Relaxed);
            return None;
        }
        row.since.store(0, Ordering::Relaxed);
        row.sampled_ns.store(now.as_ns(), Ordering::Relaxed);
        Some(Stopwatch::start())
    }

    /// Ends a decision that was sampled.
    #[cold]
    pub fn end(&self, worker: WorkerSlot, begun: Stopwatch) {
        self.add(worker, begun.elapsed());
    }

    /// Adds the time of a decision that was sampled.
    #[cold]
    pub fn add(&self, worker: WorkerSlot, took: Nanos) {
        let took = took.as_ns();
        let bucket = BOUNDS_NS.iter().position(|bound| took <= *bound).unwrap_or(BOUNDS_NS.len());
        if let Some(row) = self.row(worker) {
            if let Some(count) = row.buckets.get(bucket) {
                count.fetch_add(1, Ordering::Relaxed);
            }
            row.sum_ns.fetch_add(took, Ordering::Relaxed);
        }
    }

    /// The sums over all worker slots.
    pub fn times(&self) -> Times {
        let bucket = |at: usize| {
            let of_worker = |row: &SlotTimes| row.buckets.get(at).map_or(0, |count| count.load(Ordering::Relaxed));
            self.workers.iter().map(of_worker).sum::<u64>()
        };
        let mut count = 0;
        let mut at_most = Vec::with_capacity(BOUNDS_NS.len());
        for (at, bound) in BOUNDS_NS.iter().enumerate() {
            count += bucket(at);
            at_most.push((Nanos::from_ns(*bound), count));
        }
        let sum = self.workers.iter().map(|row| row.sum_ns.load(Ordering::Relaxed)).sum();
        Times { at_most, count: count + bucket(BOUNDS_NS.len()), sum: Nanos::from_ns(sum) }
    }

    fn row(&self, worker: WorkerSlot) -> Option<&SlotTimes> {
        self.workers.get(worker.0 % self.workers.len())
    }
}

/// Reading a clock twice for every check would cost a tenth of the decision; at 1,000 checks a second one in 1,024 is
/// still 60 a minute.
pub const ONE_IN: u32 = 1_024;

/// Up to ten checks a second of a worker slot are all measured; above ten thousand a second only [`ONE_IN`] matters.
const REST: Nanos = Nanos::from_ns(100_000_000);

/// From a decision among few rules to one during which the system suspended the thread.
const BOUNDS_NS: [u64; 13] = [
    1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_fast_traffic_one_in_1024_is_measured_and_of_slow_traffic_every_one() {
        // The time between two checks in milliseconds, how many there are in each of two worker slots, and how many are measured
        // of them, the first always.
        for (gap_ms, checks, measured) in
            [(0, 3 * ONE_IN, 3), (100, 50, 50), (1_000, 50, 50), (50, 50, 25), (1, 1_000, 10)]
        {
            let times = DecisionTimes::new(2);
            for worker in [WorkerSlot(0), WorkerSlot(1)] {
                for check in 0..checks {
                    let now = Timestamp::from_ns(1_700_000_000_000_000_000 + u64::from(check) * gap_ms * 1_000_000);
                    if let Some(begun) = times.begin(worker, now) {
                        times.end(worker, begun);
                    }
                }
            }
            let reported = times.times();
            assert_eq!(reported.count, 2 * measured, "every {gap_ms} ms");
            assert!(
                reported.at_most.is_sorted_by_key(|(_, count)| *count) && reported.sum > Nanos::ZERO,
                "{reported:?}"
            );
        }
    }
}
