//! Decisions per second of each contender: one hot counter, uniform and zipf, on a growing number of threads.

use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tidegate::limiter::WorkerSlot;

use crate::Scale;
use crate::contenders::{ALL, Contender, TIDEGATE, contexts, filled};
use crate::numbers::{Spread, in_turns};
use crate::picks::Picks;
use crate::traffic::{BATCH, Values, batches, time};

const THREADS: [usize; 4] = [1, 2, 4, 8];

pub(crate) fn run(scale: Scale) {
    let contenders = ALL.map(|(_, new)| filled(new, scale.counters));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    for picks in Picks::ALL {
        for threads in THREADS {
            let rates = in_turns(scale.rounds, ALL.len(), |i| {
                let rate = if threads > cores { more_threads_than_cores } else { one_thread_per_core };
                rate(&*contenders[i], picks, threads, scale)
            });
            println!(
                "{picks:?}, {threads} thread(s) on {cores} core(s), {} counters; millions a second, median (least to most):",
                scale.counters
            );
            for ((name, _), of) in ALL.iter().zip(&rates) {
                let ratio = Spread::ratio(&rates[0], of);
                println!("  {name:<17} {}; {TIDEGATE} decides {ratio} times as many", Spread::new(of.clone()));
            }
        }
    }
    let (mut values, mut random) = (vec![Values::default(); BATCH], SmallRng::seed_from_u64(1));
    let ns = batches(|| random.random_range(0..scale.counters), scale.checks / 8, &mut values, contexts);
    println!("limitador's context, made for each check and not in the above: {:.0} ns", Spread::new(ns).median());
}

/// Millions of decisions per second of all threads together, each on a core of its own. The median batch of each thread
/// counts, which contains no pause for another program.
fn one_thread_per_core(contender: &dyn Contender, picks: Picks, threads: usize, scale: Scale) -> f64 {
    let barrier = Barrier::new(threads);
    let rates = on_threads(threads, |worker, random| {
        barrier.wait();
        let mut values = vec![Values::default(); BATCH];
        let ns = batches(
            || picks.next(random, scale.counters),
            scale.checks / threads,
            &mut values,
            |values| {
                let mut work = contender.prepare(worker, values);
                time(&mut work)
            },
        );
        1_000.0 / Spread::new(ns).median()
    });
    rates.into_iter().sum()
}

/// The same for more threads than cores: the median of blocks that all threads begin together, from the first beginning to
/// the last end, so that waiting for a core or a lock is included.
fn more_threads_than_cores(contender: &dyn Contender, picks: Picks, threads: usize, scale: Scale) -> f64 {
    let block = BLOCK.min(scale.checks / threads).max(1);
    let blocks = (scale.checks / threads / block).max(1);
    let barrier = Barrier::new(threads);
    let spans = on_threads(threads, |worker, random| {
        let mut values = vec![Values::default(); block];
        let spans = (0..blocks).map(|_| {
            for values in &mut values {
                values.set(picks.next(random, scale.counters));
            }
            let mut work = contender.prepare(worker, &values);
            barrier.wait();
            let begun = Instant::now();
            work();
            (begun, Instant::now())
        });
        spans.collect::<Vec<_>>()
    });
    let length = |n: usize| {
        let (begun, ended) = (spans.iter().map(|spans| spans[n].0).min(), spans.iter().map(|spans| spans[n].1).max());
        (ended.unwrap() - begun.unwrap()).as_secs_f64()
    };
    (threads * block) as f64 / 1e6 / Spread::new((0..blocks).map(length).collect()).median()
}

/// The result of each thread. The counters are the same for every contender.
fn on_threads<T: Send>(threads: usize, one: impl Fn(WorkerSlot, &mut SmallRng) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let one = &one;
        let start =
            |worker: usize| scope.spawn(move || one(WorkerSlot(worker), &mut SmallRng::seed_from_u64(worker as u64)));
        let running: Vec<_> = (0..threads).map(start).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Checks of a block: enough that starting together costs little.
const BLOCK: usize = 2_048;
