//! What is counted of one node: for metrics, by all threads that use it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::error::LinkError;
use crate::units::Nanos;

/// The counts of one node since the process started.
#[derive(Debug, Default)]
pub struct NodeCounts {
    requests: [AtomicU64; 4],
    errors: Mutex<BTreeMap<&'static str, u64>>,
    opened: AtomicU64,
    /// Requests that took at most the bound and more than the one before; the last has no bound.
    times: [AtomicU64; BOUNDS_NS.len() + 1],
    sum_ns: AtomicU64,
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// Charges of checks.
    Charge,
    /// The script, sent whole because the node did not know it.
    Script,
    /// A probe, or the poll of a node that is up.
    Probe,
    /// What operators changed, read or written.
    Changes,
}

/// How long requests took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestTimes {
    /// A bound, and the number of requests that took at most that long, in ascending order.
    pub at_most: Vec<(Nanos, u64)>,
    /// The number of requests.
    pub count: u64,
    /// The sum of their times.
    pub sum: Nanos,
}

impl RequestKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Charge, Self::Script, Self::Probe, Self::Changes];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Script => "script",
            Self::Probe => "probe",
            Self::Changes => "changes",
        }
    }
}

impl NodeCounts {
    /// The requests of one kind.
    pub fn requests(&self, kind: RequestKind) -> u64 {
        self.requests.get(kind as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Errors by name.
    pub fn errors(&self) -> Vec<(&'static str, u64)> {
        self.errors.lock().iter().map(|(name, count)| (*name, *count)).collect()
    }

    /// How often the breaker opened.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// How long requests with charges took.
    pub fn times(&self) -> RequestTimes {
        let mut count = 0;
        let mut at_most = Vec::with_capacity(BOUNDS_NS.len());
        let mut buckets = self.times.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        for (bound, bucket) in BOUNDS_NS.iter().zip(buckets.by_ref()) {
            count += bucket;
            at_most.push((Nanos::from_ns(*bound), count));
        }
        let count = count + buckets.sum::<u64>();
        RequestTimes { at_most, count, sum: Nanos::from_ns(self.sum_ns.load(Ordering::Relaxed)) }
    }

    pub(super) fn count_request(&self, kind: RequestKind) {
        if let Some(count) = self.requests.get(kind as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn count_error(&self, error: &LinkError) {
        *self.errors.lock().entry(error.name()).or_default() += 1;
    }

    pub(super) fn count_opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_time(&self, took: Nanos) {
        let at = BOUNDS_NS.iter().position(|bound| took.as_ns() <= *bound).unwrap_or(BOUNDS_NS.len());
        if let Some(bucket) = self.times.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_ns.fetch_add(took.as_ns(), Ordering::Relaxed);
    }
}

/// From a loopback to the longest --store-timeout.
const BOUNDS_NS: [u64; 12] = [
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    1_000_000_000,
];
