//! All orders of what threads do with the leases of a process, by loom: checks, the engine's answers, returns, the end of a window and a
//! reload.
//!
//! The code that serves is used as it is, with its own locks. Each operation is one critical section of its shard, apart from the end of a
//! ticket, which is an operation of its own; so a lock of loom around each of them has loom go through all of their orders.

use std::task::{Context, Waker};

use loom::sync::{Arc, Mutex};
use loom::thread;

use super::{Charger, Host, LeaseAsk, LeaseKey, LeasePart, Leases, Ticket};
use crate::engine::{Algorithm, CountDenied, Limit, Op, Outcome, Reason, Starts, Verdict};
use crate::store::Fingerprint;
use crate::store::lease::{Answer, Ask, Central, Charging, Link, Now, Terms};
use crate::units::{Nanos, Timestamp};

/// One counter: its lease here, and what the engine has of it.
struct World {
    leases: std::sync::Arc<Leases>,
    central: Mutex<Central>,
    /// Held during each operation on the leases.
    step: Mutex<()>,
}

const ALLOWED: u32 = 3;
const AT: u64 = 1_700_000_000_000_000_000;
const KEY: &[u8] = b"\x07\0\0\0\x01a";

fn now(ms: u64) -> Now {
    let at = Timestamp::from_ns(AT + ms * 1_000_000);
    Now { local: at, engine: at }
}

fn limit(max: u32) -> Limit {
    Limit {
        max,
        window: Nanos::from_secs(60),
        algorithm: Algorithm::FixedWindow { starts: Starts::FirstRequest },
        ban: None,
        count_denied: CountDenied::Never,
    }
}

fn terms(max: u32) -> Terms {
    Terms::new(&limit(max), 2).unwrap()
}

struct Roomy;

impl Host for Roomy {
    fn has_room(&self) -> bool {
        true
    }

    fn exhausted(&self, _: &Limit, _: Op) -> Outcome {
        Outcome { verdict: Verdict::Denied(Reason::NoRoom), before: 0, after: 0, remaining: 0, reset: Nanos::ZERO }
    }

    fn ban_of(&self, _: &Limit, _: &[u8]) -> Option<Timestamp> {
        None
    }
}

impl World {
    /// A counter that nobody has asked for.
    fn without_a_lease() -> Self {
        let (leases, central, step) = (std::sync::Arc::new(Leases::new()), Mutex::new(Central::new()), Mutex::new(()));
        Self { leases, central, step }
    }

    /// A counter of which one hit is in hand.
    fn with_a_lease() -> Arc<Self> {
        let world = Self::without_a_lease();
        let (charging, ticket) = world.charge(None, 0);
        assert_eq!(charging, Charging::Missing);
        let ask = world.ask(0).unwrap();
        let answer = world.grant(&ask, 0);
        world.answered(&ask, &answer, 0);
        // The check is gone: what was granted to it stays.
        world.end(ticket);
        assert_eq!(world.held(0), 1);
        Arc::new(world)
    }

    fn charge(&self, ticket: Option<Ticket>, ms: u64) -> (Charging, Option<Ticket>) {
        let _step = self.step.lock().unwrap();
        let key = LeaseKey::new(KEY, &limit(ALLOWED));
        let part = LeasePart::new(key.as_bytes(), Fingerprint::OVERRIDE, terms(ALLOWED), Op::Charge(1), Link::Up);
        let mut part = LeasePart { ticket, ..part };
        let names = |_: &[u8], _: Fingerprint, _: Option<&str>| "name".into();
        let charger = Charger { leases: &self.leases, host: &Roomy, names: &names, now: now(ms) };
        (charger.charge(&[], std::slice::from_mut(&mut part)), part.ticket)
    }

    fn ask(&self, ms: u64) -> Option<LeaseAsk> {
        let _step = self.step.lock().unwrap();
        self.leases.ask(KEY, now(ms))
    }

    fn grant(&self, ask: &LeaseAsk, ms: u64) -> Answer {
        self.central.lock().unwrap().answer(&ask.terms, &ask.ask, now(ms).engine)
    }

    fn answered(&self, ask: &LeaseAsk, answer: &Answer, ms: u64) {
        let _step = self.step.lock().unwrap();
        self.leases.answered(ask, answer, now(ms));
        self.leases.change(KEY, |cell| {
            let is_of_another = cell.terms.limit() != ask.terms.limit();
            assert!(!is_of_another || cell.lease.held() == 0, "what another limit has granted goes back");
        });
    }

    /// Whether the request that a check waits for has ended.
    fn has_heard(&self, ticket: &mut Option<Ticket>) -> bool {
        let _step = self.step.lock().unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        ticket.as_mut().is_some_and(|ticket| ticket.poll_hear(&mut cx).is_ready())
    }

    fn end(&self, ticket: Option<Ticket>) {
        let _step = self.step.lock().unwrap();
        drop(ticket);
    }

