//! All interleavings of two or three threads over one lease, by loom: checks, the engine's answers, returns, the end of the lease
//! and a reload, each under the lock of its shard.

use loom::sync::{Arc, Mutex};
use loom::thread;

use super::{Answer, Ask, Attempt, Central, Charging, Lease, Link, Now, Slot, Terms, charge};
use crate::engine::{Algorithm, CountDenied, Limit, Starts};
use crate::units::{Nanos, Timestamp};

/// One counter in one replica, and on the engine. Their locks are never held together.
struct World {
    lease: Mutex<Lease>,
    central: Mutex<Central>,
    terms: Terms,
}

const ALLOWED: u32 = 3;
const AT: u64 = 1_700_000_000_000_000_000;

fn now(ms: u64) -> Now {
    let at = Timestamp::from_ns(AT + ms * 1_000_000);
    Now { local: at, engine: at }
}

impl World {
    /// A counter of which one hit is in hand.
    fn with_a_lease() -> Arc<Self> {
        let world = Self::with_nothing(Starts::FirstRequest);
        assert!(matches!(world.check(Attempt::First, 0), Outcome::Waits(_)));
        let ask = world.ask(0).unwrap();
        let answer = world.grant(&ask, 0);
        world.answered(&ask, &answer, 0);
        world.settle(0);
        assert_eq!(world.lease.lock().unwrap().held(), 1);
        Arc::new(world)
    }

    fn with_nothing(starts: Starts) -> Self {
        let limit = Limit {
            max: ALLOWED,
            window: Nanos::from_secs(60),
            algorithm: Algorithm::FixedWindow { starts },
            ban: None,
            count_denied: CountDenied::Never,
        };
        let terms = Terms::new(&limit, 2).unwrap();
        Self { lease: Mutex::new(Lease::new()), central: Mutex::new(Central::new()), terms }
    }

    fn check(&self, attempt: Attempt, ms: u64) -> Outcome {
        let mut lease = self.lease.lock().unwrap();
        let mut slots = [Slot { lease: &mut lease, terms: &self.terms, hits: 1, link: Link::Up, attempt }];
        let charging = charge(&mut slots, now(ms));
        let attempt = slots[0].attempt;
        match charging {
            Charging::Charged if lease.outcome(&self.terms, 1, now(ms), attempt, true).reset == Nanos::from_ns(1) => {
                Outcome::AdmittedBefore
            }
            Charging::Charged => Outcome::Admitted,
            Charging::Denied { .. } => Outcome::Denied,
            Charging::Missing => Outcome::Waits(attempt),
        }
    }

    fn ask(&self, ms: u64) -> Option<Ask> {
        self.lease.lock().unwrap().ask(&self.terms, now(ms))
    }

    fn grant(&self, ask: &Ask, ms: u64) -> Answer {
        self.central.lock().unwrap().answer(&self.terms, ask, now(ms).engine)
    }

    fn answered(&self, ask: &Ask, answer: &Answer, ms: u64) {
        self.lease.lock().unwrap().answered(&self.terms, ask, answer, now(ms));
    }

    fn settle(&self, ms: u64) {
        self.lease.lock().unwrap().settle(&self.terms, now(ms));
    }

    /// What a worker does with one check: it asks once if it has to, and is decided after the answer.
    fn serve(&self, ms: u64) -> u64 {
        let mut outcome = self.check(Attempt::First, ms);
        for _ in 0..2 {
            let Outcome::Waits(attempt) = outcome else { break };
            if let Some(ask) = self.ask(ms) {
                let answer = self.grant(&ask, ms);
                self.answered(&ask, &answer, ms);
            }
            outcome = self.check(attempt, ms);
        }
        u64::from(outcome == Outcome::Admitted)
    }

