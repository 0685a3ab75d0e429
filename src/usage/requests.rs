//! What is counted of the process as a whole.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Lane;

/// Requests, whatever became of them.
#[derive(Debug)]
pub(super) struct Requests {
    lanes: Box<[Row]>,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Row {
    decided: AtomicU64,
    refused: AtomicU64,
    unmatched: AtomicU64,
}

impl Requests {
    pub(super) fn new(lanes: usize) -> Self {
        Self { lanes: std::iter::repeat_with(Row::default).take(lanes.max(1)).collect() }
    }

    pub(super) fn count(&self, lane: Lane, refused: bool) {
        if let Some(row) = self.row(lane) {
            let counter = if refused { &row.refused } else { &row.decided };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn count_unmatched(&self, lane: Lane, checks: u64) {
        if let Some(row) = self.row(lane) {
            row.unmatched.fetch_add(checks, Ordering::Relaxed);
        }
    }

    /// All requests, and how many of them were answered with an error.
    pub(super) fn all(&self) -> (u64, u64) {
        let refused = self.sum(|row| &row.refused);
        (refused + self.sum(|row| &row.decided), refused)
    }

    pub(super) fn unmatched(&self) -> u64 {
        self.sum(|row| &row.unmatched)
    }

    fn sum(&self, of: impl Fn(&Row) -> &AtomicU64) -> u64 {
        self.lanes.iter().map(|row| of(row).load(Ordering::Relaxed)).sum()
    }

    fn row(&self, lane: Lane) -> Option<&Row> {
        self.lanes.get(lane.0 % self.lanes.len())
    }
}
