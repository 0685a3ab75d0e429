//! A fleet of replicas that share one counter, on a virtual clock: the server's part of `store::lease`, and messages that take time,
//! come late and are lost.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng};
use tidegate::engine::{Limit, WhenDown};
use tidegate::store::lease::{Answer, Ask, Attempt, Central, Charging, Lease, Link, Now, Slot, Terms, Wish, charge};
use tidegate::units::{Nanos, Timestamp};

use super::ledger::Ledger;
use super::traffic::{self, Spread};

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) limit: Limit,
    pub(crate) replicas: u32,
    /// Checks that come, as a multiple of what the limit allows.
    pub(crate) load: f64,
    pub(crate) spread: Spread,
    pub(crate) windows: u64,
    /// The largest number of hits of a check.
    pub(crate) hits: u64,
    /// Of a thousand messages, how many are lost, and how many are late; and how often a replica is killed within the run.
    pub(crate) lost: u32,
    pub(crate) late: u32,
    pub(crate) crashes: u32,
    /// Long calm times and short floods, in place of a steady load.
    pub(crate) pulses: bool,
    /// From when to when the engine does not answer, in nanoseconds since the start, and what decides then.
    pub(crate) outage: Option<(u64, u64)>,
    pub(crate) when_down: WhenDown,
    pub(crate) seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Arrival,
    Tick(usize),
    /// Requests have waited for others to share them.
    Flush(usize),
    AtEngine(Message),
    Reply(Message, Answer, u64),
    Timeout(Message),
    Crash,
}

/// A request of a replica, which may have been killed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Message {
    replica: usize,
    life: u32,
    ask: Ask,
}

struct Replica {
    lease: Lease,
    /// Checks that wait.
    waiting: Vec<(u64, Attempt)>,
    /// Its clock less the engine's, and the error of what it knows of the difference, in nanoseconds.
    skew: i64,
    error: i64,
    flush_at: Option<u64>,
    /// The request that has neither been answered nor given up.
    open: Option<Ask>,
    life: u32,
}

/// Replicas, the engine, and what is on its way.
pub(crate) struct Fleet {
    setup: Setup,
    terms: Terms,
    central: Central,
    replicas: Vec<Replica>,
    random: SmallRng,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: HashMap<u64, Event>,
    number: u64,
    grants: u64,
    ledger: Ledger,
}

impl Setup {
    /// A run in which nothing goes wrong, of checks with one hit.
    pub(crate) fn new(limit: Limit, replicas: u32, spread: Spread, load: f64, windows: u64, seed: u64) -> Self {
        let when_down = WhenDown::Deny;
        Self {
            limit,
            replicas,
            load,
            spread,
            windows,
            hits: 1,
            lost: 0,
            late: 0,
            crashes: 0,
            pulses: false,
            outage: None,
            when_down,
            seed,
        }
    }
}

impl Fleet {
    /// Runs it to the end.
    pub(crate) fn run(setup: Setup) -> Ledger {
        let mut random = SmallRng::seed_from_u64(setup.seed);
        let mut spread = |most: i64| random.random_range(-most..=most);
        let replica = |skew, error| Replica {
            lease: Lease::new(),
            waiting: Vec::new(),
            skew,
            error,
            flush_at: None,
            open: None,
            life: 0,
        };
        let replicas =
            (0..setup.replicas).map(|_| replica(spread(3_600_000_000_000), spread(CLOCK_ERROR_NS))).collect();
        let terms = Terms::new(&setup.limit, setup.replicas).unwrap();
        let (central, ledger) = (Central::new(), Ledger::new(&setup.limit, START));
        let mut fleet = Self {
            setup,
            terms,
            central,
            replicas,
            random,
            queue: BinaryHeap::new(),
            events: HashMap::new(),
            number: 0,
            grants: 0,
            ledger,
        };
        fleet.begin();
        let end = START + setup.windows * setup.limit.window.as_ns();
        while let Some(Reverse((at, number))) = fleet.queue.pop() {
            if at >= end {
                break;
            }
            let event = fleet.events.remove(&number).unwrap();
            fleet.handle(at, event);
        }
        fleet.ledger
    }

