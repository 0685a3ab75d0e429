//! Checks that arrived together, next to the same checks one by one, and to a map that only counts.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tidegate::limiter::{Limiter, WorkerSlot};

use crate::Scale;
use crate::contenders::{Contender, Plain, fill};
use crate::numbers::{Spread, in_turns};
use crate::traffic::{BATCH, NOW, PER_HOUR, Values, batches, limiter, one_rule, time};

/// What is measured in turns: all of a batch with one view, as in the server.
#[derive(Clone, Copy)]
enum Turn {
    /// `View::check_all` of all checks of the batch.
    Together,
    /// `View::check` of each.
    Each,
    /// `View::check_all` of each.
    Ones,
    /// `get` and `fetch_add` of each key, with the default hasher.
    Sip,
    /// The same with the hasher of Tidegate's store.
    Ahash,
}

const TURNS: [(&str, Turn); 5] = [
    ("View::check_all of 32", Turn::Together),
    ("View::check", Turn::Each),
    ("View::check_all of 1", Turn::Ones),
    ("dashmap, SipHash", Turn::Sip),
    ("dashmap, ahash", Turn::Ahash),
];

pub(crate) fn run(scale: Scale) {
    for counters in [scale.counters / 10, scale.counters] {
        let limiter = limiter(one_rule(PER_HOUR));
        let (sip, ahash) = (Plain::<std::hash::RandomState>::new(), Plain::<ahash::RandomState>::new());
        for contender in [&limiter as &dyn Contender, &sip, &ahash] {
            fill(contender, counters);
        }
        for threads in [1, 2] {
            let of_thread = |turn: Turn, worker: usize| {
                let mut random = SmallRng::seed_from_u64(worker as u64);
                let mut values = vec![Values::default(); BATCH];
                let next = || random.random_range(0..counters);
                let ns = batches(next, scale.checks / threads, &mut values, |values| match turn {
                    Turn::Sip => time(sip.prepare(WorkerSlot(worker), values)),
                    Turn::Ahash => time(ahash.prepare(WorkerSlot(worker), values)),
                    _ => decide(&limiter, turn, WorkerSlot(worker), values),
                });
                Spread::new(ns).median()
            };
            let times = in_turns(scale.rounds, TURNS.len(), |i| mean(threads, |worker| of_thread(TURNS[i].1, worker)));
            println!("{threads} thread(s), {counters} counters, uniform; ns each, median (least to most):");
            for ((name, _), of) in TURNS.iter().zip(&times) {
                println!(
                    "  {name:<21} {}; to dashmap, SipHash {}",
                    Spread::new(of.clone()),
                    Spread::ratio(of, &times[3])
                );
            }
            println!("  check_all of 32 / View::check  {}", Spread::ratio(&times[0], &times[1]));
            println!("  check_all of 1 / View::check   {}", Spread::ratio(&times[2], &times[1]));
            println!("  check_all of 32 / dashmap, ahash  {}", Spread::ratio(&times[0], &times[4]));
        }
    }
}

/// Nanoseconds to decide one check for each of `values`.
fn decide(limiter: &Limiter, turn: Turn, worker: WorkerSlot, values: &[Values]) -> u128 {
    let checks: Vec<_> = values.iter().map(Values::check).collect();
    time(|| {
        let view = limiter.view().unwrap();
        match turn {
            Turn::Together => view.check_all(worker, NOW, black_box(&checks).iter()).for_each(|decision| {
                black_box(decision);
            }),
            Turn::Ones => checks.iter().for_each(|check| {
                black_box(view.check_all(worker, NOW, std::iter::once(black_box(check))).next());
            }),
            _ => checks.iter().for_each(|check| {
                black_box(view.check(worker, NOW, black_box(check)));
            }),
        }
    })
}

/// The mean of all threads, which begin together.
fn mean(threads: usize, one: impl Fn(usize) -> f64 + Sync) -> f64 {
    let barrier = Barrier::new(threads);
    thread::scope(|scope| {
        let (one, barrier) = (&one, &barrier);
        let start = |worker: usize| {
            scope.spawn(move || {
                barrier.wait();
                one(worker)
            })
        };
        let running: Vec<_> = (0..threads).map(start).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).sum::<f64>() / threads as f64
    })
}
