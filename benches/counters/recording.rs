//! What recordings cost a decision: without the possibility, switched off, of all checks, of one in a hundred, and with nobody who
//! reads.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tidegate::limiter::{Limiter, WorkerSlot};
use tidegate::recording::{POLL_MS, Reader, Recordings, Selection};
use tidegate::service::{Batch, Call};
use tidegate::units::Timestamp;

use crate::Scale;
use crate::decisions::filled;
use crate::numbers::{Spread, in_turns};
use crate::traffic::{BATCH, NOW, Values, encoded, nanoseconds_each, time};

/// What is recorded while decisions are measured.
const RECORDED: [&str; 5] =
    ["not possible", "nothing", "all checks", "one check in 100", "all checks, and nobody reads"];
/// The number of counters: those of a working set, so that their memory is not most of what is measured.
const COUNTERS: usize = 10_000;

pub(crate) fn run(scale: Scale) {
    let counters = COUNTERS.min(scale.counters);
    let (limiter, recordings) = (filled(counters), Arc::new(Recordings::new(1)));
    let (mut values, mut random) = (vec![Values::default(); BATCH], SmallRng::seed_from_u64(3));
    let rounds = in_turns(scale.rounds, RECORDED.len(), |recorded| {
        with_reader(&recordings, recorded, || {
            let recordings = (recorded > 0).then_some(&*recordings);
            let timed = |values: &[Values]| answers(&limiter, recordings, values);
            nanoseconds_each(&mut random, counters, scale.checks, &mut values, timed)
        })
    });
    println!("1 thread, {counters} counters, read, decide and write, ns each and ratio to a build without recordings:");
    for (recorded, ns) in RECORDED.iter().zip(&rounds) {
        println!("  recorded: {recorded}: {}, ratio {}", Spread::new(ns.clone()), Spread::ratio(ns, &rounds[0]));
    }
}

fn answers(limiter: &Limiter, recordings: Option<&Recordings>, values: &[Values]) -> u128 {
    let requests: Vec<_> = values.iter().map(|values| encoded(&values.check())).collect();
    time(|| {
        let batch = Batch::new(limiter, WorkerSlot(0), NOW);
        let batch = match recordings {
            Some(recordings) => batch.recorded_by(recordings),
            None => batch,
        };
        for request in &requests {
            black_box(batch.decide(Call::default(), black_box(request)).unwrap());
        }
    })
}

/// Measures while a recording runs, if one is to; its reader is a thread of its own, as in the server.
fn with_reader<T>(recordings: &Arc<Recordings>, recorded: usize, measure: impl FnOnce() -> T) -> T {
    let one_in = match recorded {
        2 | 4 => NonZeroU32::MIN,
        3 => NonZeroU32::new(100).unwrap(),
        _ => return measure(),
    };
    let mut reader = recordings.start(Selection { one_in, ..Selection::everything() }).unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (reads, stop) = (recorded != 4, &stop);
        let reading = scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                if reads {
                    read(&mut reader);
                }
                thread::sleep(Duration::from_millis(POLL_MS));
            }
        });
        let measured = measure();
        stop.store(true, Ordering::Relaxed);
        reading.join().unwrap();
        measured
    })
}

fn read(reader: &mut Reader) {
    while !black_box(reader.poll(Timestamp::MAX)).is_empty() {}
}