    fn begin(&mut self) {
        self.push(START, Event::Arrival);
        for replica in 0..self.replicas.len() {
            let at = START + self.random.random_range(0..TICK_NS);
            self.push(at, Event::Tick(replica));
        }
        let length = self.setup.windows * self.setup.limit.window.as_ns();
        for _ in 0..self.setup.crashes {
            let at = START + self.random.random_range(0..length);
            self.push(at, Event::Crash);
        }
    }

    fn push(&mut self, at: u64, event: Event) {
        self.number += 1;
        self.events.insert(self.number, event);
        self.queue.push(Reverse((at, self.number)));
    }

    fn handle(&mut self, at: u64, event: Event) {
        match event {
            Event::Arrival => self.arrival(at),
            Event::Tick(replica) => {
                let now = self.now(replica, at);
                self.replicas[replica].lease.tick(&self.terms, now);
                self.act(replica, at);
                self.push(at + TICK_NS, Event::Tick(replica));
            }
            Event::Flush(replica) => {
                if self.replicas[replica].flush_at.take_if(|due| *due <= at).is_some() {
                    self.send(replica, at);
                }
            }
            Event::AtEngine(message) => self.at_engine(at, message),
            Event::Reply(message, answer, charged_at) => self.reply(at, message, &answer, charged_at),
            Event::Timeout(message) => self.timeout(at, message),
            Event::Crash => {
                let replica = self.random.random_range(0..self.replicas.len());
                let replica = &mut self.replicas[replica];
                (replica.lease, replica.life) = (Lease::new(), replica.life + 1);
                (replica.open, replica.flush_at) = (None, None);
                replica.waiting.clear();
            }
        }
    }

    /// The clocks of a replica when the engine's shows `at`.
    fn now(&self, replica: usize, at: u64) -> Now {
        let Replica { skew, error, .. } = self.replicas[replica];
        let by = |difference: i64| Timestamp::from_ns(at.checked_add_signed(difference).unwrap());
        Now { local: by(skew), engine: by(error) }
    }

    fn arrival(&mut self, at: u64) {
        let window = self.setup.limit.window.as_ns();
        let turn = at / (window / 2).max(1);
        let replica = self.setup.spread.pick(&mut self.random, self.replicas.len(), turn, self.grants);
        let hits = if self.random.random_range(0..4) == 0 { self.random.random_range(1..=self.setup.hits) } else { 1 };
        self.ledger.offer(at, hits);
        let link = if self.is_down(at) { Link::Down(self.setup.when_down) } else { Link::Up };
        self.decide(replica, at, hits, Attempt::First, link, at);
        self.act(replica, at);
        let mean = if self.setup.hits > 1 { (3.0 + (1 + self.setup.hits) as f64 / 2.0) / 4.0 } else { 1.0 };
        // A fifth of a window of flood after four fifths of calm.
        let pulse = if !self.setup.pulses {
            1.0
        } else if at % window < window / 5 {
            12.0
        } else {
            0.3
        };
        let per_second = self.setup.load * pulse * f64::from(self.setup.limit.max) * 1e9 / window as f64 / mean;
        let gap = traffic::gap_ns(&mut self.random, per_second);
        self.push(at + gap.max(1), Event::Arrival);
    }

    /// Decides a check, or lets it wait. `charged_at` is when the engine charged what was granted to it.
    fn decide(&mut self, replica: usize, at: u64, hits: u64, attempt: Attempt, link: Link, charged_at: u64) {
        let now = self.now(replica, at);
        let one = &mut self.replicas[replica];
        // What has ended is not spent.
        one.lease.look(&self.terms, 0, now, link, attempt);
        let before = one.lease.held();
        let mut slots = [Slot { lease: &mut one.lease, terms: &self.terms, hits, link, attempt }];
        let charging = charge(&mut slots, now);
        let attempt = slots[0].attempt;
        match charging {
            Charging::Charged => {
                let from_held = before - one.lease.held();
                let is_of_outage = link != Link::Up && from_held < hits;
                let length = self.setup.limit.window.as_ns();
                let clock_window = (now.engine.as_ns() / length + 1) * length / 1_000;
                let window = if is_of_outage { clock_window } else { one.lease.window() };
                self.ledger.admit(window, at, from_held);
                if !is_of_outage {
                    self.ledger.check_time(window, at, from_held);
                }
                self.ledger.admit(window, charged_at, hits - from_held);
            }
            Charging::Denied { .. } => self.ledger.denied += 1,
            Charging::Missing => {
                self.ledger.waited += u64::from(link == Link::Up && attempt != Attempt::First && charged_at == at);
                one.waiting.push((hits, attempt));
            }
        }
    }

