//! Leases on real engines: the script against its model, step by step, and replicas that share a counter.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng};
use tidegate::engine::{Algorithm, CountDenied, LeaseShape, Limit, Op, Queue, QueueMode, Starts};
use tidegate::engine_link::{
    Connection, ExactBatch, LeaseBatch, LeaseReply, Login, NodeAddress, Remedy, SharedCharge, SharedKey,
};
use tidegate::store::lease::{Answer, Ask, Attempt, Central, Charging, Lease, Link, Now, Slot, Terms, charge};
use tidegate::units::{Nanos, Timestamp};

use crate::engines::{Engine, Kind};
use crate::equality::{any_calendar, keys};

async fn open(engine: &Engine) -> Connection {
    Connection::open(&NodeAddress::Tcp(engine.address()), &Login::default(), WITHIN).await.unwrap()
}

async fn send(connection: &Connection, batch: &LeaseBatch) -> LeaseReply {
    let mut reply = connection.ask(batch.command(), WITHIN).await;
    if reply.as_ref().is_err_and(|error| error.remedy() == Remedy::SendScript) {
        reply = connection.ask(batch.command_with_script(), WITHIN).await;
    }
    batch.read(&reply.unwrap_or_else(|error| panic!("{error}"))).unwrap()
}

/// Requests about three counters, whatever a replica might say.
struct Trace {
    random: SmallRng,
    terms: [Terms; 3],
    answers: [Vec<Answer>; 3],
    now_us: u64,
}

impl Trace {
    fn new(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let terms = [(); 3].map(|()| any_terms(&mut random));
        // Ahead of every clock, so that no key expires while the trace runs.
        Self { random, terms, answers: [(); 3].map(|()| Vec::new()), now_us: 2_000_000_000_000_000 }
    }

    fn advance(&mut self) -> Timestamp {
        let window = self.terms[self.random.random_range(0..3)].window_us();
        match self.random.random_range(0..20) {
            0..8 => {}
            8..18 => self.now_us += window * self.random.random_range(0..32) / 64 + self.random.random_range(0..2),
            18 => self.now_us += window * self.random.random_range(1..4),
            // The clock steps back.
            _ => self.now_us -= self.random.random_range(0..window.min(5_000)),
        }
        Timestamp::from_ns(self.now_us * 1_000)
    }

    fn ask(&mut self, place: usize) -> Ask {
        let terms = self.terms[place];
        let random = &mut self.random;
        let few = |random: &mut SmallRng| if random.random_range(0..3) == 0 { random.random_range(0..9) } else { 0 };
        let waiting = [0, 1, random.random_range(0..5), random.random_range(0..200)][random.random_range(0..4)];
        let now = Timestamp::from_ns(self.now_us * 1_000);
        let end = terms.limit().aligned_end(now).map_or(0, |end| end.as_ns() / 1_000);
        let window = match (terms.shape(), random.random_range(0..8)) {
            (LeaseShape::ClockWindow, 0) => match terms.limit().calendar() {
                Some(calendar) => calendar.window_at(now).begin.as_ns() / 1_000,
                None => end - terms.window_us(),
            },
            (LeaseShape::ClockWindow, _) => end,
            (_, 0) => 0,
            // Of an earlier answer, usually the last one.
            (_, 1) => self.answers[place].first().map_or(0, |answer| answer.window),
            (_, 2) => self.answers[place].iter().rev().nth(1).map_or(0, |answer| answer.window),
            _ => self.answers[place].last().map_or(0, |answer| answer.window),
        };
        Ask {
            window,
            waiting,
            least: if waiting == 0 { 0 } else { random.random_range(1..=waiting) },
            rate_millis: [0, random.random_range(0..3_000_000_000), random.random_range(0..100_000)]
                [random.random_range(0..3)],
            last: random.random_range(0..300),
            returned: few(random),
            reported: few(random),
            kept: few(random),
            refunded: few(random),
            charged: if random.random_range(0..6) == 0 { random.random_range(0..50) } else { 0 },
            ..Ask::default()
        }
    }
}

