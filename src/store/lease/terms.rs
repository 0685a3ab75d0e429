//! What a lease depends on besides its state: the limit, its shape, and how many replicas share it.

use crate::calendar::Calendar;
use crate::engine::{Algorithm, CountDenied, LeaseShape, Limit, Queue, QueueMode, Starts, WhyExact};
use crate::units::{Nanos, Timestamp};

/// What is lent of a limit, and to how many. Half a line of the cache: it is made for each check, and compared with that of the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    pub(super) max: u32,
    /// The size of the bucket; 0 for windows.
    burst: u32,
    pub(super) window: Nanos,
    /// What windows follow, if not the clock.
    calendar: Option<&'static Calendar>,
    pub(super) replicas: u32,
    pub(super) shape: LeaseShape,
    count_denied: CountDenied,
    /// False: just the hits of checks are asked for, and what they do not spend goes back at once.
    pub(super) lends: bool,
}

impl Terms {
    /// The terms of a limit that so many replicas share. Parts of a microsecond of its period are dropped.
    ///
    /// # Errors
    /// The limit is not lent.
    pub fn new(limit: &Limit, replicas: u32) -> Result<Self, WhyExact> {
        let shape = limit.lease_shape(replicas)?;
        let calendar = limit.calendar();
        // No window of a calendar is longer than this one.
        let window = calendar.map_or(limit.window, |calendar| calendar.unit().longest());
        let burst = match limit.algorithm {
            Algorithm::TokenBucket { burst, .. } => burst,
            _ => 0,
        };
        Ok(Self {
            max: limit.max,
            burst,
            window: Nanos::from_ns((window.as_ns() / 1_000).max(1) * 1_000),
            calendar,
            replicas: replicas.max(1),
            shape,
            count_denied: limit.count_denied,
            lends: true,
        })
    }

    /// The same, but just the hits of checks are asked for: how counters that are counted exactly are charged all or nothing
    /// where no script can reach all of them.
    pub const fn just_hits(self) -> Self {
        Self { lends: false, ..self }
    }

    /// The same, but nothing is allowed.
    pub const fn closed(self) -> Self {
        Self { max: 0, ..self }
    }

    /// The same for a check that is charged all or nothing: denied hits count only if they do whichever limit denies.
    pub const fn jointly(self) -> Self {
        let count_denied = if self.keeps_denied() { CountDenied::Always } else { CountDenied::Never };
        Self { count_denied, ..self }
    }

    /// The limit, with the window that is lent of.
    pub const fn limit(&self) -> Limit {
        let algorithm = match (self.shape, self.calendar) {
            (LeaseShape::ClockWindow, Some(calendar)) => Algorithm::FixedWindow { starts: Starts::Calendar(calendar) },
            (LeaseShape::ClockWindow, None) => Algorithm::FixedWindow { starts: Starts::Clock },
            (LeaseShape::FirstRequestWindow, _) => Algorithm::FixedWindow { starts: Starts::FirstRequest },
            (LeaseShape::SlidingWindow, _) => Algorithm::SlidingWindow,
            (LeaseShape::Bucket, _) => {
                Algorithm::TokenBucket { burst: self.burst, queue: Queue { size: 0, mode: QueueMode::Hold } }
            }
        };
        Limit { max: self.max, window: self.window, algorithm, ban: None, count_denied: self.count_denied }
    }

    /// Whether these are terms of the same limit.
    pub fn are_of_limit_of(&self, other: &Self) -> bool {
        *self == Self { replicas: self.replicas, lends: self.lends, ..*other }
    }

    /// The most hits that are allowed at one instant, as [`Limit::capacity`] says.
    pub const fn capacity(&self) -> u64 {
        match self.shape {
            LeaseShape::Bucket => self.burst as u64,
            _ => self.max as u64,
        }
    }

