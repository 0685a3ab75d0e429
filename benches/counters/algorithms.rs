//! The cost of a counter of each algorithm, compared with a fixed window.

use std::cell::Cell;
use std::hint::black_box;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tidegate::limiter::{Limiter, WorkerSlot};
use tidegate::units::{Nanos, Timestamp};

use crate::Scale;
use crate::memory::{Bytes, fill, logged_hits, measure};
use crate::numbers::{Spread, in_turns};
use crate::traffic::{BATCH, NOW, Values, limiter, nanoseconds_each, one_rule, time};

const LIMITS: [(&str, &str); 8] = [
    ("fixed_window", "PERIOD, requests_per_unit: 1000000"),
    ("fixed_window, first_request", "starts: first_request, PERIOD, requests_per_unit: 1000000"),
    ("fixed_window with a ban", "ban: 1m, PERIOD, requests_per_unit: 1000000"),
    ("sliding_window", "algorithm: sliding_window, PERIOD, requests_per_unit: 1000000"),
    ("token_bucket", "algorithm: token_bucket, PERIOD, requests_per_unit: 1000000"),
    ("sliding_log of 10", "algorithm: sliding_log, PERIOD, requests_per_unit: 10"),
    ("sliding_log of 100", "algorithm: sliding_log, PERIOD, requests_per_unit: 100"),
    ("sliding_log of 1000", "algorithm: sliding_log, PERIOD, requests_per_unit: 1000"),
];

/// The number of logged hits in all: 160 MB of them.
const MOST_HITS: usize = 10_000_000;

pub(crate) fn run(scale: Scale) {
    let hourly = |limit: &str| limit.replace("PERIOD", "unit: hour");
    let bytes = LIMITS.map(|(_, limit)| measure(&hourly(limit), memory_counters(limit, scale.counters)));
    let ns = costs(scale);
    println!("ns a decision and bytes a counter, and their ratios to {}", LIMITS[0].0);
    for (i, (name, limit)) in LIMITS.iter().enumerate() {
        let Bytes { resident, booked } = bytes[i];
        println!(
            "  {name:<28} {} ns, ratio {}; {resident:.0} bytes, ratio {:.2}, {booked:.0} booked ({} counters)",
            Spread::new(ns[i].clone()),
            Spread::ratio(&ns[i], &ns[0]),
            resident / bytes[0].resident,
            memory_counters(limit, scale.counters),
        );
    }
}

fn memory_counters(limit: &str, counters: usize) -> usize {
    if limit.contains("sliding_log") { counters.min(MOST_HITS / logged_hits(limit)) } else { counters }
}

/// The window of a log is a little shorter than its counter takes to fill it, so that it stays full and nearly all hits are
/// admitted.
fn period(limit: &str, counters: usize) -> String {
    if !limit.contains("sliding_log") {
        return "unit: hour".into();
    }
    let interval_us = counters as u64 * STEP.as_ns() / 1_000;
    format!("period: {}ms", (logged_hits(limit) as u64 * interval_us * 9 / 10 / 1_000).max(1))
}

/// Nanoseconds per decision over as many counters of each algorithm, with full logs: one hit is added, one expires.
fn costs(scale: Scale) -> Vec<Vec<f64>> {
    let counters = (scale.counters / 100).max(100);
    let limiters = LIMITS.map(|(_, limit)| limiter(one_rule(&limit.replace("PERIOD", &period(limit, counters)))));
    for (limiter, (_, limit)) in limiters.iter().zip(LIMITS) {
        fill(limiter, counters, if limit.contains("sliding_log") { logged_hits(limit) } else { 1 });
    }
    let mut values = vec![Values::default(); BATCH];
    // Later than the fill, and a little later with each check, so that no two have the same instant.
    let now = Cell::new(NOW.plus(Nanos::from_secs(1)));
    in_turns(scale.rounds, LIMITS.len(), |i| {
        let timed = |values: &[Values]| checks(&limiters[i], &now, values);
        nanoseconds_each(&mut SmallRng::seed_from_u64(4), counters, scale.checks / 2, &mut values, timed)
    })
}

fn checks(limiter: &Limiter, now: &Cell<Timestamp>, values: &[Values]) -> u128 {
    let checks: Vec<_> = values.iter().map(Values::check).collect();
    time(|| {
        for check in &checks {
            now.set(now.get().plus(STEP));
            black_box(limiter.view().unwrap().check(WorkerSlot(0), now.get(), black_box(check)));
        }
    })
}

/// The time between two checks.
const STEP: Nanos = Nanos::from_ns(1_000);
