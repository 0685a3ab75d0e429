//! What is known of the engine's clock. PURE.
//!
//! Source: the clock filter of NTP (RFC 5905, section 10). The engine's time is taken to be that of the middle between question and answer, so
//! what a reply says is wrong by half of its round trip at most. A reply that took long, or was read late because this process had been stopped, says
//! less than what is known already.

use crate::units::{Nanos, Timestamp};

/// The difference of two clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct EngineClock {
    /// The engine's clock less ours, in nanoseconds.
    offset_ns: i64,
    /// By how much it was wrong at most when it was learned; `None`: nothing was.
    error: Option<Nanos>,
    learned_at: Timestamp,
}

impl EngineClock {
    /// The engine showed `engine` between `asked` and `answered`. Returns the difference as it is known now.
    pub(super) fn learn(&mut self, asked: Timestamp, answered: Timestamp, engine: Timestamp) -> i64 {
        let error = Nanos::from_ns(answered.since(asked).as_ns() / 2);
        let age = answered.since(self.learned_at).as_ns();
        let known = self.error.map(|known| known.as_ns().saturating_add(age / DRIFT));
        if known.is_none_or(|known| error.as_ns() <= known.max(GOOD.as_ns())) {
            let offset_ns = clock_offset_ns(asked, answered, engine);
            *self = Self { offset_ns, error: Some(error), learned_at: answered };
        }
        self.offset_ns
    }
}

/// The engine's clock less ours, in nanoseconds: the engine's time is that of the middle between question and answer.
pub(super) fn clock_offset_ns(asked: Timestamp, answered: Timestamp, engine: Timestamp) -> i64 {
    let middle = asked.plus(Nanos::from_ns(answered.since(asked).as_ns() / 2));
    let signed = |ns: u64| i64::try_from(ns).unwrap_or(i64::MAX);
    signed(engine.since(middle).as_ns()) - signed(middle.since(engine).as_ns())
}

/// What is known gets worse by a millisecond per second: no clock drifts as fast, and a slow network is believed again soon.
const DRIFT: u64 = 1_000;
/// A reply with a smaller error than that is always believed, so that a clock that was set is followed at once.
const GOOD: Nanos = Nanos::from_ns(1_000_000);

#[cfg(test)]
mod tests {
    use super::*;

    /// Microseconds since some instant.
    fn at(us: u64) -> Timestamp {
        Timestamp::from_ns(1_700_000_000_000_000_000 + us * 1_000)
    }

    #[test]
    fn a_reply_that_took_long_says_less_than_what_is_known() {
        let mut clock = EngineClock::default();
        // Nothing is known: 100 ms are better than that. The engine answers at once, and is 5 s ahead.
        assert_eq!(clock.learn(at(0), at(100_000), at(5_000_000)), 4_950_000_000);
        assert_eq!(clock.learn(at(200_000), at(200_400), at(5_200_200)), 5_000_000_000);
        // The process was stopped for a second before it read the reply.
        assert_eq!(clock.learn(at(300_000), at(1_300_000), at(5_300_200)), 5_000_000_000);
        assert_eq!(clock.learn(at(1_400_000), at(1_404_000), at(6_400_000)), 5_000_000_000);
        // What is known is some seconds old.
        assert_eq!(clock.learn(at(4_400_000), at(4_404_000), at(9_400_000)), 4_998_000_000);
    }

    #[test]
    fn a_clock_that_was_set_is_followed() {
        let mut clock = EngineClock::default();
        assert_eq!(clock.learn(at(0), at(200), at(100)), 0);
        assert_eq!(clock.learn(at(1_000), at(2_500), at(60_001_750)), 60_000_000_000);
        assert_eq!(clock.learn(at(3_000), at(3_200), at(3_100)), 0);
    }
}
