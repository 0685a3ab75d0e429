//! Slow counters are counted hit by hit: the decisions of a fleet are those of one counter in memory.

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng};
use tidegate::engine::{self, Algorithm, Cell, CountDenied, Limit, Op};
use tidegate::store::lease::{Attempt, Central, Charging, Lease, Link, Now, Slot, Terms, charge};
use tidegate::units::Timestamp;

use super::{CLOCK, FIRST_REQUEST, bucket, limit, times};

/// A fleet whose requests take no time.
pub(super) struct Replicas {
    terms: Terms,
    central: Central,
    leases: Vec<Lease>,
}

impl Replicas {
    pub(super) fn new(limit: &Limit, replicas: u32) -> Self {
        let terms = Terms::new(limit, replicas).unwrap();
        Self { terms, central: Central::new(), leases: (0..replicas).map(|_| Lease::new()).collect() }
    }

    pub(super) fn held(&self, replica: usize) -> u64 {
        self.leases[replica].held()
    }

    pub(super) fn window(&self, replica: usize) -> u64 {
        self.leases[replica].window()
    }

    pub(super) fn drain(&mut self, replica: usize, at: Timestamp) {
        self.leases[replica].drain(&self.terms, Now { local: at, engine: at });
        self.say_all(replica, at);
    }

    pub(super) fn charge(&mut self, replica: usize, hits: u64, at: Timestamp) -> bool {
        let now = Now { local: at, engine: at };
        let mut attempt = Attempt::First;
        loop {
            let lease = &mut self.leases[replica];
            let mut slots = [Slot { lease, terms: &self.terms, hits, link: Link::Up, attempt }];
            let charging = charge(&mut slots, now);
            attempt = slots[0].attempt;
            if charging != Charging::Missing {
                self.say_all(replica, at);
                return charging == Charging::Charged;
            }
            self.exchange(replica, now);
        }
    }

    fn exchange(&mut self, replica: usize, now: Now) -> bool {
        let lease = &mut self.leases[replica];
        let Some(ask) = lease.ask(&self.terms, now) else { return false };
        let answer = self.central.answer(&self.terms, &ask, now.engine);
        lease.answered(&self.terms, &ask, &answer, now);
        true
    }

    fn say_all(&mut self, replica: usize, at: Timestamp) {
        let now = Now { local: at, engine: at };
        self.leases[replica].settle(&self.terms, now);
        while self.exchange(replica, now) {
            self.leases[replica].settle(&self.terms, now);
        }
    }
}

/// Decisions of one trace, each by the fleet and by one counter in memory.
fn compare(limit: &Limit, replicas: u32, seed: u64) -> (u64, u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut fleet = Replicas::new(limit, replicas);
    let (mut cell, mut micros) = (Cell::FRESH, 1_700_000_000_000_000_u64);
    let (mut admitted, mut denied) = (0, 0);
    // No replica has more than one check per horizon.
    let horizon =
        if matches!(limit.algorithm, Algorithm::TokenBucket { .. }) { HORIZON_OF_BUCKET_US } else { HORIZON_US };
    let mut quiet_until = vec![0; fleet.leases.len()];
    for step in 0..400 {
        micros += random.random_range(0..horizon / u64::from(replicas) * 2);
        let hits = if random.random_range(0..6) == 0 { random.random_range(0..3) } else { 1 };
        let replica = (0..quiet_until.len()).min_by_key(|replica| quiet_until[*replica]).unwrap();
        micros = micros.max(quiet_until[replica]);
        quiet_until[replica] = micros + horizon;
        let at = Timestamp::from_ns(micros * 1_000);
        let (outcome, next) = engine::step(limit, cell, at, Op::Charge(hits));
        cell = next;
        let found = fleet.charge(replica, hits, at);
        if hits == 0 {
            // A look asks nobody.
            continue;
        }
        assert_eq!(found, outcome.admitted(), "seed {seed}, step {step}: {hits} hits of {limit:?}");
        if outcome.admitted() { admitted += 1 } else { denied += 1 }
    }
    (admitted, denied)
}

const HORIZON_US: u64 = 10_000_000;
/// A quarter of 400 tokens, at 50 per minute.
const HORIZON_OF_BUCKET_US: u64 = 120_000_000;

#[test]
fn slow_counters_are_exact() {
    let mut denials = [0; 4];
    for seed in 0..40 * times() {
        for (place, algorithm) in [CLOCK, FIRST_REQUEST, Algorithm::SlidingWindow, bucket(400)].into_iter().enumerate()
        {
            let is_bucket = place == 3;
            let replicas = if is_bucket { 4 } else { 30 };
            let max = if is_bucket { 50 } else { 20 };
            let mut limit = limit(max, 60_000, algorithm);
            if place == 1 && seed % 2 == 1 {
                limit.count_denied = CountDenied::Always;
            }
            let (admitted, denied) = compare(&limit, replicas, seed);
            assert!(admitted > 40, "{admitted} of {limit:?}");
            denials[place] += denied;
        }
    }
    assert!(denials[..3].iter().all(|denied| *denied > 1_000), "{denials:?}");
}
