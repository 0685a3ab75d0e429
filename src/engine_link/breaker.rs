//! Keeps checks from waiting for a node that does not answer. PURE: time and chance are arguments.
//!
//! Source: the circuit breaker of Nygard, "Release It!" (2007), with probes after exponential delays and full jitter (Brooker,
//! "Exponential Backoff And Jitter", 2015).

use crate::units::{Nanos, Timestamp};

/// The breaker of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    state: State,
    /// Timeouts since the last reply.
    timeouts: u32,
    /// The first request that has had no reply since any other had one.
    silent_since: Option<Timestamp>,
    /// When it was last closed; `None`: it was never open.
    closed_at: Option<Timestamp>,
    /// The wait before the first probe, when it was last opened: longer after each relapse.
    first_delay: Nanos,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    /// Nothing is sent but probes.
    Open {
        next_probe: Timestamp,
        /// The longest wait before the probe after the next one.
        delay: Nanos,
        good_probes: u32,
        is_probing: bool,
    },
}

/// What may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Requests.
    Send,
    /// One probe; its result is reported.
    Probe,
    /// Nothing.
    Nothing,
}

impl Breaker {
    /// A breaker that lets everything pass.
    pub const CLOSED: Self =
        Self { state: State::Closed, timeouts: 0, silent_since: None, closed_at: None, first_delay: FIRST_DELAY };

    /// Whether requests may be sent. What checks ask.
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// What may be sent now. What the one task that probes asks: after [`Permission::Probe`] it has to report a result.
    pub fn permit(&mut self, now: Timestamp) -> Permission {
        match &mut self.state {
            State::Closed => Permission::Send,
            State::Open { next_probe, is_probing, .. } if !*is_probing && *next_probe <= now => {
                *is_probing = true;
                Permission::Probe
            }
            State::Open { .. } => Permission::Nothing,
        }
    }

    /// When the next probe is due; `None`: the breaker is closed, or a probe is under way.
    pub const fn next_probe(&self) -> Option<Timestamp> {
        match self.state {
            State::Open { next_probe, is_probing: false, .. } => Some(next_probe),
            _ => None,
        }
    }

    /// A request was sent.
    pub fn sent(&mut self, now: Timestamp) {
        self.silent_since.get_or_insert(now);
    }

    /// A reply came in time. Returns whether this closed the breaker. `chance` is evenly distributed.
    pub fn replied(&mut self, now: Timestamp, chance: u32) -> bool {
        (self.timeouts, self.silent_since) = (0, None);
        let State::Open { next_probe, delay, good_probes, is_probing } = &mut self.state else { return false };
        if !*is_probing {
            // A late reply to what was sent before.
            return false;
        }
        *good_probes += 1;
        if *good_probes >= GOOD_PROBES {
            (self.state, self.closed_at) = (State::Closed, Some(now));
            return true;
        }
        // The node answers: the second probe need not wait for long.
        (*is_probing, *delay) = (false, FIRST_DELAY);
        *next_probe = now.plus(jittered(FIRST_DELAY, chance));
        false
    }

    /// A request had no reply in time. Returns whether this opened the breaker.
    pub fn timed_out(&mut self, now: Timestamp, chance: u32) -> bool {
        self.timeouts = self.timeouts.saturating_add(1);
        let is_silent = self.silent_since.is_some_and(|since| now.since(since) >= SILENCE);
        if self.timeouts >= TIMEOUTS || is_silent || !self.is_closed() { self.failed(now, chance) } else { false }
    }

    /// The node cannot be reached or cannot serve. Returns whether this opened the breaker.
    pub fn failed(&mut self, now: Timestamp, chance: u32) -> bool {
        self.silent_since = None;
        match &mut self.state {
            State::Closed => {
                // Probes may succeed where requests do not: a node that is full tells the time.
                let is_relapse = !self.is_steady(now);
                let delay =
                    if is_relapse { self.first_delay.plus(self.first_delay).min(LONGEST_DELAY) } else { FIRST_DELAY };
                let next_probe = now.plus(if is_relapse { jittered(delay, chance) } else { FIRST_DELAY });
                self.first_delay = delay;
                self.state = State::Open { next_probe, delay, good_probes: 0, is_probing: false };
                true
            }
            State::Open { next_probe, delay, good_probes, is_probing } => {
                if *is_probing {
                    *delay = delay.plus(*delay).min(LONGEST_DELAY);
                    *next_probe = now.plus(jittered(*delay, chance));
                    (*good_probes, *is_probing) = (0, false);
                }
                false
            }
        }
    }

    /// Whether it was closed so long ago that opening it is no relapse.
    pub fn is_steady(&self, now: Timestamp) -> bool {
        self.closed_at.is_none_or(|closed_at| now.since(closed_at) >= LONGEST_DELAY)
    }

    /// Whether it was last opened right after it was closed.
    pub fn has_relapsed(&self) -> bool {
        self.first_delay > FIRST_DELAY
    }