    /// The calendar that windows follow.
    pub(super) const fn calendar(&self) -> Option<&'static Calendar> {
        self.calendar
    }

    /// See [`Limit::counts_denied`].
    pub(super) const fn counts_denied(&self) -> bool {
        !matches!(self.count_denied, CountDenied::Never)
    }

    /// See [`Limit::keeps_denied`].
    pub(super) const fn keeps_denied(&self) -> bool {
        matches!(self.count_denied, CountDenied::Always)
    }

    /// What a lease is a part of.
    pub const fn shape(&self) -> LeaseShape {
        self.shape
    }

    /// How many replicas share the limit, at least 1.
    pub const fn replicas(&self) -> u32 {
        self.replicas
    }

    /// The size of the bucket; 0 for windows.
    pub const fn burst(&self) -> u64 {
        self.burst as u64
    }

    /// The length of a window in microseconds, at least 1.
    pub const fn window_us(&self) -> u64 {
        self.window.as_ns() / 1_000
    }

    /// Half the time after which the engine begins to forget what it lent of a bucket, in microseconds: the time in which a
    /// quarter of the burst is regained.
    pub fn bucket_horizon_us(&self) -> u64 {
        let quarter = u128::from(self.burst()) * u128::from(self.window_us()) / (4 * u128::from(self.max.max(1)));
        u64::try_from(quarter.clamp(1, MAX_HORIZON_US)).unwrap_or(1)
    }

    /// The time for which a lease is meant to last while less than half of a window is left, and after half of which an idle one
    /// goes back.
    pub(super) fn short_horizon(&self) -> Nanos {
        match self.shape {
            LeaseShape::Bucket => Nanos::from_ns(self.bucket_horizon_us().saturating_mul(1_000)),
            _ => Nanos::from_ns((self.window.as_ns() / 8).clamp(SHORTEST.as_ns(), LONGEST.as_ns())),
        }
    }

    /// The time for which a lease is meant to last, if so much was left.
    pub(super) fn horizon(&self, left: u64) -> Nanos {
        match self.shape {
            LeaseShape::Bucket => self.short_horizon(),
            _ if left.saturating_mul(2) >= self.max.into() => LONGEST,
            _ => self.short_horizon(),
        }
    }

    /// The time over which the rate of hits is averaged.
    pub(super) fn rate_horizon(&self) -> Nanos {
        match self.shape {
            LeaseShape::Bucket => self.short_horizon(),
            _ => Nanos::from_ns((self.window.as_ns() / RATE_PARTS).clamp(SHORTEST.as_ns(), LONGEST.as_ns())),
        }
    }

    /// The time in which a counter with fewer than two hits is slow.
    pub(super) fn pace_horizon(&self) -> Nanos {
        match self.shape {
            LeaseShape::Bucket => self.short_horizon(),
            _ => self.window.min(LONGEST),
        }
    }

    /// The pause after the answer that nothing is left: a tenth of a window.
    pub(super) fn pause(&self) -> Nanos {
        Nanos::from_ns((self.window.as_ns() / 10).clamp(SHORTEST.as_ns(), LONGEST_PAUSE.as_ns()))
    }

    /// The end of the aligned window at an instant of the engine's clock.
    pub(super) fn clock_end(&self, engine: Timestamp) -> Timestamp {
        let length = self.window;
        // A sliding window has aligned ones, too.
        let by_length = || engine.minus(Nanos::from_ns(engine.as_ns() % length.as_ns().max(1))).plus(length);
        self.calendar.map_or_else(by_length, |calendar| calendar.window_at(engine).end)
    }
}

/// The longest time for which a lease is meant to last.
pub(super) const LONGEST: Nanos = Nanos::from_secs(10);
/// The shortest one, and the shortest pause: a check of the state of leases is as far from the next one.
pub(super) const SHORTEST: Nanos = Nanos::from_ns(50_000_000);
/// The longest pause after the answer that nothing is left.
const LONGEST_PAUSE: Nanos = Nanos::from_secs(5);
/// A year: no bucket is refilled as slowly as that, and the time stays exact in a script.
const MAX_HORIZON_US: u128 = 31_536_000_000_000;
/// Rates are averaged over this part of a window: traffic that moves within it is followed.
const RATE_PARTS: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_half_a_line_of_the_cache() {
        assert!(size_of::<Terms>() <= 32);
    }

    #[test]
    fn terms_say_the_limit_that_they_are_of() {
        let burst = Algorithm::TokenBucket { burst: 5_000, queue: Queue { size: 0, mode: QueueMode::Hold } };
        let fixed = |starts| Algorithm::FixedWindow { starts };
        for algorithm in [burst, Algorithm::SlidingWindow, fixed(Starts::Clock), fixed(Starts::FirstRequest)] {
            let window = Nanos::from_secs(60);
            let limit = Limit { max: 1_000, window, algorithm, ban: None, count_denied: CountDenied::Never };
            let terms = Terms::new(&limit, 4).unwrap();
            assert_eq!((terms.limit(), terms.capacity()), (limit, limit.capacity()));
            assert!(terms.are_of_limit_of(&Terms::new(&limit, 7).unwrap().just_hits()));
            assert!(!terms.are_of_limit_of(&terms.closed()));
        }
    }
}
