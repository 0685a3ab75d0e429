//! Decisions per second over many live counters, compared with a plain dashmap that only adds to a number.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use dashmap::DashMap;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tidegate::limiter::{Limiter, WorkerSlot};
use tidegate::service::{Batch, Call};
use tidegate::store::{CounterKey, LimitId};

use crate::Scale;
use crate::numbers::{Spread, in_turns};
use crate::traffic::{BATCH, NOW, PER_HOUR, Values, encoded, limiter, nanoseconds_each, one_rule, time};

/// A map without a limiter: the keys of the same counters, and a number each.
struct Plain<S>(DashMap<Box<[u8]>, AtomicU64, S>);

/// The contenders, measured in turns.
const CONTENDERS: [&str; 4] = ["View::check", "wire::answer", "dashmap, ahash", "dashmap, SipHash"];

pub(crate) fn run(scale: Scale) {
    let limiter = filled(scale.counters);
    let ahash = Plain::<ahash::RandomState>::filled(scale.counters);
    let sip = Plain::<std::hash::RandomState>::filled(scale.counters);
    for threads in [1, 2] {
        let rates = in_turns(scale.rounds, CONTENDERS.len(), |contender| {
            per_second(threads, scale, contender, |worker, values| match contender {
                0 => checks(&limiter, worker, values),
                1 => answers(&limiter, worker, values),
                2 => ahash.adds(values),
                _ => sip.adds(values),
            })
        });
        println!(
            "{threads} thread(s), {} counters, uniform; millions a second, median (least to most):",
            scale.counters
        );
        for (name, rates) in CONTENDERS.iter().zip(&rates) {
            println!("  {name:<17} {}", Spread::new(rates.clone()));
        }
        println!("  View::check / dashmap, ahash    {}", Spread::ratio(&rates[0], &rates[2]));
        println!("  View::check / dashmap, SipHash  {}", Spread::ratio(&rates[0], &rates[3]));
        println!("  wire::answer / View::check      {}", Spread::ratio(&rates[1], &rates[0]));
    }
}

/// A limiter with this number of live counters of one rule.
pub(crate) fn filled(counters: usize) -> Limiter {
    let limiter = limiter(one_rule(PER_HOUR));
    fill(&limiter, counters);
    limiter
}

pub(crate) fn fill(limiter: &Limiter, counters: usize) {
    let view = limiter.view().unwrap();
    let mut values = Values::default();
    for n in 0..counters {
        values.set(n);
        view.check(WorkerSlot(0), NOW, &values.check());
    }
    assert_eq!(limiter.store().occupancy().counters, counters);
}

/// Nanoseconds to decide one check for each of `values`; reading and preparing them is not included.
pub(crate) fn checks(limiter: &Limiter, worker: WorkerSlot, values: &[Values]) -> u128 {
    let checks: Vec<_> = values.iter().map(Values::check).collect();
    time(|| {
        // As in the server: once for all checks of one read.
        let view = limiter.view().unwrap();
        for check in &checks {
            black_box(view.check(worker, NOW, black_box(check)));
        }
    })
}

fn answers(limiter: &Limiter, worker: WorkerSlot, values: &[Values]) -> u128 {
    let requests: Vec<_> = values.iter().map(|values| encoded(&values.check())).collect();
    time(|| {
        let batch = Batch::new(limiter, worker, NOW);
        for request in &requests {
            black_box(batch.decide(Call::default(), black_box(request)).unwrap());
        }
    })
}

fn per_second(threads: usize, scale: Scale, seed: usize, timed: impl Fn(WorkerSlot, &[Values]) -> u128 + Sync) -> f64 {
    let barrier = Barrier::new(threads);
    let one = |worker: usize| {
        let mut random = SmallRng::seed_from_u64((seed * 64 + worker) as u64);
        let mut values = vec![Values::default(); BATCH];
        barrier.wait();
        nanoseconds_each(&mut random, scale.counters, scale.checks, &mut values, |values| {
            timed(WorkerSlot(worker), values)
        })
    };
    thread::scope(|scope| {
        let one = &one;
        let running: Vec<_> = (0..threads).map(|worker| scope.spawn(move || one(worker))).collect();
        running.into_iter().map(|thread| 1_000.0 / thread.join().unwrap()).sum()
    })
}

impl<S: Default + Clone + std::hash::BuildHasher> Plain<S> {
    fn filled(counters: usize) -> Self {
        let map = DashMap::with_hasher(S::default());
        let mut values = Values::default();
        for n in 0..counters {
            values.set(n);
            map.insert(Box::from(name(&values).as_bytes()), AtomicU64::new(1));
        }
        Self(map)
    }

    fn adds(&self, values: &[Values]) -> u128 {
        let names: Vec<_> = values.iter().map(name).collect();
        time(|| {
            for name in &names {
                let counter = self.0.get(black_box(name.as_bytes())).unwrap();
                black_box(counter.fetch_add(1, Ordering::Relaxed));
            }
        })
    }
}

/// The key of the same counter in the store.
fn name(values: &Values) -> CounterKey {
    let mut key = CounterKey::new(LimitId::OVERRIDE);
    values.parts().iter().for_each(|part| key.push(part.as_bytes()));
    key
}
