//! What is counted of shared counters, besides what is counted of each node.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// The counts of the process.
#[derive(Debug)]
pub struct StoreCounts {
    /// Keys of requests with exact charges.
    pub(super) exact_operations: AtomicU64,
    /// Keys of requests with leases.
    pub(super) lease_operations: AtomicU64,
    /// Checks that waited for an answer.
    pub(super) waited: AtomicU64,
    /// Times that the engine may have lost writes.
    pub(super) state_lost: AtomicU64,
    /// Whether the engine may forget counters before they end.
    pub(super) may_evict: AtomicBool,
    /// Keys that the nodes have evicted.
    pub(super) evicted: AtomicU64,
    /// The replicas that were last heard of.
    pub(super) replicas: AtomicU32,
}

impl StoreCounts {
    pub(super) const fn new(replicas: u32) -> Self {
        Self {
            exact_operations: AtomicU64::new(0),
            lease_operations: AtomicU64::new(0),
            waited: AtomicU64::new(0),
            state_lost: AtomicU64::new(0),
            may_evict: AtomicBool::new(false),
            evicted: AtomicU64::new(0),
            replicas: AtomicU32::new(replicas),
        }
    }

    /// Keys of requests with exact charges, and with leases.
    pub fn key_operations(&self) -> (u64, u64) {
        (self.exact_operations.load(Ordering::Relaxed), self.lease_operations.load(Ordering::Relaxed))
    }

    /// Checks that waited for an answer.
    pub fn waited(&self) -> u64 {
        self.waited.load(Ordering::Relaxed)
    }

    /// Times that the engine may have lost writes.
    pub fn state_lost(&self) -> u64 {
        self.state_lost.load(Ordering::Relaxed)
    }

    /// Whether the engine may forget counters before they end.
    pub fn may_evict(&self) -> bool {
        self.may_evict.load(Ordering::Relaxed)
    }

    /// Keys that the nodes have evicted since they started.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// The replicas, at least one.
    pub fn replicas(&self) -> u32 {
        self.replicas.load(Ordering::Relaxed).max(1)
    }
}