    fn is_down(&self, at: u64) -> bool {
        self.setup.outage.is_some_and(|(from, to)| (from..to).contains(&(at - START)))
    }

    /// Asks if the lease wishes so, now or soon.
    fn act(&mut self, replica: usize, at: u64) {
        if self.is_down(at) {
            return;
        }
        let now = self.now(replica, at);
        match self.replicas[replica].lease.wish(&self.terms, now) {
            Wish::Now => self.send(replica, at),
            Wish::Soon if self.replicas[replica].flush_at.is_none() => {
                self.replicas[replica].flush_at = Some(at + SHARING_NS);
                self.push(at + SHARING_NS, Event::Flush(replica));
            }
            _ => {}
        }
    }

    fn send(&mut self, replica: usize, at: u64) {
        if self.is_down(at) {
            return;
        }
        let now = self.now(replica, at);
        let Some(ask) = self.replicas[replica].lease.ask(&self.terms, now) else { return };
        self.ledger.asks += 1;
        self.replicas[replica].open = Some(ask);
        let message = Message { replica, life: self.replicas[replica].life, ask };
        if self.random.random_range(0..1_000) >= self.setup.lost && !self.is_down(at) {
            let delay = self.delay();
            self.push(at + delay, Event::AtEngine(message));
        }
        self.push(at + TIMEOUT_NS, Event::Timeout(message));
    }

    fn delay(&mut self) -> u64 {
        if self.random.random_range(0..1_000) < self.setup.late {
            return self.random.random_range(0..2_000_000_000);
        }
        self.random.random_range(100_000..400_000)
    }

    fn at_engine(&mut self, at: u64, message: Message) {
        let answer = self.central.answer(&self.terms, &message.ask, Timestamp::from_ns(at));
        self.grants += u64::from(answer.at_once + answer.lease > 0);
        if self.random.random_range(0..1_000) >= self.setup.lost {
            let delay = self.delay();
            self.push(at + delay, Event::Reply(message, answer, at));
        }
    }

    fn reply(&mut self, at: u64, message: Message, answer: &Answer, charged_at: u64) {
        let Message { replica, life, ask } = message;
        let now = self.now(replica, at);
        let one = &mut self.replicas[replica];
        if one.life != life {
            return;
        }
        if one.open.take_if(|open| open.number == ask.number).is_none() {
            let before = one.lease.held();
            one.lease.late(&self.terms, &ask, answer, now);
            self.ledger.kept_late += u64::from(one.lease.held() > before);
            return;
        }
        one.lease.answered(&self.terms, &ask, answer, now);
        for (hits, attempt) in std::mem::take(&mut one.waiting) {
            self.decide(replica, at, hits, attempt, Link::Up, charged_at);
        }
        self.replicas[replica].lease.settle(&self.terms, now);
        self.act(replica, at);
    }

    fn timeout(&mut self, at: u64, Message { replica, life, ask }: Message) {
        let one = &mut self.replicas[replica];
        if one.life != life || one.open.take_if(|open| open.number == ask.number).is_none() {
            return;
        }
        one.lease.lost(&self.terms, &ask);
        for (hits, attempt) in std::mem::take(&mut one.waiting) {
            self.decide(replica, at, hits, attempt, Link::Down(self.setup.when_down), at);
        }
        let now = self.now(replica, at);
        self.replicas[replica].lease.settle(&self.terms, now);
    }
}

/// A whole number of all windows that are simulated.
pub(crate) const START: u64 = 1_800_000_000 * Nanos::SECOND.as_ns();
const TICK_NS: u64 = 50_000_000;
const SHARING_NS: u64 = 10_000_000;
const TIMEOUT_NS: u64 = 10_000_000;
const CLOCK_ERROR_NS: i64 = 200_000;
