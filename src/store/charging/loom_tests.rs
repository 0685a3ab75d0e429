//! All interleavings of two or three threads, by loom: the code that serves, with loom's locks.

use std::collections::BTreeMap;

use loom::sync::{Arc, Mutex, MutexGuard};
use loom::thread;

use super::{Capacity, Location, Shard, Shards, Step, Transaction};
use crate::engine::{Algorithm, Cell, CountDenied, Limit, Log, Op, Outcome, Queue, QueueMode, Reason, Starts, Verdict};
use crate::store::{Charge, Group};
use crate::units::{Nanos, Timestamp};

/// A few shards; the first byte of a key is its shard.
struct Loomed<V>(Vec<Mutex<Names<V>>>);

/// States by key.
type Names<V> = BTreeMap<Vec<u8>, V>;

impl<V> Loomed<V> {
    fn new(shards: usize) -> Self {
        Self((0..shards).map(|_| Mutex::new(BTreeMap::new())).collect())
    }
}

impl<V> Shards<V> for Loomed<V> {
    type Shard<'s>
        = MutexGuard<'s, Names<V>>
    where
        V: 's;

    fn locate(&self, key: &[u8]) -> Location {
        Location { stripe: 0, shard: usize::from(key[0]), hash: 0 }
    }

    fn lock(&self, location: Location) -> Option<Self::Shard<'_>> {
        self.0.get(location.shard)?.lock().ok()
    }
}

impl<V> Shard<V> for MutexGuard<'_, Names<V>> {
    fn state_mut(&mut self, _: Location, key: &[u8]) -> Option<(&mut V, Option<u32>)> {
        self.get_mut(key).map(|state| (state, None))
    }

    fn insert(&mut self, _: Location, key: &[u8], state: V, _: Timestamp) {
        assert!(BTreeMap::insert(self, key.to_vec(), state).is_none(), "a counter is made once");
    }

    fn book_heap(&mut self, _: usize, _: usize) {}

    fn book_end(&mut self, _: Timestamp) {}

    fn swept_at(&self) -> Timestamp {
        Timestamp::EPOCH
    }
}

struct Roomy;

impl Capacity for Roomy {
    fn is_exhausted(&self, _: Step) -> bool {
        false
    }

    fn exhausted(&self, _: &Charge<'_>) -> Outcome {
        Outcome { verdict: Verdict::Denied(Reason::NoRoom), before: 0, after: 0, remaining: 0, reset: Nanos::ZERO }
    }
}

struct World {
    cells: Loomed<Cell>,
    logs: Loomed<Log>,
}

impl World {
    fn shared() -> Arc<Self> {
        Arc::new(Self { cells: Loomed::new(3), logs: Loomed::new(3) })
    }

    fn charging(&self) -> Transaction<'_, Loomed<Cell>, Loomed<Log>, Roomy> {
        Transaction { cells: &self.cells, logs: &self.logs, capacity: &Roomy }
    }

    fn one(&self, limit: &Limit, key: &[u8]) -> bool {
        self.charging().one(NOW, &Charge { limit, key, op: Op::Charge(1) }).outcome.admitted()
    }

    fn all(&self, wanted: &[(&Limit, &[u8])]) -> bool {
        let charges: Vec<_> = wanted.iter().map(|(limit, key)| Charge { limit, key, op: Op::Charge(1) }).collect();
        let mut outcomes = Vec::new();
        self.charging().groups(NOW, &[Group::required(charges.len())], &charges, &mut outcomes)
    }

    fn remaining(&self, limit: &Limit, key: &[u8]) -> u64 {
        self.charging().one(NOW, &Charge { limit, key, op: Op::Charge(0) }).outcome.remaining
    }
}

fn algorithms(burst: u32) -> [Algorithm; 4] {
    let queue = Queue { size: 0, mode: QueueMode::Hold };
    let fixed = Algorithm::FixedWindow { starts: Starts::FirstRequest };
    [fixed, Algorithm::SlidingWindow, Algorithm::SlidingLog, Algorithm::TokenBucket { burst, queue }]
}

fn limit(max: u32, algorithm: Algorithm) -> Limit {
    Limit { max, window: Nanos::from_secs(60), algorithm, ban: None, count_denied: CountDenied::Never }
}

const NOW: Timestamp = Timestamp::from_ns(1_700_000_000_000_000_000);

/// Two checks of one counter with a limit of two. Returns how many are admitted.
fn spend(world: &World, algorithm: Algorithm) -> u64 {
    let limit = limit(2, algorithm);
    (0..2).map(|_| u64::from(world.one(&limit, b"\0a"))).sum()
}

#[test]
fn threads_on_one_counter_admit_the_limit_and_no_more() {
    for algorithm in algorithms(2) {
        loom::model(move || {
            let world = World::shared();
            let other = Arc::clone(&world);
            let there = thread::spawn(move || spend(&other, algorithm));
            let here = spend(&world, algorithm);
            assert_eq!(here + there.join().unwrap(), 2, "{algorithm:?}");
        });
    }
}

#[test]
fn overlapping_sets_never_over_admit_and_never_wait_for_each_other() {
    for algorithm in algorithms(1) {
        loom::model(move || {
            let world = World::shared();
            let (narrow, wide) = (limit(1, algorithm), limit(1, algorithm));
            // Two checks of the same two counters in opposite orders, one of them with a third.
            let other = Arc::clone(&world);
            let there = thread::spawn(move || other.all(&[(&wide, b"\x01b"), (&narrow, b"\0a")]));
            let here = world.all(&[(&narrow, b"\0a"), (&wide, b"\x01b"), (&narrow, b"\x02c")]);
            let there = there.join().unwrap();
            assert!(here != there, "{algorithm:?}: just one of the two passes");
            let left = [b"\0a", b"\x01b", b"\x02c"].map(|key| world.remaining(&narrow, key));
            assert_eq!(left, [0, 0, u64::from(!here)], "{algorithm:?}: what was denied left no trace");
        });
    }
}

#[test]
fn one_charge_between_several_never_over_admits() {
    for algorithm in algorithms(1) {
        loom::model(move || {
            let world = World::shared();
            let narrow = limit(1, algorithm);
            let other = Arc::clone(&world);
            let there = thread::spawn(move || other.one(&narrow, b"\x01b"));
            let here = world.all(&[(&narrow, b"\0a"), (&narrow, b"\x01b")]);
            assert!(here != there.join().unwrap(), "{algorithm:?}");
            assert_eq!(
                world.remaining(&narrow, b"\0a"),
                u64::from(!here),
                "{algorithm:?}: nothing of a denied check stays"
            );
        });
    }
}
