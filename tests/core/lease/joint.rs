//! Several counters in one check: all are charged in memory, or none.

use smallvec::SmallVec;
use tidegate::engine::{CountDenied, Limit};
use tidegate::store::lease::{
    Answer, Ask, Attempt, Central, Charging, Lease, Link, Now, Slot, Terms, charge, charge_groups,
};
use tidegate::store::{Group, Role};
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
            left.push(central.answer(terms, &Ask { window, ..Ask::default() }, NOW.engine).left);
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

#[test]
fn groups_are_charged_by_their_roles() {
    let (required, quota, observed) = (Role::Required, Role::Quota, Role::Observed);
    // Of each counter what is left of it, its role, and what is left after a check of one hit.
    for (counters, expected, after) in [
        (vec![(2, required), (3, required)], true, vec![1, 2]),
        (vec![(2, required), (0, required)], false, vec![2, 0]),
        (vec![(2, required), (0, observed), (3, observed)], true, vec![1, 0, 2]),
        (vec![(0, required), (3, observed)], false, vec![0, 3]),
        (vec![(0, quota), (3, quota)], true, vec![0, 2]),
        (vec![(0, quota), (0, quota), (3, required)], false, vec![0, 0, 3]),
    ] {
        let limits: Vec<_> = counters.iter().map(|_| never(100)).collect();
        let mut terms: Vec<_> = limits.iter().map(|limit| Terms::new(limit, 2).unwrap()).collect();
        let mut leases: Vec<_> = counters.iter().map(|_| Lease::new()).collect();
        for ((lease, terms), (left, _)) in leases.iter_mut().zip(&mut terms).zip(&counters) {
            let window = (NOW.engine.as_ns() / terms.limit().window.as_ns() + 1) * terms.window_us();
            let lasts = terms.limit().window;
            // An empty one is known to be so.
            let ask = Ask { asked_at: NOW.local, waiting: 1, window, ..Ask::default() };
            let answer = Answer { lease: *left, lasts, window, wait: lasts, ..Answer::default() };
            lease.answered(terms, &ask, &answer, NOW);
        }
        let parts = leases.iter_mut().zip(&terms);
        let slot = |(lease, terms)| Slot { lease, terms, hits: 1, link: Link::Up, attempt: Attempt::First };
        let mut slots: Vec<_> = parts.map(slot).collect();
        let groups: Vec<_> = counters.iter().map(|(_, role)| Group { role: *role, charges: 1 }).collect();
        let charging = charge_groups(&groups, &mut slots, NOW, &mut SmallVec::new());
        assert_eq!(charging == Charging::Charged, expected, "{counters:?}");
        let held: Vec<_> = leases.iter().map(Lease::held).collect();
        assert_eq!(held, after, "{counters:?}");
    }
}
