//! How a limit is shared by several replicas: whether a part of its allowance can be lent, and if not, why.

use std::fmt;

use super::{Algorithm, CountDenied, Limit, Starts};
use crate::units::Nanos;

/// What a lease of a limit is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeaseShape {
    /// A fixed window aligned to the clock or to a calendar.
    ClockWindow,
    /// A fixed window that the first hit begins.
    FirstRequestWindow,
    /// A sliding window; the lease ends with the current one of its two windows.
    SlidingWindow,
    /// A token bucket without a queue.
    Bucket,
}

/// Why each hit of a limit is charged on the engine, in place of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WhyExact {
    /// The rules say so.
    Configured,
    /// The time of each hit is kept.
    SlidingLog,
    /// Hits that are lent and not spent would begin a ban too early.
    Ban,
    /// Each denial changes the state.
    CountDenied,
    /// A queue is an order of hits.
    Queue,
    /// Lent tokens would stall a bucket as small as this; `least` is the smallest burst that can be lent.
    SmallBurst {
        /// Tokens.
        least: u64,
    },
}

/// Why a limit is not shared: each replica has counters of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WhyLocal {
    /// The rules say so.
    Configured,
    /// The period is shorter than [`LEAST_PERIOD`].
    ShortPeriod,
    /// The period is not a whole number of microseconds, in which engines measure time.
    PartOfMicrosecond,
}

/// What decides while the engine does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WhenDown {
    /// This replica's share of the limit.
    #[default]
    Local,
    /// Everything is denied.
    Deny,
    /// Everything is admitted, and charged later.
    Allow,
}

impl Limit {
    /// What a lease of this limit is a part of, among so many replicas.
    ///
    /// # Errors
    /// It is not lent: each hit is charged on the engine.
    pub fn lease_shape(&self, replicas: u32) -> Result<LeaseShape, WhyExact> {
        if self.ban.is_some() {
            return Err(WhyExact::Ban);
        }
        let is_fixed = matches!(self.algorithm, Algorithm::FixedWindow { .. });
        if self.algorithm == Algorithm::SlidingLog {
            return Err(WhyExact::SlidingLog);
        }
        if !is_fixed && self.count_denied != CountDenied::Never {
            return Err(WhyExact::CountDenied);
        }
        match self.algorithm {
            Algorithm::FixedWindow { starts: Starts::Clock | Starts::Calendar(_) } => Ok(LeaseShape::ClockWindow),
            Algorithm::FixedWindow { starts: Starts::FirstRequest } => Ok(LeaseShape::FirstRequestWindow),
            Algorithm::SlidingWindow => Ok(LeaseShape::SlidingWindow),
            Algorithm::SlidingLog => Err(WhyExact::SlidingLog),
            Algorithm::TokenBucket { queue, .. } if queue.size > 0 => Err(WhyExact::Queue),
            Algorithm::TokenBucket { burst, .. } => {
                let least = LEAST_BURST.saturating_mul(replicas.max(1).into());
                if u64::from(burst) < least { Err(WhyExact::SmallBurst { least }) } else { Ok(LeaseShape::Bucket) }
            }
        }
    }

    /// Why counters of this limit cannot be shared at all; `None`: they can.
    pub const fn why_not_shared(&self) -> Option<WhyLocal> {
        if self.window.as_ns() < LEAST_PERIOD.as_ns() {
            Some(WhyLocal::ShortPeriod)
        } else if !self.window.as_ns().is_multiple_of(1_000) {
            Some(WhyLocal::PartOfMicrosecond)
        } else {
            None
        }
    }
}

impl fmt::Display for WhyExact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured => f.write_str("the rules say so"),
            Self::SlidingLog => f.write_str("a sliding_log keeps the time of each hit"),
            Self::Ban => f.write_str("hits that are lent would begin a ban too early"),
            Self::CountDenied => f.write_str("each denied check counts"),
            Self::Queue => f.write_str("a queue is an order of hits"),
            Self::SmallBurst { least } => write!(f, "a burst below {least} is too small to be lent"),
        }
    }
}

impl fmt::Display for WhyLocal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured => f.write_str("the rules say so"),
            Self::ShortPeriod => write!(f, "a period below {LEAST_PERIOD} is too short to be shared"),
            Self::PartOfMicrosecond => f.write_str("a shared period is a whole number of microseconds"),
        }
    }
}

impl WhenDown {
    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Deny => "deny",
            Self::Allow => "allow",
        }
    }
}

/// Tokens of a bucket per replica from which on they are lent: below that, simulations lose up to three quarters of the rate.
const LEAST_BURST: u64 = 100;

/// The shortest period of a shared limit: with a shorter one, windows end while a request is under way.
pub const LEAST_PERIOD: Nanos = Nanos::from_ns(10_000_000);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Ban, BanWhen, Queue, QueueMode};

    #[test]
    fn what_is_lent_and_what_is_not() {
        let fixed = |starts| Algorithm::FixedWindow { starts };
        let bucket = |burst, size| Algorithm::TokenBucket { burst, queue: Queue { size, mode: QueueMode::Hold } };
        let ban = Some(Ban { length: Nanos::SECOND, when: BanWhen::Exceeded });
        let (never, alone, always) = (CountDenied::Never, CountDenied::Alone, CountDenied::Always);
        for (algorithm, ban, count_denied, expected) in [
            (fixed(Starts::Clock), None, alone, Ok(LeaseShape::ClockWindow)),
            (fixed(Starts::Clock), None, always, Ok(LeaseShape::ClockWindow)),
            (fixed(Starts::Clock), ban, alone, Err(WhyExact::Ban)),
            (fixed(Starts::FirstRequest), None, always, Ok(LeaseShape::FirstRequestWindow)),
            (Algorithm::SlidingWindow, None, never, Ok(LeaseShape::SlidingWindow)),
            (Algorithm::SlidingWindow, None, always, Err(WhyExact::CountDenied)),
            (Algorithm::SlidingLog, None, never, Err(WhyExact::SlidingLog)),
            (bucket(300, 0), None, never, Ok(LeaseShape::Bucket)),
            (bucket(299, 0), None, never, Err(WhyExact::SmallBurst { least: 300 })),
            (bucket(300, 1), None, never, Err(WhyExact::Queue)),
            (bucket(300, 0), None, always, Err(WhyExact::CountDenied)),
            (bucket(300, 0), ban, never, Err(WhyExact::Ban)),
        ] {
            let limit = Limit { max: 10, window: Nanos::SECOND, algorithm, ban, count_denied };
            assert_eq!(limit.lease_shape(3), expected, "{limit:?}");
        }
    }

    #[test]
    fn periods_that_engines_cannot_measure_are_not_shared() {
        let limit = |ns| Limit {
            max: 10,
            window: Nanos::from_ns(ns),
            algorithm: Algorithm::SlidingWindow,
            ban: None,
            count_denied: CountDenied::Never,
        };
        for (ns, expected) in [
            (10_000_000, None),
            (9_999_000, Some(WhyLocal::ShortPeriod)),
            (10_000_001, Some(WhyLocal::PartOfMicrosecond)),
        ] {
            assert_eq!(limit(ns).why_not_shared(), expected, "{ns}");
        }
    }
}
