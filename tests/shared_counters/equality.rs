//! Exact counting against the engine in memory: the same trace, the same instants, decision by decision.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng};
use tidegate::calendar::{Calendar, CalendarUnit, Weekday};
use tidegate::engine::{Algorithm, Ban, BanWhen, CountDenied, Limit, Op, Outcome, Queue, QueueMode, Starts};
use tidegate::engine_link::{
    CheckOutcome, Connection, ExactBatch, KeyPrefix, LinkError, Login, NodeAddress, PlainBatch, Remedy, SharedCharge,
    SharedKey, SharedOutcome,
};
use tidegate::store::{Charge, Charged, Fingerprint, Group, Memory, Role, WhenFull};
use tidegate::units::{Nanos, Timestamp};

use crate::engines::{Engine, Kind};

/// A connection, and one that sends the script where it is not known.
pub(crate) struct Link(Connection);

impl Link {
    pub(crate) async fn open(engine: &Engine) -> Self {
        let address = NodeAddress::Tcp(engine.address());
        Self(Connection::open(&address, &Login::default(), WITHIN).await.unwrap())
    }

    async fn charge_plain(&self, batch: &PlainBatch) -> Vec<Option<Outcome>> {
        outcomes(batch.read(&self.0.pipeline(batch.pipeline(), WITHIN, drop).await.unwrap()))
    }

    pub(crate) async fn charge(&self, batch: &ExactBatch) -> Vec<CheckOutcome> {
        let mut reply = self.0.ask(batch.command(), WITHIN).await;
        if reply.as_ref().is_err_and(|error: &LinkError| error.remedy() == Remedy::SendScript) {
            reply = self.0.ask(batch.command_with_script(), WITHIN).await;
        }
        let reply = reply.unwrap_or_else(|error| panic!("{error}"));
        batch.read(&reply).unwrap().checks
    }
}

/// The outcomes, and whether the check is admitted.
type Found = (bool, Vec<Option<Outcome>>);

fn outcomes(counters: Vec<Option<SharedOutcome>>) -> Vec<Option<Outcome>> {
    counters.into_iter().map(|counter| counter.map(|known| known.outcome)).collect()
}

fn found(checks: Vec<CheckOutcome>) -> Found {
    let [CheckOutcome { admitted, counters }] = <[CheckOutcome; 1]>::try_from(checks).unwrap();
    (admitted, outcomes(counters.into_vec()))
}

/// A trace of checks of three counters, each with a limit of its own.
struct Trace {
    random: SmallRng,
    seed: u64,
    limits: [Limit; 3],
    now: u64,
}

impl Trace {
    fn new(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let limits = [(); 3].map(|()| any_limit(&mut random));
        // Ahead of every clock, so that no key expires while the trace runs.
        Self { random, seed, limits, now: 2_000_000_000_000_000 }
    }

    /// The next instant, and the charges: of one counter, or of all of them.
    fn step(&mut self) -> (Timestamp, Vec<(usize, Op)>) {
        let window = self.limits[self.random.random_range(0..3)].window.as_ns() / 1_000;
        self.now += match self.random.random_range(0..10) {
            0..4 => 0,
            4..9 => window * self.random.random_range(0..64) / 64 + self.random.random_range(0..2),
            _ => window * self.random.random_range(1..4),
        };
        let hits = match self.random.random_range(0..10) {
            0..6 => 1,
            6..9 => self.random.random_range(0..4),
            _ => self.random.random_range(0..20),
        };
        let is_refund = self.random.random_range(0..8) == 0;
        let op = if is_refund { Op::Refund(hits) } else { Op::Charge(hits) };
        let charges = match self.random.random_range(0..5) {
            0 => vec![(0, op), (1, op), (2, op)],
            1 => vec![(2, op), (0, op)],
            _ => vec![(self.random.random_range(0..3), op)],
        };
        (Timestamp::from_ns(self.now * 1_000), charges)
    }
}

