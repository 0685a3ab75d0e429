//! Pauses that grow with each failure.

use std::time::Duration;

/// Doubles from the first length to the longest one.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// No failure yet.
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest: longest.max(first), next: first }
    }

    /// The pause after one more failure.
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(self.longest);
        pause
    }

    /// There was a success.
    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}

/// A random part of a pause ("full jitter"), so that the clients of a control plane that restarts do not all come at the same time.
/// `chance` is evenly distributed.
///
/// Source: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
pub(super) fn jittered(pause: Duration, chance: u32) -> Duration {
    pause.mul_f64(f64::from(chance) / f64::from(u32::MAX))
}

/// Allows some changes in a row, then one in each interval.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    allowed: u32,
}

impl Pace {
    /// All changes of a row are allowed.
    pub(super) fn new() -> Self {
        Self { allowed: IN_A_ROW }
    }

    /// How long to wait before the next one. `rested` is the time since the last one.
    pub(super) fn after(&mut self, rested: Duration) -> Duration {
        let regained = u32::try_from(rested.as_millis() / INTERVAL.as_millis()).unwrap_or(u32::MAX);
        self.allowed = self.allowed.saturating_add(regained).min(IN_A_ROW);
        match self.allowed.checked_sub(1) {
            Some(left) => {
                self.allowed = left;
                Duration::ZERO
            }
            None => INTERVAL,
        }
    }
}

/// A control plane that applies many policies sends a set for each.
const IN_A_ROW: u32 = 10;
/// More often nobody changes rules on purpose, and each change is parsed and logged.
const INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: Duration = Duration::from_millis(500);

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_again() {
        let mut backoff = Backoff::new(HALF, Duration::from_secs(3));
        let pauses: Vec<_> = (0..5).map(|_| backoff.next().as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 3000, 3000]);
        backoff.reset();
        assert_eq!(backoff.next(), HALF);
        assert_eq!(Backoff::new(HALF, Duration::ZERO).next(), HALF);
    }

    #[test]
    fn a_pause_is_drawn_from_the_whole_range() {
        let drawn = [0, u32::MAX / 4, u32::MAX].map(|chance| jittered(HALF, chance).as_millis());
        assert_eq!(drawn, [0, 125, 500]);
    }

    #[test]
    fn changes_in_a_row_are_slowed_down() {
        let mut pace = Pace::new();
        let mut waits: Vec<_> = (0..11).map(|_| pace.after(Duration::ZERO)).collect();
        assert_eq!(waits.pop(), Some(INTERVAL));
        assert!(waits.iter().all(Duration::is_zero), "{waits:?}");
        assert_eq!(pace.after(INTERVAL * 2), Duration::ZERO);
        assert_eq!(pace.after(Duration::ZERO), Duration::ZERO);
        assert_eq!(pace.after(Duration::ZERO), INTERVAL);
    }
}
