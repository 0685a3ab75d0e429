//! What a lease depends on besides its state: the limit, its shape, and how many replicas share it.

use crate::engine::{Algorithm, CountDenied, LeaseShape, Limit, WhyExact};
use crate::units::{Nanos, Timestamp};

/// What is lent of a limit, and to how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    pub(super) limit: Limit,
    pub(super) shape: LeaseShape,
    pub(super) replicas: u32,
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
        // No window of a calendar is longer than this one.
        let window = limit.calendar().map_or(limit.window, |calendar| calendar.unit().longest());
        let window = Nanos::from_ns((window.as_ns() / 1_000).max(1) * 1_000);
        Ok(Self { limit: Limit { window, ..*limit }, shape, replicas: replicas.max(1), lends: true })
    }

    /// The same, but just the hits of checks are asked for: how counters that are counted exactly are charged all or nothing
    /// where no script can reach all of them.
    pub const fn just_hits(self) -> Self {
        Self { lends: false, ..self }
    }

    /// The same, but nothing is allowed.
    pub const fn closed(self) -> Self {
        Self { limit: Limit { max: 0, ..self.limit }, ..self }
    }

    /// The same for a check that is charged all or nothing: denied hits count only if they do whichever limit denies.
    pub const fn jointly(self) -> Self {
        let count_denied = if self.limit.keeps_denied() { CountDenied::Always } else { CountDenied::Never };
        Self { limit: Limit { count_denied, ..self.limit }, ..self }
    }

    /// The limit.
    pub const fn limit(&self) -> &Limit {
        &self.limit
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
        match self.limit.algorithm {
            Algorithm::TokenBucket { burst, .. } => burst as u64,
            _ => 0,
        }
    }

    /// The length of a window in microseconds, at least 1.
    pub const fn window_us(&self) -> u64 {
        self.limit.window.as_ns() / 1_000
    }

    /// Half the time after which the engine begins to forget what it lent of a bucket, in microseconds: the time in which a
    /// quarter of the burst is regained.
    pub fn bucket_horizon_us(&self) -> u64 {
        let quarter = u128::from(self.burst()) * u128::from(self.window_us()) / (4 * u128::from(self.limit.max.max(1)));
        u64::try_from(quarter.clamp(1, MAX_HORIZON_US)).unwrap_or(1)
    }

    /// The time for which a lease is meant to last while less than half of a window is left, and after half of which an idle one
    /// goes back.
    pub(super) fn short_horizon(&self) -> Nanos {
        match self.shape {
            LeaseShape::Bucket => Nanos::from_ns(self.bucket_horizon_us().saturating_mul(1_000)),
            _ => Nanos::from_ns((self.limit.window.as_ns() / 8).clamp(SHORTEST.as_ns(), LONGEST.as_ns())),
        }
    }

    /// The time for which a lease is meant to last, if so much was left.
    pub(super) fn horizon(&self, left: u64) -> Nanos {
        match self.shape {
            LeaseShape::Bucket => self.short_horizon(),
            _ if left.saturating_mul(2) >= self.limit.max.into() => LONGEST,
            _ => self.short_horizon(),
        }
    }

    /// The time over which the rate of hits is averaged.
    pub(super) fn rate_horizon(&self) -> Nanos {
        match self.shape {
            LeaseShape::Bucket => self.short_horizon(),
            _ => Nanos::from_ns((self.limit.window.as_ns() / RATE_PARTS).clamp(SHORTEST.as_ns(), LONGEST.as_ns())),
        }
    }

    /// The time in which a counter with fewer than two hits is slow.
    pub(super) fn pace_horizon(&self) -> Nanos {
        match self.shape {
            LeaseShape::Bucket => self.short_horizon(),
            _ => self.limit.window.min(LONGEST),
        }
    }

    /// The pause after the answer that nothing is left: a tenth of a window.
    pub(super) fn pause(&self) -> Nanos {
        Nanos::from_ns((self.limit.window.as_ns() / 10).clamp(SHORTEST.as_ns(), LONGEST_PAUSE.as_ns()))
    }

    /// The end of the aligned window at an instant of the engine's clock.
    pub(super) fn clock_end(&self, engine: Timestamp) -> Timestamp {
        let length = self.limit.window;
        let by_length = || engine.minus(Nanos::from_ns(engine.as_ns() % length.as_ns().max(1))).plus(length);
        // A sliding window has aligned ones, too.
        self.limit.aligned_end(engine).unwrap_or_else(by_length)
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
