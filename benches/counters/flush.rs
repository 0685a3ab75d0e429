//! The effect on decisions of a flush of counters that have all been changed.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tidegate::limiter::{Limiter, WorkerSlot};
use tidegate::store::TakingRoom;

use crate::Scale;
use crate::decisions::filled;
use crate::latencies::Latencies;
use crate::traffic::{NOW, Values};

pub(crate) fn run(scale: Scale) {
    let limiter = filled(scale.counters);
    limiter.store().track_changes(true);
    let (mut quiet, mut during) = (Latencies::default(), Latencies::default());
    let (mut decisions, mut flushes) = (0, Vec::new());
    for _ in 0..scale.rounds {
        change_all(&limiter, scale.counters);
        let decided;
        (decided, flushes) = during_a_flush(&limiter, scale, &mut during, flushes);
        decisions += decided;
        // All are marked as changed, as many decisions, and no flush.
        change_all(&limiter, scale.counters);
        measure(&limiter, scale, &mut quiet, |count| count < decided);
    }
    let (quiet, during) = (quiet.percentiles(), during.percentiles());
    let flush = flushes.iter().sum::<Duration>() / u32::try_from(flushes.len()).unwrap();
    println!("{} flushes of {} changed counters, {flush:?} each; {decisions} decisions", flushes.len(), scale.counters);
    println!("a decision in ns, with the clock: p50, p99, p99.9, p99.99, longest");
    println!("  without a flush   {quiet:?}");
    println!("  during a flush    {during:?}");
    println!(
        "  ratios            {:?}",
        std::array::from_fn::<_, 5, _>(|i| (u64::from(during[i]) * 100 / u64::from(quiet[i].max(1))) as f64 / 100.0)
    );
}

/// Charges each counter once.
fn change_all(limiter: &Limiter, counters: usize) {
    let (view, mut values) = (limiter.view().unwrap(), Values::default());
    for counter in 0..counters {
        values.set(counter);
        black_box(view.check(WorkerSlot(0), NOW, &values.check()));
    }
}

/// Decides for as long as another thread copies the changed counters as a flush does. Returns the number of decisions.
fn during_a_flush(
    limiter: &Limiter,
    scale: Scale,
    latencies: &mut Latencies,
    mut flushes: Vec<Duration>,
) -> (usize, Vec<Duration>) {
    let is_done = AtomicBool::new(false);
    let decided = thread::scope(|scope| {
        let flush = scope.spawn(|| {
            let (begun, store) = (Instant::now(), limiter.store());
            let (mut room, mut block) = (TakingRoom::default(), Vec::with_capacity(2 * BLOCK_BYTES));
            for step in 0..store.export_steps() {
                store.take_changed(step, NOW, NOW, &mut room, |key, _| block.extend_from_slice(key));
                // In place of writing it.
                if block.len() >= BLOCK_BYTES {
                    black_box(&block);
                    block.clear();
                }
            }
            let took = begun.elapsed();
            is_done.store(true, Ordering::Relaxed);
            took
        });
        let decided = measure(limiter, scale, latencies, |_| !is_done.load(Ordering::Relaxed));
        flushes.push(flush.join().unwrap());
        decided
    });
    (decided, flushes)
}

fn measure(limiter: &Limiter, scale: Scale, latencies: &mut Latencies, goes_on: impl Fn(usize) -> bool) -> usize {
    let (mut random, mut values, mut count) = (SmallRng::seed_from_u64(2), Values::default(), 0);
    let view = limiter.view().unwrap();
    while goes_on(count) {
        values.set(random.random_range(0..scale.counters));
        let begun = Instant::now();
        black_box(view.check(WorkerSlot(0), NOW, &values.check()));
        latencies.add(begun.elapsed().as_nanos());
        count += 1;
    }
    count
}

/// A flush copies about as much before it writes.
const BLOCK_BYTES: usize = 256 << 10;