    /// What the engine would still grant, and what is in hand.
    fn left(&self, ms: u64) -> u64 {
        let (length, at) = (self.terms.window_us(), now(ms).engine.as_ns() / 1_000);
        let look = Ask { waiting: u64::from(ALLOWED), least: 1, window: (at / length + 1) * length, ..Ask::default() };
        let central = self.grant(&look, ms).at_once;
        let mut lease = self.lease.lock().unwrap();
        lease.settle(&self.terms, now(ms));
        central + lease.held()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Admitted,
    /// By a hit of a window that has ended.
    AdmittedBefore,
    Denied,
    Waits(Attempt),
}

#[test]
fn checks_that_share_a_lease_never_spend_a_hit_twice() {
    loom::model(|| {
        let world = World::with_a_lease();
        let others: Vec<_> = (0..2)
            .map(|_| {
                let world = Arc::clone(&world);
                thread::spawn(move || world.serve(1))
            })
            .collect();
        let admitted: u64 = others.into_iter().map(|other| other.join().unwrap()).sum();
        // A check may be left waiting for the request of the other one, which a server decides with the next answer.
        assert!(admitted >= 1);
        assert_eq!(admitted + world.left(1), u64::from(ALLOWED), "what is not admitted is left");
    });
}

#[test]
fn what_goes_back_is_not_spent() {
    loom::model(|| {
        let world = World::with_a_lease();
        let other = Arc::clone(&world);
        // A reload lowers the limit, or the process is drained: everything in hand goes back.
        let drain = thread::spawn(move || {
            other.lease.lock().unwrap().drain(&other.terms, now(1));
            if let Some(ask) = other.ask(1) {
                let answer = other.grant(&ask, 1);
                other.answered(&ask, &answer, 1);
            }
        });
        let admitted = world.serve(1);
        drain.join().unwrap();
        // What a check has asked for in vain, the drain says with its request or the next one does.
        if let Some(ask) = world.ask(1) {
            let answer = world.grant(&ask, 1);
            world.answered(&ask, &answer, 1);
        }
        assert_eq!(admitted + world.left(1), u64::from(ALLOWED));
    });
}

#[test]
fn a_lost_request_and_the_end_of_a_lease_lose_hits_and_give_none() {
    loom::model(|| {
        let world = World::with_a_lease();
        let other = Arc::clone(&world);
        let request = thread::spawn(move || {
            let Outcome::Waits(_) = other.check(Attempt::First, 2) else { return 1 };
            let Some(ask) = other.ask(2) else { return 0 };
            let answer = other.grant(&ask, 2);
            other.lease.lock().unwrap().lost(&other.terms, &ask);
            other.lease.lock().unwrap().late(&other.terms, &ask, &answer, now(3));
            0
        });
        let here = world.serve(2);
        let there = request.join().unwrap();
        assert!(here + there + world.left(3) <= u64::from(ALLOWED));
        // A minute later nothing of that window can be spent, and a whole new one can.
        world.lease.lock().unwrap().tick(&world.terms, now(61_000));
        assert_eq!(world.lease.lock().unwrap().held(), 0);
        assert_eq!(world.left(61_000), u64::from(ALLOWED));
    });
}

/// Just before and after the end of a window by the clock.
const BEFORE: u64 = 39_990;
const AFTER: u64 = 40_010;

#[test]
fn what_is_granted_in_a_window_is_never_spent_in_the_next() {
    for is_gone in [false, true] {
        loom::model(move || {
            let world = Arc::new(World::with_nothing(Starts::Clock));
            let other = Arc::clone(&world);
            // A check asks in one window and hears of it in the next; its caller may have gone by then.
            let late = thread::spawn(move || {
                let Outcome::Waits(attempt) = other.check(Attempt::First, BEFORE) else { return 0 };
                let Some(ask) = other.ask(BEFORE) else { return 0 };
                let answer = other.grant(&ask, BEFORE);
                other.answered(&ask, &answer, AFTER);
                u64::from(!is_gone && other.check(attempt, AFTER) == Outcome::AdmittedBefore)
            });
            let here = world.serve(AFTER) + world.serve(AFTER);
            let there = late.join().unwrap();
            assert!(there <= 1);
            // A check may have been granted a hit of the window before, by the request of the other one. It may also be left waiting for that,
            // which a server decides with the next answer.
            assert!(here + world.left(AFTER) <= u64::from(ALLOWED), "{here} admitted here, {there} there");
        });
    }
}

#[test]
fn a_refund_gives_back_what_was_spent_in_its_window_and_no_more() {
    loom::model(|| {
        let world = World::with_a_lease();
        let other = Arc::clone(&world);
        let refund = thread::spawn(move || other.lease.lock().unwrap().refund(&other.terms, 1, now(1)));
        let admitted = world.serve(1);
        let dropped = refund.join().unwrap();
        // The next request says what goes back.
        if let Some(ask) = world.ask(1) {
            let answer = world.grant(&ask, 1);
            world.answered(&ask, &answer, 1);
        }
        assert_eq!(
            admitted + world.left(1),
            u64::from(ALLOWED) + (1 - dropped),
            "one is spent twice only if it was given back"
        );
    });
}
