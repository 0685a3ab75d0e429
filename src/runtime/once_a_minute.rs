//! Log lines that peers can cause as often as they like.

use std::sync::atomic::{AtomicU64, Ordering};

use super::clock::Stopwatch;
use crate::units::Nanos;

/// Allows one line a minute.
#[derive(Debug)]
pub(crate) struct OnceAMinute {
    stopwatch: Stopwatch,
    /// When the next line may be written, in nanoseconds of the stopwatch.
    next_ns: AtomicU64,
}

impl Default for OnceAMinute {
    fn default() -> Self {
        Self { stopwatch: Stopwatch::start(), next_ns: AtomicU64::new(0) }
    }
}

impl OnceAMinute {
    /// Whether a line may be written now; then no other one for a minute.
    pub(crate) fn may_say(&self) -> bool {
        let now_ns = self.stopwatch.elapsed().as_ns();
        let next_ns = self.next_ns.load(Ordering::Relaxed);
        let later_ns = now_ns.saturating_add(Nanos::from_secs(60).as_ns());
        now_ns >= next_ns
            && self.next_ns.compare_exchange(next_ns, later_ns, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}
