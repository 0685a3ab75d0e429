//! A count over a sliding window.

use std::collections::VecDeque;

use crate::units::{Nanos, Timestamp};

/// DeliveryCounts events within the last window, in steps of a twentieth of its length.
///
/// The count reaches back at least the whole length and at most a twentieth more: no event within the window is missed.
/// Bound: 21 steps of 16 bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    /// The number of each step with events, and how many; oldest first.
    steps: VecDeque<(u64, u64)>,
}

impl Window {
    /// DeliveryCounts `n` events at `now`. A `now` before the last one counts as the last one.
    pub(super) fn add(&mut self, now: Timestamp, length: Nanos, n: u64) {
        let step = step(now, length);
        self.forget(step);
        match self.steps.back_mut() {
            Some((last, count)) if *last >= step => *count = count.saturating_add(n),
            _ => self.steps.push_back((step, n)),
        }
    }

    /// The number of events within the window before `now`.
    pub(super) fn count(&mut self, now: Timestamp, length: Nanos) -> u64 {
        self.forget(step(now, length));
        self.steps.iter().fold(0, |sum, (_, n)| sum.saturating_add(*n))
    }

    /// Forgets all events.
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

/// An alert need not be more precise than a twentieth of its window.
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
