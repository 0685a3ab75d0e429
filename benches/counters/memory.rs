//! Bytes per counter: how much the process grows, next to what the store says.
//!
//! Each measurement has a process of its own: what one leaves to the allocator would help the next.

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
    /// By the process's resident pages.
    pub(crate) resident: f64,
    /// By `Memory::occupancy`.
    pub(crate) booked: f64,
}

pub(crate) fn run(scale: Scale) {
    println!("fixed_window; three entries whose values (32 bytes) are all in the name; aim: 140 bytes");
    let aim = 140.0;
    // A hash table's share of empty slots goes up and down with its size: from one doubling to the next.
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

/// What a counter of this limit takes, filled as full as the limit allows.
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

/// Every counter with that many hits, each at an instant of its own; the counters take turns, as in traffic.
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

/// When the counters get their n-th hit.
fn instant(n: usize) -> Timestamp {
    NOW.plus(Nanos::from_ns(Nanos::MILLISECOND.as_ns() * n as u64))
}

/// The number behind `requests_per_unit`.
pub(crate) fn logged_hits(limit: &str) -> usize {
    limit.rsplit(' ').next().unwrap().parse().unwrap()
}
