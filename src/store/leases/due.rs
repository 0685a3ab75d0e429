//! When leases are looked after, so that those that need nothing for a while are left alone.

use crate::store::earliest::Earliest;
use crate::units::Timestamp;

/// By stripe: when its leases are to be looked after next, by the clock of this process.
#[derive(Debug)]
pub(super) struct Due(Box<[Earliest]>);

impl Due {
    /// All are due.
    pub(super) fn new(stripes: usize) -> Self {
        Self(std::iter::repeat_with(|| Earliest::new(Timestamp::EPOCH)).take(stripes).collect())
    }

    /// Whether a stripe is due. If so, its leases are to be visited now, and then [`end`](Self::end) is called.
    pub(super) fn begin(&self, stripe: usize, now: Timestamp) -> bool {
        self.0.get(stripe).is_none_or(|due| due.forget_if_come(now))
    }

    /// Its leases have been visited, and are due then.
    pub(super) fn end(&self, stripe: usize, at: Timestamp) {
        if let Some(due) = self.0.get(stripe) {
            due.lower(at);
        }
    }

    /// A lease of a stripe is due at once. Called with its shard locked, after the lease was changed.
    pub(super) fn hurry(&self, stripe: usize) {
        self.end(stripe, Timestamp::EPOCH);
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