fn any_limit(random: &mut SmallRng) -> Limit {
    let window_us = match random.random_range(0..3) {
        0 => 10_000 + random.random_range(0..50),
        1 => 7_000_000,
        // A year: the products of these numbers are beyond 2^53.
        _ => 31_536_000_000_000 + random.random_range(0..1_000),
    };
    let mut max = random.random_range(0..12);
    let window = Nanos::from_ns(window_us * 1_000);
    let algorithm = match random.random_range(0..6) {
        0 => Algorithm::FixedWindow { starts: Starts::Clock },
        1 => Algorithm::FixedWindow { starts: Starts::FirstRequest },
        2 => Algorithm::SlidingWindow,
        3 => Algorithm::SlidingLog,
        4 => Algorithm::FixedWindow { starts: Starts::Calendar(any_calendar(random)) },
        _ => {
            if random.random_range(0..4) == 0 {
                max = 3_000_000_000 + random.random_range(0..1_000);
            }
            let mode = match random.random_range(0..3) {
                0 => QueueMode::Hold,
                1 => QueueMode::Advise,
                _ => QueueMode::HoldAtMost(Nanos::from_ns(random.random_range(0..window_us) * 1_000)),
            };
            let size = if random.random_range(0..2) == 0 { 0 } else { random.random_range(0..6) };
            Algorithm::TokenBucket { burst: random.random_range(1..12), queue: Queue { size, mode } }
        }
    };
    let mut count_denied = [CountDenied::Never, CountDenied::Alone, CountDenied::Always][random.random_range(0..3)];
    if algorithm == Algorithm::SlidingLog {
        // The log in memory merges hits that are older than `max` newer instants, the list on the engine does not.
        count_denied = CountDenied::Never;
    }
    let is_bucket = matches!(algorithm, Algorithm::TokenBucket { .. });
    let ban = (random.random_range(0..3) == 0).then(|| Ban {
        length: Nanos::from_ns((10_000 + random.random_range(0..window_us * 2)) * 1_000),
        when: if is_bucket || random.random_range(0..2) == 0 { BanWhen::Exceeded } else { BanWhen::Reached },
    });
    let limit = Limit { max, window, algorithm, ban, count_denied };
    let window = limit.calendar().map_or(window, |calendar| calendar.unit().usual_length());
    Limit { window, ..limit }
}

/// Days and months, of zones that set their clocks.
pub(crate) fn any_calendar(random: &mut SmallRng) -> &'static Calendar {
    let unit = [CalendarUnit::Day, CalendarUnit::Month][random.random_range(0..2)];
    let zone = ["Europe/Berlin", "Africa/Cairo", "UTC"][random.random_range(0..3)];
    Calendar::of(unit, zone, Weekday::Monday).unwrap()
}

/// What the store in memory decides.
fn in_memory(memory: &Memory, limits: &[Limit; 3], now: Timestamp, charges: &[(usize, Op)]) -> (bool, Vec<Outcome>) {
    let keys = [[0, 0, 0, 1], [0, 0, 0, 2], [0, 0, 0, 3]];
    let make = |&(place, op): &(usize, Op)| Charge { limit: &limits[place], key: &keys[place], op };
    let all: Vec<_> = charges.iter().map(make).collect();
    if let [only] = &all[..] {
        let outcome = memory.charge(now, only).outcome;
        return (outcome.admitted(), vec![outcome]);
    }
    let mut answers = Vec::new();
    let admitted = memory.charge_all(now, &all, &mut answers);
    (admitted, answers.into_iter().map(|answer: Charged| answer.outcome).collect())
}

fn on_engine(keys: &[SharedKey; 3], limits: &[Limit; 3], now: Timestamp, charges: &[(usize, Op)]) -> ExactBatch {
    let mut batch = ExactBatch::at(now);
    let charge = |&(place, op): &(usize, Op)| SharedCharge { key: &keys[place], limit: &limits[place], op };
    let charges: Vec<_> = charges.iter().map(charge).collect();
    match &charges[..] {
        [only] => batch.add(*only).unwrap(),
        several => batch.add_jointly(several).unwrap(),
    }
    batch
}

pub(crate) fn keys(name: &[u8]) -> [SharedKey; 3] {
    let print = |n| Fingerprint::from_bytes([n; 16]);
    [1, 2, 3].map(|n| SharedKey::new(&KeyPrefix::default(), print(0), print(n), name))
}

#[tokio::test]
async fn exact_decides_as_the_engine_in_memory() {
    for kind in Kind::installed() {
        let engine = Engine::start(kind);
        let link = Link::open(&engine).await;
        let mut denials = 0;
        for seed in 0..TRACES {
            let mut trace = Trace::new(seed);
            let memory = Memory::new(1 << 20, WhenFull::Deny);
            let keys = keys(&seed.to_le_bytes());
            for number in 0..STEPS {
                let (now, charges) = trace.step();
                let (admitted, outcomes) = in_memory(&memory, &trace.limits, now, &charges);
                let found = found(link.charge(&on_engine(&keys, &trace.limits, now, &charges)).await);
                let expected = (admitted, outcomes.into_iter().map(Some).collect());
                let of: Vec<_> = charges.iter().map(|(place, _)| trace.limits[*place]).collect();
                assert_eq!(
                    found, expected,
                    "{kind:?}, seed {}, step {number} at {now:?}: {charges:?} of {of:#?}",
                    trace.seed
                );
                denials += u32::from(!admitted);
            }
        }
        assert!(denials > 1_000, "the traces reach their limits: {denials}");
    }
}

