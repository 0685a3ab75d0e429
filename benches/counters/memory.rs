//! Bytes per counter: the growth of the process, compared with the store's own count.
//!
//! Each measurement has a process of its own, because memory that one frees in the allocator would be reused by the next.

use std::process::Command;

use tidegate::limiter::{Limiter, WorkerSlot};
use tidegate::units::{Nanos, Timestamp};

use crate::Scale;
use crate::resident::resident_bytes;
use crate::traffic::{NOW, PER_HOUR, Values, limiter, one_rule};

/// The argument that makes this binary measure one thing and print two numbers.
pub(crate) const CHILD: &str = "--one-measurement-of-memory";

/// Bytes per counter.
#[derive(Clone, Copy)]
pub(crate) struct Bytes {
    /// From the resident pages of the process.
    pub(crate) resident: f64,
    /// From `Memory::occupancy`.
    pub(crate) booked: f64,
}

pub(crate) fn run(scale: Scale) {
    println!("fixed_window; three entries whose values (32 bytes) are all in the name; aim: 140 bytes");
    let aim = 140.0;
    // The share of empty slots of a hash table varies with its size: from one doubling to the next.
    let sizes = [8, 5, 6, 7, 10, 12, 14, 16].map(|eighths| scale.counters * eighths / 8);
    for counters in sizes.into_iter().chain(scale.ten_million.then_some(10_000_000)) {
        let Bytes { resident, booked } = measure(PER_HOUR, counters);
        println!(
            "  {counters:>8} counters: {resident:.1} bytes each resident, {booked:.1} booked; ratios {:.2} of the aim, {:.2} resident to booked",
            resident / aim,
            resident / booked
        );
    }
}

/// The memory of a counter of this limit, filled up to the limit.
pub(crate) fn measure(limit: &str, counters: usize) -> Bytes {
    let child =
        Command::new(std::env::current_exe().unwrap()).args([CHILD, limit, &counters.to_string()]).output().unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    let printed = String::from_utf8(child.stdout).unwrap();
    let numbers: Vec<f64> = printed.split_whitespace().map(|number| number.parse().unwrap()).collect();
    Bytes { resident: numbers[0], booked: numbers[1] }
}

/// Prints the bytes per counter, resident and booked.
pub(crate) fn child(limit: &str, counters: usize) {
    let limiter = limiter(one_rule(limit));
    let before = resident_bytes();
    let hits = if limit.contains("sliding_log") { logged_hits(limit) } else { 1 };
    fill(&limiter, counters, hits);
    let occupancy = limiter.store().occupancy();
    assert_eq!(occupancy.counters, counters);
    let each = |bytes: usize| bytes as f64 / counters as f64;
    println!("{} {}", each(resident_bytes().saturating_sub(before)), each(occupancy.bytes));
}

/// Charges every counter with this number of hits, each at a different instant and in turns, as in traffic.
pub(crate) fn fill(limiter: &Limiter, counters: usize, hits: usize) {
    let view = limiter.view().unwrap();
    let mut values = Values::default();
    for hit in 0..hits {
        for n in 0..counters {
            values.set(n);
            view.check(WorkerSlot(0), instant(hit), &values.check());
        }
    }
}

/// The instant of the n-th hit of the counters.
fn instant(n: usize) -> Timestamp {
    NOW.plus(Nanos::from_ns(Nanos::MILLISECOND.as_ns() * n as u64))
}

/// The number of `requests_per_unit`.
pub(crate) fn logged_hits(limit: &str) -> usize {
    limit.rsplit(' ').next().unwrap().parse().unwrap()
}
