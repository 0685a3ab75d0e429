//! The clock: the only module that reads the time.

#![allow(clippy::disallowed_methods)] // This is the place that reads time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use crate::units::{Nanos, Timestamp};

/// The clock of the process: wall-clock time that never goes backwards.
///
/// It adds monotonic time to the wall-clock time at the start of the process. If the wall clock is set forward, the clock
/// follows at the next [`follow`](Clock::follow). If it is set back, the clock does not follow (old windows would open
/// again), and [`ahead`](Clock::ahead) returns the difference.
#[derive(Debug)]
pub struct Clock {
    origin: Instant,
    /// Nanoseconds since the epoch at `origin`; only ever raised.
    base_ns: AtomicU64,
}

impl Clock {
    /// A clock that starts at the present wall-clock time.
    pub fn start() -> Self {
        Self { origin: Instant::now(), base_ns: AtomicU64::new(wall_ns()) }
    }

    /// The current instant. Cost: one read of the monotonic clock, no shared write.
    pub fn now(&self) -> Timestamp {
        let elapsed = Nanos::from(self.origin.elapsed());
        Timestamp::from_ns(self.base_ns.load(Ordering::Relaxed)).plus(elapsed)
    }

    /// Catches up with a wall clock that was set forward. Called regularly, off the decision path.
    pub fn follow(&self) {
        let base = wall_ns().saturating_sub(Nanos::from(self.origin.elapsed()).as_ns());
        self.base_ns.fetch_max(base, Ordering::Relaxed);
    }

    /// How far this clock is ahead of the wall clock: more than a few microseconds after the wall clock was set back.
    pub fn ahead(&self) -> Nanos {
        self.now().since(Timestamp::from_ns(wall_ns()))
    }
}

/// Nanoseconds since the epoch by the wall clock; the epoch itself for a clock set before it.
fn wall_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |length| Nanos::from(length).as_ns())
}

/// The present of the runtime's timers, for their deadlines. Tests can pause it.
pub(crate) fn timer_now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// Measures durations for metrics; no decision depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts to measure.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Nanos {
        self.0.elapsed().into()
    }
}