#[tokio::test]
async fn plain_windows_decide_as_the_engine_in_memory() {
    for kind in Kind::installed() {
        let engine = Engine::start(kind);
        let link = Link::open(&engine).await;
        for seed in 0..TRACES {
            let mut random = SmallRng::seed_from_u64(seed);
            let count_denied = CountDenied::Alone;
            let (starts, window) = if random.random_range(0..3) == 0 {
                let calendar = any_calendar(&mut random);
                (Starts::Calendar(calendar), calendar.unit().usual_length())
            } else {
                (Starts::Clock, Nanos::from_ns(random.random_range(10_000..7_000_000) * 1_000))
            };
            let algorithm = Algorithm::FixedWindow { starts };
            let limit = Limit { max: random.random_range(0..12), window, algorithm, ban: None, count_denied };
            let (memory, limits, keys) = (Memory::new(1 << 20, WhenFull::Deny), [limit; 3], keys(&seed.to_be_bytes()));
            let (mut micros, mut known) = (2_000_000_000_000_000 + seed, None);
            for number in 0..STEPS {
                micros += random.random_range(0..window.as_ns() / 1_000 / 4);
                let now = Timestamp::from_ns(micros * 1_000);
                let charges = [(0, Op::Charge(random.random_range(1..4)))];
                let (admitted, outcomes) = in_memory(&memory, &limits, now, &charges);
                let outcome = Some(outcomes[0]);
                let at = PlainBatch::window_of(&limit, now);
                if known == at {
                    assert!(PlainBatch::takes(&limit, charges[0].1));
                    let mut batch = PlainBatch::new(now);
                    batch.add(SharedCharge { key: &keys[0], limit: &limit, op: charges[0].1 }).unwrap();
                    assert_eq!(link.charge_plain(&batch).await, [outcome], "{kind:?}, seed {seed}, step {number}");
                } else {
                    let found = found(link.charge(&on_engine(&keys, &limits, now, &charges)).await);
                    assert_eq!(found, (admitted, vec![outcome]), "{kind:?}, seed {seed}, step {number}");
                    known = at;
                }
            }
        }
    }
}

/// Groups of every role, over the same counters too.
#[tokio::test]
async fn groups_decide_as_the_store_in_memory() {
    for kind in Kind::installed() {
        let engine = Engine::start(kind);
        let link = Link::open(&engine).await;
        let mut decided = [0; 2];
        for seed in 0..TRACES {
            let mut trace = Trace::new(seed);
            let memory = Memory::new(1 << 20, WhenFull::Deny);
            let keys = keys(&[b"groups", &seed.to_le_bytes()[..]].concat());
            for number in 0..STEPS {
                let (now, _) = trace.step();
                let (groups, charges) = any_groups(&mut trace.random);
                let memory_keys = [[0, 0, 0, 1], [0, 0, 0, 2], [0, 0, 0, 3]];
                let make =
                    |&(place, op): &(usize, Op)| Charge { limit: &trace.limits[place], key: &memory_keys[place], op };
                let all: Vec<_> = charges.iter().map(make).collect();
                let mut answers = Vec::new();
                let admitted = memory.charge_groups(now, &groups, &all, &mut answers);
                let charge =
                    |&(place, op): &(usize, Op)| SharedCharge { key: &keys[place], limit: &trace.limits[place], op };
                let shared: Vec<_> = charges.iter().map(charge).collect();
                let mut batch = ExactBatch::at(now);
                batch.add_groups(&groups, &shared).unwrap();
                let expected: Found = (admitted, answers.into_iter().map(|answer| Some(answer.outcome)).collect());
                let of: Vec<_> = charges.iter().map(|(place, _)| trace.limits[*place]).collect();
                assert_eq!(
                    found(link.charge(&batch).await),
                    expected,
                    "{kind:?}, seed {seed}, step {number} at {now:?}: {groups:?} {charges:?} of {of:#?}"
                );
                decided[usize::from(admitted)] += 1;
            }
        }
        assert!(decided.iter().all(|count| *count > 1_000), "both decisions: {decided:?}");
    }
}

/// Up to three groups; each charges its counters once.
fn any_groups(random: &mut SmallRng) -> (Vec<Group>, Vec<(usize, Op)>) {
    let (mut groups, mut charges) = (Vec::new(), Vec::new());
    for _ in 0..random.random_range(1..4) {
        let role = [Role::Required, Role::Quota, Role::Observed][random.random_range(0..3)];
        let size = random.random_range(0..3);
        let hits = random.random_range(0..4);
        let op = if random.random_range(0..8) == 0 { Op::Refund(hits) } else { Op::Charge(hits) };
        let first = random.random_range(0..3);
        charges.extend((0..size).map(|place| ((first + place) % 3, op)));
        groups.push(Group { role, charges: size });
    }
    if charges.is_empty() {
        groups.push(Group::required(1));
        charges.push((0, Op::Charge(1)));
    }
    (groups, charges)
}

const WITHIN: Duration = Duration::from_secs(30);
const TRACES: u64 = 200;
const STEPS: usize = 60;
