//! Hits per second of one counter in one replica.

use super::size::number;
use crate::units::{Nanos, Timestamp};

/// A rate of hits, averaged over about a horizon, or over the time since the first one. The first check counts as none: nothing
/// is known of the time before it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rate {
    /// Hits, each weighed by its age.
    sum: f64,
    since: Timestamp,
    at: Timestamp,
}

impl Rate {
    /// Adds the hits of one check.
    pub(super) fn add(&mut self, hits: u64, now: Timestamp, horizon: Nanos) {
        if self.since == Timestamp::EPOCH || now.since(self.at).as_ns() / FORGOTTEN_AFTER > horizon.as_ns() {
            *self = Self { sum: 0.0, since: now, at: now };
            return;
        }
        self.sum = self.weighed(now, horizon) + number(hits);
        self.at = now;
    }

    /// Hits per thousand seconds.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // It saturates, at a rate that no counter has.
    pub(super) fn per_1000_seconds(&self, now: Timestamp, horizon: Nanos) -> u64 {
        (self.per_second(now, horizon) * 1e3).min(MOST) as u64
    }

    /// Hits per second.
    pub(super) fn per_second(&self, now: Timestamp, horizon: Nanos) -> f64 {
        let known = number(now.since(self.since).max(LEAST_KNOWN).as_ns());
        let horizon_ns = number(horizon.as_ns().max(1));
        let covered = horizon_ns * (1.0 - (-known / horizon_ns).exp());
        self.weighed(now, horizon) * 1e9 / covered
    }

    /// The hits at `now`. A clock that stepped back leaves them as they are.
    fn weighed(&self, now: Timestamp, horizon: Nanos) -> f64 {
        let age = now.since(self.at).as_ns();
        if age == 0 { self.sum } else { self.sum * (-number(age) / number(horizon.as_ns().max(1))).exp() }
    }
}

/// The hits of a counter in about a horizon, known when the engine is asked: whether each hit of a slow counter is asked for.
///
/// The first check counts as none. With fewer than two hits in any horizon the sum stays below 1.6.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    sum: f64,
    at: Timestamp,
    /// Hits since the last request.
    since: u64,
}

impl Pace {
    /// Adds the hits of one check.
    pub(super) const fn add(&mut self, hits: u64) {
        self.since = self.since.saturating_add(hits);
    }

    /// Whether so many hits come that more than those that wait are worth asking for; called at each request.
    pub(super) fn is_busy(&mut self, now: Timestamp, horizon: Nanos) -> bool {
        if self.at == Timestamp::EPOCH {
            self.since = 0;
        }
        let age = number(now.since(self.at).as_ns()) / number(horizon.as_ns().max(1));
        self.sum = self.sum * (-age).exp() + number(std::mem::take(&mut self.since));
        self.at = now;
        self.sum >= BUSY
    }
}

/// Hits per horizon from which on a counter is busy.
const BUSY: f64 = 3.0;
/// Horizons without a hit after which a rate begins again.
const FORGOTTEN_AFTER: u64 = 4;
/// A rate is not extrapolated from less time: the hits of one read have the same instant.
const LEAST_KNOWN: Nanos = Nanos::from_ns(20_000_000);
/// The largest rate: its products with times are exact in a script.
const MOST: f64 = 1e12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_is_known_soon_and_forgotten_when_it_ends() {
        let horizon = Nanos::SECOND;
        let mut rate = Rate::default();
        let at = |ms: u64| Timestamp::from_ns(1_000_000_000_000 + ms * 1_000_000);
        rate.add(1, at(0), horizon);
        assert_eq!(rate.per_1000_seconds(at(0), horizon), 0, "the first check counts as none");
        for (until, from) in [(100, 1), (1_000, 100), (10_000, 1_000)] {
            (from..until).for_each(|ms| rate.add(1, at(ms), horizon));
            let found = rate.per_second(at(until - 1), horizon);
            assert!((900.0..1_100.0).contains(&found), "{found} after {until} ms");
        }
        assert!(rate.per_second(at(13_000), horizon) < 60.0);
    }
}
