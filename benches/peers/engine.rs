//! One step of each algorithm: from a counter's state and a hit to the outcome and the next state, without a store.

use std::hint::black_box;

use tidegate::engine::{
    Algorithm, Ban, BanWhen, Cell, CountDenied, Limit, Log, Op, Outcome, Queue, QueueMode, Starts, log, step,
};
use tidegate::units::{Nanos, Timestamp};

use crate::Scale;
use crate::numbers::{Spread, in_turns};
use crate::traffic::{BATCH, NOW, time};

pub(crate) fn run(scale: Scale) {
    let cases = cases();
    let ns = in_turns(scale.rounds, cases.len(), |i| typical(scale, &cases[i].1));
    println!("a step in ns over {BATCH} counters in the processor's cache; median (least to most), and the ratio:");
    for ((name, _), of) in cases.iter().zip(&ns) {
        println!("  {name:<28} {}, {} times {}", Spread::new(of.clone()), Spread::ratio(of, &ns[0]), cases[0].0);
    }
}

fn cases() -> Vec<(&'static str, Limit)> {
    let limit = |algorithm| Limit {
        max: 1_000_000_000,
        window: Nanos::from_secs(3_600),
        algorithm,
        ban: None,
        count_denied: CountDenied::Never,
    };
    let clock = limit(Algorithm::FixedWindow { starts: Starts::Clock });
    let bucket = |size| {
        let queue = Queue { size, mode: QueueMode::Advise };
        limit(Algorithm::TokenBucket { burst: 1_000_000_000, queue })
    };
    // Windows a little shorter than it takes to fill the log: one hit is added, one expires.
    let log = |max: u32| Limit {
        max,
        window: Nanos::from_ns(STEP.as_ns() * BATCH as u64 * u64::from(max) * 9 / 10),
        ..limit(Algorithm::SlidingLog)
    };
    let ban = Some(Ban { length: Nanos::from_secs(60), when: BanWhen::Exceeded });
    vec![
        ("fixed_window", clock),
        ("fixed_window, first_request", limit(Algorithm::FixedWindow { starts: Starts::FirstRequest })),
        ("fixed_window with a ban", Limit { ban, ..clock }),
        ("fixed_window, denied", Limit { max: 0, ..clock }),
        ("sliding_window", limit(Algorithm::SlidingWindow)),
        ("token_bucket", bucket(0)),
        ("token_bucket with a queue", bucket(1_000)),
        ("sliding_log of 10", log(10)),
        ("sliding_log of 100", log(100)),
        ("sliding_log of 1000", log(1_000)),
    ]
}

/// Nanoseconds per step, from the median batch.
fn typical(scale: Scale, limit: &Limit) -> f64 {
    if limit.algorithm == Algorithm::SlidingLog {
        let mut logs = vec![Log::default(); BATCH];
        let charge = |log: &mut Log, now| log::step(black_box(limit), log, now, Op::Charge(1), true);
        batches(scale, limit.max as usize, |now| logs.iter_mut().map(|log| charge(log, now)).for_each(take))
    } else {
        let mut cells = [Cell::FRESH; BATCH];
        let charge = |cell: &mut Cell, now| {
            let (outcome, next) = step(black_box(limit), *cell, now, Op::Charge(1));
            *cell = next;
            outcome
        };
        batches(scale, 1, |now| cells.iter_mut().map(|cell| charge(cell, now)).for_each(take))
    }
}

/// Runs batches; `before` ones are not timed, and fill the logs.
fn batches(scale: Scale, before: usize, mut batch: impl FnMut(Timestamp)) -> f64 {
    let count = scale.checks.div_ceil(BATCH);
    let lengths = (0..before + count).map(|n| {
        let now = NOW.plus(Nanos::from_ns(STEP.as_ns() * (n * BATCH) as u64));
        time(|| batch(black_box(now))) as f64 / BATCH as f64
    });
    Spread::new(lengths.skip(before).collect()).median()
}

#[allow(clippy::needless_pass_by_value)]
fn take(outcome: Outcome) {
    black_box(outcome);
}

/// The time between two checks.
const STEP: Nanos = Nanos::from_ns(1_000);
