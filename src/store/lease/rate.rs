//! Hits per second of one counter in one replica.

use super::size::number;
use crate::units::{Nanos, Timestamp};

/// The checks of one counter in one replica.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Arrivals {
    /// Their hits, all together.
    hits: u64,
    /// When the last one came.
    at: Timestamp,
    /// Hits that come before that are weighed later, all at once.
    weighed_at: Timestamp,
}

impl Arrivals {
    /// Adds the hits of one check. Cost: an addition; an exponential after each [part](PARTS) of a horizon.
    pub(super) fn add(&mut self, hits: u64, now: Timestamp, rate: &mut Rate, horizon: impl FnOnce() -> Nanos) {
        if now >= self.weighed_at {
            let horizon = horizon();
            rate.weigh(self.hits, hits, now, horizon);
            self.weighed_at = now.plus(Nanos::from_ns(horizon.as_ns() / PARTS));
        }
        self.hits = self.hits.wrapping_add(hits);
        self.at = now;
    }

    /// The time since the last check came.
    pub(super) const fn idle(&self, now: Timestamp) -> Nanos {
        now.since(self.at)
    }
}

/// A rate of hits, averaged over about a horizon, or over the time since the first one. The first check counts as none: nothing
/// is known of the time before it.
///
/// Hits that came since it was last weighed count as if they had come then, so it is too low by at most a [part](PARTS) of itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rate {
    /// Hits, each weighed by its age.
    sum: f64,
    since: Timestamp,
    at: Timestamp,
    /// Of the hits of all checks, those that are in the sum, or not to be.
    weighed: u64,
}

impl Rate {
    /// Weighs the hits of a check, and those that came `before` and are not weighed.
    fn weigh(&mut self, before: u64, hits: u64, now: Timestamp, horizon: Nanos) {
        let weighed = before.wrapping_add(hits);
        if self.since == Timestamp::EPOCH || now.since(self.at).as_ns() / FORGOTTEN_AFTER > horizon.as_ns() {
            *self = Self { sum: 0.0, since: now, at: now, weighed };
            return;
        }
        self.sum = self.at_time(before, now, horizon) + number(hits);
        (self.at, self.weighed) = (now, weighed);
    }

    /// Hits per thousand seconds, after these checks.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // It saturates, at a rate that no counter has.
    pub(super) fn per_1000_seconds(&self, arrivals: &Arrivals, now: Timestamp, horizon: Nanos) -> u64 {
        (self.per_second(arrivals, now, horizon) * 1e3).min(MOST) as u64
    }

    /// Hits per second, after these checks.
    pub(super) fn per_second(&self, arrivals: &Arrivals, now: Timestamp, horizon: Nanos) -> f64 {
        let known = number(now.since(self.since).max(LEAST_KNOWN).as_ns());
        let horizon_ns = number(horizon.as_ns().max(1));
        let covered = horizon_ns * (1.0 - (-known / horizon_ns).exp());
        self.at_time(arrivals.hits, now, horizon) * 1e9 / covered
    }

    /// The hits at `now`, of so many of all checks. A clock that stepped back leaves them as they are.
    fn at_time(&self, hits: u64, now: Timestamp, horizon: Nanos) -> f64 {
        let age = now.since(self.at).as_ns();
        let sum = self.sum + number(hits.wrapping_sub(self.weighed));
        if age == 0 { sum } else { sum * (-number(age) / number(horizon.as_ns().max(1))).exp() }
    }
}

/// The hits of a counter in about a horizon, known when the engine is asked: whether each hit of a slow counter is asked for.
///
/// The first check counts as none. With fewer than two hits in any horizon the sum stays below 1.6.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    sum: f64,
    at: Timestamp,
    /// Of the hits of all checks, those before the last request.
    asked: u64,
}

impl Pace {
    /// Whether so many hits come that more than those that wait are worth asking for; called at each request, after these checks.
    pub(super) fn is_busy(&mut self, arrivals: &Arrivals, now: Timestamp, horizon: Nanos) -> bool {
        let since = if self.at == Timestamp::EPOCH { 0 } else { arrivals.hits.wrapping_sub(self.asked) };
        let age = number(now.since(self.at).as_ns()) / number(horizon.as_ns().max(1));
        self.sum = self.sum * (-age).exp() + number(since);
        (self.at, self.asked) = (now, arrivals.hits);
        self.sum >= BUSY
    }
}

/// Hits per horizon from which on a counter is busy.
const BUSY: f64 = 3.0;
/// Hits of so small a part of a horizon are weighed at once.
const PARTS: u64 = 256;
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
        let (mut rate, mut arrivals) = (Rate::default(), Arrivals::default());
        let at = |ms: u64| Timestamp::from_ns(1_000_000_000_000 + ms * 1_000_000);
        arrivals.add(1, at(0), &mut rate, || horizon);
        assert_eq!(rate.per_1000_seconds(&arrivals, at(0), horizon), 0, "the first check counts as none");
        for (until, from) in [(100, 1), (1_000, 100), (10_000, 1_000)] {
            (from..until).for_each(|ms| arrivals.add(1, at(ms), &mut rate, || horizon));
            let found = rate.per_second(&arrivals, at(until - 1), horizon);
            assert!((900.0..1_100.0).contains(&found), "{found} after {until} ms");
        }
        assert!(rate.per_second(&arrivals, at(13_000), horizon) < 60.0);
    }

    #[test]
    fn hits_that_are_weighed_at_once_are_a_small_part_off() {
        let horizon = Nanos::SECOND;
        let at = |us: u64| Timestamp::from_ns(1_000_000_000_000 + us * 1_000);
        let (mut rate, mut arrivals, mut weighed) = (Rate::default(), Arrivals::default(), 0);
        for us in (0..5_000_000).step_by(100) {
            arrivals.add(2, at(us), &mut rate, || {
                weighed += 1;
                horizon
            });
        }
        let found = rate.per_second(&arrivals, at(5_000_000), horizon);
        assert!((20_000.0 * (1.0 - 1.0 / 256.0)..=20_000.0).contains(&found), "{found}");
        assert!(weighed <= 5 * 256, "{weighed} exponentials");
    }
}
