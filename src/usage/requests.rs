//! Counts for the process as a whole.

use std::sync::atomic::{AtomicU64, Ordering};

use super::WorkerSlot;

/// Requests, with any outcome.
#[derive(Debug)]
pub(super) struct Requests {
    workers: Box<[SlotRequests]>,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct SlotRequests {
    decided: AtomicU64,
    failed: AtomicU64,
    unmatched: AtomicU64,
}

impl Requests {
    pub(super) fn new(workers: usize) -> Self {
        Self { workers: std::iter::repeat_with(SlotRequests::default).take(workers.max(1)).collect() }
    }

    pub(super) fn count(&self, worker: WorkerSlot, failed: bool) {
        if let Some(row) = self.row(worker) {
            let counter = if failed { &row.failed } else { &row.decided };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn count_unmatched(&self, worker: WorkerSlot, checks: u64) {
        if let Some(row) = self.row(worker) {
            row.unmatched.fetch_add(checks, Ordering::Relaxed);
        }
    }

    /// All requests, and how many of them were answered with an error.
    pub(super) fn all(&self) -> (u64, u64) {
        let failed = self.sum(|row| &row.failed);
        (failed + self.sum(|row| &row.decided), failed)
    }

    pub(super) fn unmatched(&self) -> u64 {
        self.sum(|row| &row.unmatched)
    }

    fn sum(&self, of: impl Fn(&SlotRequests) -> &AtomicU64) -> u64 {
        self.workers.iter().map(|row| of(row).load(Ordering::Relaxed)).sum()
    }

    fn row(&self, worker: WorkerSlot) -> Option<&SlotRequests> {
        self.workers.get(worker.0 % self.workers.len())
    }
}
