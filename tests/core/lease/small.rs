//! Small limits that are busy: what a burst on one replica keeps from the others, and for how long.

use tidegate::store::lease::{Ask, Attempt, Central, Charging, Lease, Link, Now, Slot, Terms, Wish, charge};
use tidegate::units::Timestamp;

use super::{CLOCK, limit};

/// So many milliseconds after the begin of a window.
fn at(ms: u64) -> Now {
    let at = Timestamp::from_ns((1_800_000_000_000 + ms) * 1_000_000);
    Now { local: at, engine: at }
}

struct Replica {
    terms: Terms,
    lease: Lease,
}

impl Replica {
    fn says(&mut self, central: &mut Central, now: Now) {
        while let Some(ask) = self.lease.ask(&self.terms, now) {
            let answer = central.answer(&self.terms, &ask, now.engine);
            self.lease.answered(&self.terms, &ask, &answer, now);
            self.lease.settle(&self.terms, now);
        }
    }

    /// One check, with all that is asked for it.
    fn is_admitted(&mut self, central: &mut Central, now: Now) -> bool {
        let mut attempt = Attempt::First;
        for _ in 0..2 {
            let Self { lease, terms } = self;
            let mut slots = [Slot { lease, terms, hits: 1, link: Link::Up, attempt }];
            let charging = charge(&mut slots, now);
            attempt = slots[0].attempt;
            if charging != Charging::Missing {
                self.lease.settle(&self.terms, now);
                self.says(central, now);
                return charging == Charging::Charged;
            }
            let ask = self.lease.ask(&self.terms, now).unwrap();
            let answer = central.answer(&self.terms, &ask, now.engine);
            self.lease.answered(&self.terms, &ask, &answer, now);
        }
        panic!("it is not decided after the answer");
    }
}

/// What the engine could still grant.
fn left(central: &mut Central, terms: &Terms, now: Now) -> i64 {
    let window = (now.engine.as_ns() / terms.limit().window.as_ns() + 1) * terms.window_us();
    central.answer(terms, &Ask { window, ..Ask::default() }, now.engine).left
}

#[test]
fn a_burst_keeps_a_small_limit_for_half_of_the_shorter_horizon() {
    // Seconds of the window, replicas that are heard of, the fewest that are left for others during the burst, and for how long.
    for (seconds, replicas, fewest, within_ms) in
        [(60, 1, 3, 3_750), (60, 3, 7, 3_750), (2, 1, 3, 125), (600, 1, 3, 5_000)]
    {
        let terms = Terms::new(&limit(30, seconds * 1_000, CLOCK), replicas).unwrap();
        let (mut central, mut replica) = (Central::new(), Replica { terms, lease: Lease::new() });
        let admitted = (0..15).filter(|ms| replica.is_admitted(&mut central, at(100 + ms))).count();
        assert_eq!(admitted, 15);
        let during = left(&mut central, &terms, at(115));
        let held = i64::try_from(replica.lease.held()).unwrap();
        assert_eq!(during, fewest, "{seconds} s, {replicas} replicas: {during} left, {held} in hand");
        assert!(held > 0 && during + held == 15, "{during} left, {held} in hand");
        // No check comes any more.
        let mut ms = 115;
        while replica.lease.held() > 0 {
            ms += 50;
            if replica.lease.tick(&terms, at(ms)) != Wish::Nothing {
                replica.says(&mut central, at(ms));
            }
            assert!(ms < 115 + within_ms + 100, "{seconds} s: still {} in hand", replica.lease.held());
        }
        assert_eq!(left(&mut central, &terms, at(ms)), 15, "{seconds} s, {replicas} replicas: after {ms} ms");
    }
}