    /// Whether the connection timed out so often that it is to be dropped, although nothing says that it is broken.
    pub const fn is_connection_suspect(&self) -> bool {
        self.timeouts >= TIMEOUTS
    }
}

/// A part of the delay by chance, at least [`FIRST_DELAY`]: a process makes no more than one attempt in that time.
fn jittered(delay: Nanos, chance: u32) -> Nanos {
    let part = u128::from(delay.as_ns()) * u128::from(chance) / u128::from(u32::MAX);
    Nanos::from_ns(u64::try_from(part).unwrap_or(u64::MAX)).max(FIRST_DELAY)
}

/// Timeouts in a row.
const TIMEOUTS: u32 = 3;
/// A node without any reply for this time is silent, however few requests it had.
const SILENCE: Nanos = Nanos::from_ns(50_000_000);
const GOOD_PROBES: u32 = 2;
const FIRST_DELAY: Nanos = Nanos::from_ns(100_000_000);
const LONGEST_DELAY: Nanos = Nanos::from_ns(2_000_000_000);

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng, rngs::SmallRng};

    use super::*;

    const fn ms(ms: u64) -> Timestamp {
        Timestamp::from_ns(1_000_000_000 + ms * 1_000_000)
    }

    #[test]
    fn three_timeouts_in_a_row_open_it() {
        let mut breaker = Breaker::CLOSED;
        breaker.sent(ms(0));
        assert!(!breaker.timed_out(ms(10), 0));
        breaker.replied(ms(11), 0);
        for (at, opens) in [(12, false), (13, false), (14, true)] {
            breaker.sent(ms(at - 1));
            assert_eq!(breaker.timed_out(ms(at), 0), opens, "at {at} ms");
        }
        assert!(!breaker.is_closed() && breaker.is_connection_suspect());
    }

    #[test]
    fn silence_opens_it_after_50_ms() {
        let mut breaker = Breaker::CLOSED;
        breaker.sent(ms(0));
        assert!(!breaker.timed_out(ms(49), 0));
        assert!(breaker.timed_out(ms(50), 0));
    }

    #[test]
    fn two_good_probes_close_it() {
        let mut breaker = Breaker::CLOSED;
        assert!(breaker.failed(ms(0), 0));
        assert_eq!((breaker.permit(ms(99)), breaker.next_probe()), (Permission::Nothing, Some(ms(100))));
        assert_eq!((breaker.permit(ms(100)), breaker.permit(ms(100))), (Permission::Probe, Permission::Nothing));
        assert!(!breaker.replied(ms(101), u32::MAX));
        assert_eq!(breaker.next_probe(), Some(ms(201)));
        assert_eq!(breaker.permit(ms(201)), Permission::Probe);
        assert!(breaker.replied(ms(202), 0) && breaker.is_closed());
    }

    #[test]
    fn after_each_relapse_the_first_probe_waits_for_longer() {
        let (mut breaker, mut at) = (Breaker::CLOSED, ms(0));
        for expected in [100, 200, 400, 800, 1_600, 2_000, 2_000] {
            assert!(breaker.failed(at, u32::MAX));
            let probe = breaker.next_probe().unwrap();
            assert_eq!(probe, at.plus(Nanos::from_ns(expected * 1_000_000)));
            assert_eq!(breaker.has_relapsed(), expected > 100);
            breaker.permit(probe);
            assert!(!breaker.replied(probe, 0));
            at = breaker.next_probe().unwrap();
            breaker.permit(at);
            assert!(breaker.replied(at, 0));
        }
        // It has served for long enough.
        at = at.plus(LONGEST_DELAY);
        assert!(breaker.is_steady(at) && breaker.failed(at, u32::MAX) && !breaker.has_relapsed());
        assert_eq!(breaker.next_probe(), Some(at.plus(FIRST_DELAY)));
    }

    #[test]
    fn late_replies_and_late_failures_of_an_open_breaker_change_nothing() {
        let mut breaker = Breaker::CLOSED;
        breaker.failed(ms(0), 0);
        let before = breaker;
        assert!(!breaker.replied(ms(5), 0) && !breaker.failed(ms(6), 0));
        assert_eq!(breaker, before);
    }

    #[test]
    fn probes_are_at_least_100_ms_and_at_most_2_s_apart() {
        let seed = 14;
        let mut random = SmallRng::seed_from_u64(seed);
        let (mut breaker, mut last, mut longest) = (Breaker::CLOSED, ms(0), Nanos::ZERO);
        breaker.failed(last, 0);
        for _ in 0..1_000 {
            let at = breaker.next_probe().unwrap();
            let waited = at.since(last);
            assert!((100_000_000..=2_000_000_000).contains(&waited.as_ns()), "{waited} with seed {seed}");
            assert_eq!(breaker.permit(at), Permission::Probe);
            breaker.failed(at, random.random());
            (last, longest) = (at, longest.max(waited));
        }
        assert!(longest > Nanos::from_ns(1_900_000_000), "{longest} with seed {seed}");
    }
}
