//! The effect of observers on decisions: none, a hundred, and a listener for denials that never reads.
//!
//! Every check is denied, which is the most expensive case: each is offered to the listeners.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tidegate::limiter::{Limiter, WorkerSlot};
use tidegate::usage::TICK_MS;

use crate::Scale;
use crate::decisions::{checks, fill};
use crate::numbers::{Spread, in_turns};
use crate::traffic::{BATCH, Values, limiter, nanoseconds_each, one_rule};

/// The observers while decisions are measured.
const WATCHERS: [&str; 3] = ["nobody", "100 observers, ten reports a second each", "a listener that never reads"];

pub(crate) fn run(scale: Scale) {
    let limiter = limiter(one_rule("unit: hour, requests_per_unit: 1"));
    fill(&limiter, scale.counters);
    let (mut values, mut random) = (vec![Values::default(); BATCH], SmallRng::seed_from_u64(3));
    let rates = in_turns(scale.rounds, WATCHERS.len(), |watcher| {
        watched(&limiter, watcher, || {
            let timed = |values: &[Values]| checks(&limiter, WorkerSlot(0), values);
            1_000.0 / nanoseconds_each(&mut random, scale.counters, scale.checks, &mut values, timed)
        })
    });
    println!("1 thread, every check denied, millions a second");
    for (watcher, rate) in WATCHERS.iter().zip(&rates) {
        println!("  {watcher}: {}, ratio {}", Spread::new(rate.clone()), Spread::ratio(rate, &rates[0]));
    }
}

fn watched<T>(limiter: &Limiter, watcher: usize, measure: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    let listener = (watcher == 2).then(|| limiter.usage().denials().listen());
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                limiter.usage().denials().tick();
                if watcher == 1 {
                    // Ten in a tick: more than a hundred observers cause, because reports that are due together share a reading.
                    (0..10).for_each(|_| drop(std::hint::black_box(limiter.usage().snapshot())));
                }
                thread::sleep(Duration::from_millis(TICK_MS));
            }
        });
        let measured = measure();
        stop.store(true, Ordering::Relaxed);
        drop(listener);
        measured
    })
}