fn any_terms(random: &mut SmallRng) -> Terms {
    let window_us = match random.random_range(0..3) {
        0 => 10_000 + random.random_range(0..50),
        1 => 7_000_000,
        // A year: the products of these numbers are beyond 2^53.
        _ => 31_536_000_000_000 + random.random_range(0..1_000),
    };
    let mut max = [random.random_range(0..12), random.random_range(500..9_000)][random.random_range(0..2)];
    let replicas = random.random_range(1..4);
    let algorithm = match random.random_range(0..6) {
        0 => Algorithm::FixedWindow { starts: Starts::Clock },
        1 => Algorithm::FixedWindow { starts: Starts::FirstRequest },
        3 => Algorithm::FixedWindow { starts: Starts::Calendar(any_calendar(random)) },
        2 => Algorithm::SlidingWindow,
        _ => {
            if random.random_range(0..4) == 0 {
                max = 3_000_000_000 + random.random_range(0..1_000);
            }
            let burst = replicas * 100 + random.random_range(0..2_000);
            Algorithm::TokenBucket { burst, queue: Queue { size: 0, mode: QueueMode::Hold } }
        }
    };
    let window = Nanos::from_ns(window_us * 1_000);
    Terms::new(&Limit { max, window, algorithm, ban: None, count_denied: CountDenied::Never }, replicas).unwrap()
}

#[tokio::test]
async fn the_script_answers_as_its_model() {
    for kind in Kind::installed() {
        let engine = Engine::start(kind);
        let connection = open(&engine).await;
        let (mut lent, mut empty) = (0, 0);
        for seed in 0..TRACES {
            let mut trace = Trace::new(seed);
            let keys = keys(&seed.to_le_bytes());
            let mut models = [(); 3].map(|()| Central::new());
            for step in 0..STEPS {
                let now = trace.advance();
                let asks = [0, 1, 2].map(|place| trace.ask(place));
                let mut batch = LeaseBatch::at(now);
                for (place, ask) in asks.iter().enumerate() {
                    batch.add(keys[place].as_str(), &trace.terms[place], ask).unwrap();
                }
                let reply = send(&connection, &batch).await;
                assert_eq!(reply.now, now);
                for (place, ask) in asks.iter().enumerate() {
                    let terms = &trace.terms[place];
                    let expected = models[place].answer(terms, ask, now);
                    let found = reply.answers[place];
                    assert_eq!(
                        found,
                        Some(expected),
                        "{kind:?}, seed {seed}, step {step} at {now:?}: {ask:?} of {terms:?}"
                    );
                    trace.answers[place].push(expected);
                    lent += u64::from(expected.lease > 0);
                    empty += u64::from(expected.left <= 0);
                }
            }
        }
        assert!(lent > 1_000 && empty > 1_000, "the traces lend and use up: {lent}, {empty}");
        let names: Vec<String> = engine.run(&["KEYS", "*"]);
        assert!(names.len() > 100);
        for name in &names[..100] {
            assert!(engine.run::<i64>(&["PTTL", name]) > 0, "{kind:?}: {name} has no expiry");
        }
    }
}

#[tokio::test]
async fn a_value_that_is_not_ours_fails_its_counter_only() {
    let algorithms = [
        Algorithm::FixedWindow { starts: Starts::FirstRequest },
        Algorithm::SlidingWindow,
        Algorithm::TokenBucket { burst: 500, queue: Queue { size: 0, mode: QueueMode::Hold } },
    ];
    for kind in Kind::installed() {
        let engine = Engine::start(kind);
        let connection = open(&engine).await;
        for (number, algorithm) in (0_u8..).zip(algorithms) {
            let keys = keys(&[number]);
            engine.run::<()>(&["SET", keys[0].as_str(), "not ours"]);
            engine.run::<()>(&["RPUSH", keys[1].as_str(), "1"]);
            let window = Nanos::from_secs(60);
            let limit = Limit { max: 10, window, algorithm, ban: None, count_denied: CountDenied::Never };
            let terms = Terms::new(&limit, 1).unwrap();
            let mut batch = LeaseBatch::new();
            for key in &keys {
                batch.add(key.as_str(), &terms, &Ask { waiting: 1, least: 1, ..Ask::default() }).unwrap();
            }
            let answers = send(&connection, &batch).await.answers;
            assert_eq!(answers.iter().map(Option::is_some).collect::<Vec<_>>(), [false, false, true], "{kind:?}");
            assert_eq!(engine.run::<String>(&["GET", keys[0].as_str()]), "not ours");
        }
    }
}

