//! A count over the time just past.

use std::collections::VecDeque;

use crate::units::{Nanos, Timestamp};

/// Counts what happened within the last while, in steps of a twentieth of it.
///
/// What it counts reaches back at least the whole length, and at most a twentieth longer: nothing within it is missed.
/// Bound: 21 steps of 16 bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    /// The number of each step in which something happened, and how often; oldest first.
    steps: VecDeque<(u64, u64)>,
}

impl Window {
    /// Counts `n` at `now`. A `now` before the last one counts as the last one.
    pub(super) fn add(&mut self, now: Timestamp, length: Nanos, n: u64) {
        let step = step(now, length);
        self.forget(step);
        match self.steps.back_mut() {
            Some((last, count)) if *last >= step => *count = count.saturating_add(n),
            _ => self.steps.push_back((step, n)),
        }
    }

    /// How often it happened within the time before `now`.
    pub(super) fn count(&mut self, now: Timestamp, length: Nanos) -> u64 {
        self.forget(step(now, length));
        self.steps.iter().fold(0, |sum, (_, n)| sum.saturating_add(*n))
    }

    /// Begins again.
    pub(super) fn clear(&mut self) {
        self.steps.clear();
    }

    fn forget(&mut self, step: u64) {
        while self.steps.front().is_some_and(|(first, _)| first.saturating_add(STEPS) < step) {
            self.steps.pop_front();
        }
    }
}

fn step(now: Timestamp, length: Nanos) -> u64 {
    now.as_ns() / (length.as_ns() / STEPS).max(1)
}

/// An alert need not be sharper than five parts in a hundred of its time.
const STEPS: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_within_counts_and_what_is_a_step_older_does_not() {
        let length = Nanos::from_secs(20);
        let at = |seconds| Timestamp::EPOCH.plus(Nanos::from_secs(seconds));
        let mut window = Window::default();
        for (now, n, expected) in [
            (100, 1, 1),
            (110, 2, 3),
            (120, 4, 7),
            (121, 0, 6),
            (130, 0, 6),
            (131, 0, 4),
            (125, 8, 12), // A clock that goes back.
            (140, 0, 12),
            (10_000, 16, 16),
        ] {
            window.add(at(now), length, n);
            assert_eq!(window.count(at(now), length), expected, "at {now}");
        }
        assert!(window.steps.len() as u64 <= STEPS + 1);
    }
}