    /// What the next request says, if there is anything to say.
    fn exchange(&self, ms: u64) {
        if let Some(ask) = self.ask(ms) {
            let answer = self.grant(&ask, ms);
            self.answered(&ask, &answer, ms);
        }
    }

    /// What a worker does with one check. One that waits for the request of another thread is given up: its caller has gone.
    fn serve(&self, ms: u64) -> u64 {
        let (mut charging, mut ticket) = self.charge(None, ms);
        while charging == Charging::Missing {
            self.exchange(ms);
            if !self.has_heard(&mut ticket) {
                break;
            }
            (charging, ticket) = self.charge(ticket, ms);
        }
        self.end(ticket);
        u64::from(charging == Charging::Charged)
    }

    fn held(&self, ms: u64) -> u64 {
        let mut held = 0;
        self.leases.change(KEY, |cell| {
            cell.settle(now(ms));
            held = cell.lease.held();
        });
        held
    }

    /// What the engine would still grant, and what is in hand.
    fn left(&self, ms: u64) -> u64 {
        let look = Ask { waiting: u64::from(ALLOWED), least: 1, ..Ask::default() };
        self.central.lock().unwrap().answer(&terms(ALLOWED), &look, now(ms).engine).at_once + self.held(ms)
    }
}

#[test]
fn checks_that_share_a_lease_never_spend_a_hit_twice() {
    loom::model(|| {
        let world = World::with_a_lease();
        let other = Arc::clone(&world);
        let there = thread::spawn(move || other.serve(1));
        let here = world.serve(1);
        let admitted = here + there.join().unwrap();
        world.exchange(1);
        assert!(admitted >= 1);
        assert_eq!(admitted + world.left(1), u64::from(ALLOWED), "what is not admitted is left");
    });
}

#[test]
fn a_reload_spends_no_hit_of_the_limit_before() {
    loom::model(|| {
        let world = World::with_a_lease();
        let other = Arc::clone(&world);
        // The limit is lowered, and what is in hand goes back.
        let reload = thread::spawn(move || {
            {
                let _step = other.step.lock().unwrap();
                other.leases.follow(now(1), |_| Some(limit(ALLOWED - 1)));
                assert_eq!(other.held(1), 0, "the limit before has granted it");
            }
            other.exchange(1);
        });
        let admitted = world.serve(1);
        reload.join().unwrap();
        // Checks that began before go on with the limit before, so it may take two more requests until everything has gone back.
        for _ in 0..2 {
            world.leases.change(KEY, |cell| cell.lease.drain(&cell.terms, now(1)));
            world.exchange(1);
        }
        assert_eq!(world.held(1), 0);
        assert_eq!(admitted + world.left(1), u64::from(ALLOWED));
    });
}

#[test]
fn what_is_on_its_way_when_the_limit_changes_goes_back() {
    for is_late in [false, true] {
        loom::model(move || {
            let world = Arc::new(World::without_a_lease());
            let other = Arc::clone(&world);
            let reload = thread::spawn(move || {
                let _step = other.step.lock().unwrap();
                other.leases.follow(now(1), |_| Some(limit(ALLOWED - 1)));
            });
            let (_, ticket) = world.charge(None, 1);
            let ask = world.ask(1).unwrap();
            let answer = world.grant(&ask, 1);
            if is_late {
                let _step = world.step.lock().unwrap();
                world.leases.lost(&ask, now(1));
                world.leases.late(&ask, &answer, now(1));
            } else {
                world.answered(&ask, &answer, 1);
            }
            // The check is gone: what was granted to it would stay.
            world.end(ticket);
            reload.join().unwrap();
            world.leases.change(KEY, |cell| {
                let is_of_another = cell.terms.limit() != ask.terms.limit();
                assert!(!is_of_another || cell.lease.held() == 0, "the limit before has granted it");
            });
            world.exchange(1);
            assert_eq!(world.left(1), u64::from(ALLOWED), "it went back");
        });
    }
}

#[test]
fn a_lost_request_and_the_end_of_a_window_give_no_hit() {
    loom::model(|| {
        let world = World::with_a_lease();
        let other = Arc::clone(&world);
        let request = thread::spawn(move || {
            let (charging, ticket) = other.charge(None, 2);
            if let (Charging::Missing, Some(ask)) = (charging, other.ask(2)) {
                let answer = other.grant(&ask, 2);
                {
                    let _step = other.step.lock().unwrap();
                    other.leases.lost(&ask, now(2));
                }
                let _step = other.step.lock().unwrap();
                other.leases.late(&ask, &answer, now(3));
            }
            other.end(ticket);
            u64::from(charging == Charging::Charged)
        });
        let here = world.serve(2);
        let there = request.join().unwrap();
        assert!(here + there + world.left(3) <= u64::from(ALLOWED));
        // A minute later nothing of that window can be spent, and a whole new one can.
        for stripe in 0..world.leases.stripes() {
            world.leases.tick(stripe, now(61_000), |_, _| ());
        }
        assert_eq!(world.held(61_000), 0);
        assert_eq!(world.left(61_000), u64::from(ALLOWED));
    });
}
