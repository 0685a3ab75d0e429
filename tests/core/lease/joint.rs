//! Several counters in one check: all are charged in memory, or none.

use tidegate::engine::{CountDenied, Limit};
use tidegate::store::lease::{Attempt, Central, Charging, Lease, Link, Now, Slot, Terms, charge};
use tidegate::units::Timestamp;

use super::{CLOCK, limit};

/// Counters of one replica, each on a node of its own.
struct Counters {
    terms: Vec<Terms>,
    central: Vec<Central>,
    leases: Vec<Lease>,
}

const NOW: Now = {
    let at = Timestamp::from_ns(1_800_000_000_000_000_000);
    Now { local: at, engine: at }
};

impl Counters {
    fn new(limits: &[Limit]) -> Self {
        let terms = limits.iter().map(|limit| Terms::new(limit, 2).unwrap()).collect();
        let central = limits.iter().map(|_| Central::new()).collect();
        Self { terms, central, leases: limits.iter().map(|_| Lease::new()).collect() }
    }

    fn check(&mut self, hits: u64) -> bool {
        let mut attempts = vec![Attempt::First; self.leases.len()];
        for _ in 0..3 {
            let parts = self.leases.iter_mut().zip(&self.terms).zip(&attempts);
            let slot = |((lease, terms), attempt): ((_, _), &Attempt)| Slot {
                lease,
                terms,
                hits,
                link: Link::Up,
                attempt: *attempt,
            };
            let mut slots: Vec<_> = parts.map(slot).collect();
            let charging = charge(&mut slots, NOW);
            attempts = slots.iter().map(|slot| slot.attempt).collect();
            self.exchange();
            if charging != Charging::Missing {
                self.leases.iter_mut().zip(&self.terms).for_each(|(lease, terms)| lease.settle(terms, NOW));
                self.exchange();
                return charging == Charging::Charged;
            }
        }
        panic!("it is not decided after the answers");
    }

    fn exchange(&mut self) {
        for ((lease, terms), central) in self.leases.iter_mut().zip(&self.terms).zip(&mut self.central) {
            if let Some(ask) = lease.ask(terms, NOW) {
                let answer = central.answer(terms, &ask, NOW.engine);
                lease.answered(terms, &ask, &answer, NOW);
            }
        }
    }

    /// What another replica could still be granted of each, once everything is back.
    fn left(&mut self) -> Vec<i64> {
        self.leases.iter_mut().zip(&self.terms).for_each(|(lease, terms)| lease.drain(terms, NOW));
        self.exchange();
        let mut left = Vec::new();
        for (terms, central) in self.terms.iter().zip(&mut self.central) {
            let window = (NOW.engine.as_ns() / terms.limit().window.as_ns() + 1) * terms.window_us();
            left.push(
                central.answer(terms, &tidegate::store::lease::Ask { window, ..Default::default() }, NOW.engine).left,
            );
        }
        left
    }
}

fn never(max: u32) -> Limit {
    Limit { count_denied: CountDenied::Never, ..limit(max, 60_000, CLOCK) }
}

#[test]
fn a_denied_check_leaves_nothing_once_leases_are_back() {
    let mut counters = Counters::new(&[never(10), never(4), never(100)]);
    let admitted = (0..12).filter(|_| counters.check(1)).count();
    assert_eq!(admitted, 4);
    assert_eq!(counters.left(), [6, 0, 96]);
    let mut counters = Counters::new(&[never(10), never(4)]);
    assert!(!counters.check(5), "more than one of them allows");
    assert_eq!(counters.left(), [10, 4]);
}

#[test]
fn what_counts_although_denied_is_kept() {
    let always = Limit { count_denied: CountDenied::Always, ..never(10) };
    let mut counters = Counters::new(&[always, never(2)]);
    let admitted = (0..5).filter(|_| counters.check(1)).count();
    assert_eq!(admitted, 2);
    assert_eq!(counters.left(), [5, 0], "each of five checks is counted");
}
