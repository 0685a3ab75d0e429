//! Checks that ask in one window and are answered in the next: they are charged in the first, their answers say so, and they give nothing to the next.

use tidegate::engine::{Algorithm, Outcome};
use tidegate::store::lease::{Attempt, Central, Charging, Lease, Link, Now, Slot, Terms, charge};
use tidegate::units::{Nanos, Timestamp};

use super::{CLOCK, FIRST_REQUEST, limit};

/// A counter of 2 hits per second, in one replica and on the engine.
struct Counter {
    terms: Terms,
    central: Central,
    lease: Lease,
}

/// So many milliseconds after the begin of a window by the clock.
fn at(ms: u64) -> Now {
    let at = Timestamp::from_ns((1_800_000_000_000 + ms) * 1_000_000);
    Now { local: at, engine: at }
}

impl Counter {
    fn new(algorithm: Algorithm) -> Self {
        let terms = Terms::new(&limit(2, 1_000, algorithm), 1).unwrap();
        Self { terms, central: Central::new(), lease: Lease::new() }
    }

    fn charge(&mut self, now: Now, attempt: Attempt) -> (Charging, Attempt) {
        let Self { lease, terms, .. } = self;
        let mut slots = [Slot { lease, terms, hits: 1, link: Link::Up, attempt }];
        let charging = charge(&mut slots, now);
        (charging, slots[0].attempt)
    }

    /// A check that comes, and waits.
    fn waits(&mut self, now: Now) -> Attempt {
        let (charging, attempt) = self.charge(now, Attempt::First);
        assert_eq!(charging, Charging::Missing);
        attempt
    }

    /// Asks at one time, and is answered at another.
    fn exchange(&mut self, asked: Now, answered: Now) {
        let ask = self.lease.ask(&self.terms, asked).unwrap();
        let answer = self.central.answer(&self.terms, &ask, asked.engine);
        self.lease.answered(&self.terms, &ask, &answer, answered);
    }

    fn is_admitted(&mut self, now: Now, attempt: Attempt) -> bool {
        self.charge(now, attempt).0 == Charging::Charged
    }

    fn outcome(&self, now: Now, attempt: Attempt, is_admitted: bool) -> Outcome {
        self.lease.outcome(&self.terms, 1, now, attempt, is_admitted)
    }

    /// Checks that one replica admits from now on, with all that it asks.
    fn admits(&mut self, now: Now) -> usize {
        let mut admitted = 0;
        for _ in 0..5 {
            let (mut charging, attempt) = self.charge(now, Attempt::First);
            if charging == Charging::Missing {
                self.exchange(now, now);
                (charging, _) = self.charge(now, attempt);
                self.lease.settle(&self.terms, now);
            }
            admitted += usize::from(charging == Charging::Charged);
        }
        admitted
    }
}

const WINDOWS: [Algorithm; 3] = [CLOCK, FIRST_REQUEST, Algorithm::SlidingWindow];

#[test]
fn what_is_granted_in_a_window_is_reported_of_that_window() {
    for algorithm in WINDOWS {
        let mut counter = Counter::new(algorithm);
        // The window from the first request begins when it is asked for.
        let (first, second) = (counter.waits(at(0)), counter.waits(at(0)));
        let third = counter.waits(at(0));
        counter.exchange(at(0), at(1_010));
        for attempt in [first, second] {
            assert!(counter.is_admitted(at(1_010), attempt), "{algorithm:?}");
            let Outcome { remaining, reset, .. } = counter.outcome(at(1_010), attempt, true);
            assert_eq!((remaining, reset), (0, Nanos::from_ns(1)), "{algorithm:?}: the window has just ended");
        }
        assert!(!counter.is_admitted(at(1_010), third), "{algorithm:?}: it asked for the third of two hits");
        assert_eq!(counter.outcome(at(1_010), third, false).reset, Nanos::from_ns(1), "{algorithm:?}: at once");
        counter.lease.settle(&counter.terms, at(1_010));
        if algorithm != Algorithm::SlidingWindow {
            assert_eq!(counter.admits(at(1_020)), 2, "{algorithm:?}: the next window");
        }
    }
}

#[test]
fn nothing_of_a_window_is_spent_in_the_next_one() {
    for algorithm in [CLOCK, FIRST_REQUEST] {
        let mut counter = Counter::new(algorithm);
        // One is granted in the first window, and is slow to take it.
        let first = counter.waits(at(0));
        counter.exchange(at(0), at(990));
        // Meanwhile others are answered in the next window.
        let second = counter.waits(at(1_010));
        counter.exchange(at(1_010), at(1_011));
        assert!(counter.is_admitted(at(1_012), second), "{algorithm:?}");
        let reset = counter.outcome(at(1_012), second, true).reset;
        assert!(reset > Nanos::from_ns(900_000_000), "{algorithm:?}: {reset:?}");
        if algorithm == CLOCK {
            // The first one's caller has gone, or another of its counters denies it.
            counter.lease.settle(&counter.terms, at(1_013));
            assert_eq!(counter.lease.take_lapsed(), 1, "{algorithm:?}");
        } else {
            assert!(counter.is_admitted(at(1_013), first), "{algorithm:?}");
            let reset = counter.outcome(at(1_013), first, true).reset;
            assert_eq!(reset, Nanos::from_ns(1), "{algorithm:?}");
            // What was spent in a window that has ended gives nothing back to the next.
            counter.lease.refund(&counter.terms, 1, at(1_014));
            assert_eq!(
                counter.lease.refund(&counter.terms, 1, at(1_014)),
                1,
                "{algorithm:?}: only one is of this window"
            );
            assert_eq!(counter.admits(at(1_015)), 2, "{algorithm:?}: the one that is left, and the refunded one");
            return;
        }
        assert_eq!(counter.admits(at(1_015)), 1, "{algorithm:?}: the other one is spent");
    }
}

#[test]
fn a_lease_is_reported_of_its_window_although_the_clock_of_the_engine_is_known_a_little_wrong() {
    let terms = Terms::new(&limit(100, 1_000, CLOCK), 1).unwrap();
    let mut counter = Counter { terms, ..Counter::new(CLOCK) };
    // The counter is busy, so that a lease is granted.
    let mut ms = 100;
    while counter.lease.held() == 0 {
        (_, ms) = (counter.admits(at(ms)), ms + 1);
        assert!(ms < 120, "{:?}", counter.lease);
    }
    let now = Now { engine: at(1_001).engine, ..at(995) };
    assert!(counter.is_admitted(now, Attempt::First));
    assert_eq!(counter.outcome(now, Attempt::First, true).reset, Nanos::from_ns(1), "not nearly a second");
}
