//! When leases are looked after, so that those that need nothing for a while are left alone.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::units::Timestamp;

/// By stripe: when its leases are to be looked after next, in nanoseconds by the clock of this process.
#[derive(Debug)]
pub(super) struct Due(Box<[AtomicU64]>);

impl Due {
    /// All are due.
    pub(super) fn new(stripes: usize) -> Self {
        Self(std::iter::repeat_with(|| AtomicU64::new(0)).take(stripes).collect())
    }

    /// Whether a stripe is due. If so, its leases are to be visited now, and then [`end`](Self::end) is called.
    pub(super) fn begin(&self, stripe: usize, now: Timestamp) -> bool {
        let Some(due) = self.0.get(stripe) else { return true };
        let is_due = due.load(Ordering::Relaxed) <= now.as_ns();
        if is_due {
            // Before any lease is visited, so that one that hurries meanwhile is not overlooked.
            due.store(u64::MAX, Ordering::Relaxed);
        }
        is_due
    }

    /// Its leases have been visited, and are due then.
    pub(super) fn end(&self, stripe: usize, at: Timestamp) {
        if let Some(due) = self.0.get(stripe) {
            due.fetch_min(at.as_ns(), Ordering::Relaxed);
        }
    }

    /// A lease of a stripe is due at once. Called with its shard locked, after the lease was changed.
    pub(super) fn hurry(&self, stripe: usize) {
        if let Some(due) = self.0.get(stripe)
            && due.load(Ordering::Relaxed) != 0
        {
            due.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stripe_is_visited_when_it_is_due_or_hurries() {
        let (due, at) = (Due::new(2), |ms: u64| Timestamp::from_ns(ms * 1_000_000));
        assert!(due.begin(0, at(1)));
        due.end(0, at(500));
        assert!(!due.begin(0, at(499)) && due.begin(1, at(499)));
        due.hurry(0);
        assert!(due.begin(0, at(499)));
        // It hurries while it is visited.
        due.hurry(0);
        due.end(0, at(1_000));
        assert!(due.begin(0, at(500)));
        due.end(0, Timestamp::MAX);
        assert!(!due.begin(0, at(1_000_000)));
    }
}