#[tokio::test]
async fn exact_charges_leave_lent_tokens_alone() {
    let second = 1_000_000_000;
    for kind in Kind::installed() {
        let engine = Engine::start(kind);
        let connection = open(&engine).await;
        let [key, ..] = keys(b"both ways");
        let algorithm = Algorithm::TokenBucket { burst: 500, queue: Queue { size: 0, mode: QueueMode::Hold } };
        let limit = Limit { max: 10, window: Nanos::SECOND, algorithm, ban: None, count_denied: CountDenied::Never };
        let terms = Terms::new(&limit, 1).unwrap();
        let start = 2_000_000_000 * second;
        let mut batch = LeaseBatch::at(Timestamp::from_ns(start));
        let ask = Ask { waiting: 1, least: 1, rate_millis: 1_000_000, last: 50, ..Ask::default() };
        batch.add(key.as_str(), &terms, &ask).unwrap();
        let answer = send(&connection, &batch).await.answers[0].unwrap();
        assert_eq!((answer.at_once, answer.lease, answer.left), (1, 100, 399), "{kind:?}");
        let lapses = answer.lasts.as_ns();
        // Each at an instant: what is admitted, and one hit that is not. Idle, all but the lent tokens come back; then those too.
        for (after, admitted) in [(0, 399), (second, 10), (lapses - 1_000, 400), (lapses + 60 * second, 500)] {
            for (hits, expected) in [(admitted, true), (1, false)] {
                let mut batch = ExactBatch::at(Timestamp::from_ns(start + after));
                batch.add(SharedCharge { key: &key, limit: &limit, op: Op::Charge(hits) }).unwrap();
                let mut reply = connection.ask(batch.command(), WITHIN).await;
                if reply.as_ref().is_err_and(|error| error.remedy() == Remedy::SendScript) {
                    reply = connection.ask(batch.command_with_script(), WITHIN).await;
                }
                let found = batch.read(&reply.unwrap()).unwrap().checks[0].admitted;
                assert_eq!(found, expected, "{kind:?}: {hits} hits after {after} ns");
            }
        }
        // What was charged exactly is missing to a replica that leases.
        let mut batch = LeaseBatch::at(Timestamp::from_ns(start + lapses + 60 * second));
        batch.add(key.as_str(), &terms, &ask).unwrap();
        assert_eq!(send(&connection, &batch).await.answers[0].unwrap().left, 0, "{kind:?}");
    }
}

/// A replica with a connection of its own.
struct Replica {
    connection: Connection,
    lease: Lease,
    terms: Terms,
    key: SharedKey,
    /// Microseconds, by a clock that only this test moves.
    local: u64,
}

impl Replica {
    fn now(&self) -> Now {
        let at = Timestamp::from_ns(self.local * 1_000);
        Now { local: at, engine: at }
    }

    async fn check(&mut self) -> bool {
        let (mut attempt, now) = (Attempt::First, self.now());
        loop {
            let (lease, terms) = (&mut self.lease, &self.terms);
            let mut slots = [Slot { lease, terms, hits: 1, link: Link::Up, attempt }];
            let charging = charge(&mut slots, now);
            attempt = slots[0].attempt;
            if charging != Charging::Missing {
                return charging == Charging::Charged;
            }
            self.exchange().await;
        }
    }

    async fn exchange(&mut self) {
        let now = self.now();
        let Some(ask) = self.lease.ask(&self.terms, now) else { return };
        let mut batch = LeaseBatch::at(now.engine);
        batch.add(self.key.as_str(), &self.terms, &ask).unwrap();
        let answer = send(&self.connection, &batch).await.answers[0].unwrap();
        self.lease.answered(&self.terms, &ask, &answer, now);
    }
}

#[tokio::test]
async fn replicas_admit_a_limit_together_and_a_drain_leaves_nothing() {
    for kind in Kind::installed() {
        let engine = Engine::start(kind);
        let limit = Limit {
            max: 5_000,
            window: Nanos::from_secs(3_600),
            algorithm: Algorithm::FixedWindow { starts: Starts::Clock },
            ban: None,
            count_denied: CountDenied::Alone,
        };
        let terms = Terms::new(&limit, 3).unwrap();
        let [key, ..] = keys(b"together");
        let mut replicas = Vec::new();
        for _ in 0..3 {
            let (connection, lease) = (open(&engine).await, Lease::new());
            replicas.push(Replica { connection, lease, terms, key: key.clone(), local: 2_000_000_000_000_000 });
        }
        let mut admitted = 0;
        // The first replica takes part in a third of the checks, then is drained.
        for number in 0..3_000 {
            let replica = &mut replicas[number % 3];
            replica.local += 100;
            admitted += u64::from(replica.check().await);
        }
        let drained = &mut replicas[0];
        let now = drained.now();
        drained.lease.settle(&terms, now);
        drained.lease.drain(&terms, now);
        drained.exchange().await;
        assert_eq!(drained.lease.held(), 0);
        for number in 0..6_000 {
            let replica = &mut replicas[1 + number % 2];
            // Longer than the pause after the answer that nothing is left.
            replica.local += 100_000;
            replica.lease.settle(&terms, replica.now());
            admitted += u64::from(replica.check().await);
        }
        let held: u64 = replicas.iter().map(|replica| replica.lease.held()).sum();
        assert_eq!((admitted, held), (5_000, 0), "{kind:?}");
    }
}

const WITHIN: Duration = Duration::from_secs(10);
const TRACES: u64 = 40;
const STEPS: usize = 60;
