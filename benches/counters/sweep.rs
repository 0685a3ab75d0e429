//! The effect of the sweep on decisions, and how long it pauses a stripe.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tidegate::limiter::{Limiter, WorkerSlot};
use tidegate::units::{Nanos, Timestamp};

use crate::Scale;
use crate::decisions::{checks, fill, filled};
use crate::latencies::Latencies;
use crate::numbers::{Spread, in_turns};
use crate::traffic::{BATCH, NOW, Values, nanoseconds_each};

/// An instant at which every counter of the bench has expired.
const LATER: Timestamp = NOW.plus(Nanos::from_secs(7_200));

pub(crate) fn run(scale: Scale) {
    let limiter = filled(scale.counters);
    rates(&limiter, scale);
    latencies(&limiter, scale, NOW, "nothing is spent");
    latencies(&limiter, scale, LATER, "everything is spent, and comes back");
    drop(limiter);
    let mut sizes = vec![scale.counters];
    if scale.ten_million {
        sizes.push(10 * scale.counters);
    }
    for counters in sizes {
        pauses(counters);
    }
}

/// Decisions per second while the sweep runs without rest in another thread.
fn rates(limiter: &Limiter, scale: Scale) {
    let mut values = vec![Values::default(); BATCH];
    let mut random = SmallRng::seed_from_u64(1);
    let rates = in_turns(scale.rounds, 2, |sweeping| {
        let mut measure = || {
            let timed = |values: &[Values]| checks(limiter, WorkerSlot(0), values);
            1_000.0 / nanoseconds_each(&mut random, scale.counters, scale.checks, &mut values, timed)
        };
        if sweeping == 0 { measure() } else { beside_the_sweep(limiter, NOW, measure) }
    });
    println!("1 thread, millions a second: without the sweep {}", Spread::new(rates[0].clone()));
    println!("  with the sweep at full speed {}", Spread::new(rates[1].clone()));
    println!("  ratio {}", Spread::ratio(&rates[1], &rates[0]));
}

/// The duration of each decision. It includes reading the clock, which is also printed alone.
fn latencies(limiter: &Limiter, scale: Scale, swept_at: Timestamp, what: &str) {
    let clock = measure(scale, |_| ());
    let decide = |values: &Values| {
        let view = limiter.view().unwrap();
        black_box(view.check(WorkerSlot(0), NOW, &values.check()));
    };
    let alone = measure(scale, decide);
    let swept = beside_the_sweep(limiter, swept_at, || measure(scale, decide));
    println!("a decision in ns ({what}): p50, p99, p99.9, p99.99, longest");
    println!("  the clock alone   {clock:?}");
    println!("  without the sweep {alone:?}");
    println!("  with the sweep    {swept:?}");
    println!(
        "  ratios            {:?}",
        std::array::from_fn::<_, 5, _>(|i| (swept[i] * 100 / alone[i].max(1)) as f32 / 100.0)
    );
}

fn measure(scale: Scale, decide: impl Fn(&Values)) -> [u32; 5] {
    let (mut random, mut values, mut latencies) = (SmallRng::seed_from_u64(2), Values::default(), Latencies::default());
    for _ in 0..scale.checks {
        values.set(random.random_range(0..scale.counters));
        let begun = Instant::now();
        decide(&values);
        latencies.add(begun.elapsed().as_nanos());
    }
    latencies.percentiles()
}

fn beside_the_sweep<T>(limiter: &Limiter, now: Timestamp, measure: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                limiter.store().sweep_step(now);
            }
        });
        let measured = measure();
        stop.store(true, Ordering::Relaxed);
        measured
    })
}

/// Frees this number of expired counters, and prints the durations of the steps.
fn pauses(counters: usize) {
    let limiter = crate::traffic::limiter(crate::traffic::one_rule(crate::traffic::PER_HOUR));
    fill(&limiter, counters);
    let looks = steps(&limiter, NOW);
    let frees = steps(&limiter, LATER);
    let stats = limiter.store().sweep_stats();
    assert_eq!(stats.freed as usize, counters);
    println!("a step of the sweep over {counters} counters in us: p50, p99, p99.9, p99.99, longest; a pass in ms");
    println!("  nothing is spent    {looks:?}");
    println!("  everything is spent {frees:?}");
    println!("  longest pause by the store's own count: {} us", stats.longest_pause.as_ns() / 1_000);
}

/// A pass: percentiles of its steps in microseconds, and its length in milliseconds.
fn steps(limiter: &Limiter, now: Timestamp) -> ([f64; 5], f64) {
    let (mut latencies, begun) = (Latencies::default(), Instant::now());
    let passes = limiter.store().sweep_stats().passes;
    while limiter.store().sweep_stats().passes == passes {
        let begun = Instant::now();
        limiter.store().sweep_step(now);
        latencies.add(begun.elapsed().as_nanos());
    }
    (latencies.percentiles().map(|ns| f64::from(ns / 100) / 10.0), begun.elapsed().as_secs_f64() * 1e3)
}
