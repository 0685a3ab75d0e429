//! The table of docs/SHARING.md: what leases cost, and what they hold back.

use std::fmt::Write as _;
use std::{env, fs};

use tidegate::engine::Algorithm;

use super::fleet::{Fleet, Setup};
use super::traffic::Spread;
use super::{CLOCK, FIRST_REQUEST, limit, times};

/// The largest of several spreads and seeds.
#[derive(Clone, Copy, Debug, Default)]
struct Worst {
    under: f64,
    asks: f64,
}

const SPREADS: [Spread; 4] = [Spread::Uniform, Spread::Sticky, Spread::Moving, Spread::Zipf];
const LOADS: [f64; 4] = [0.9, 1.05, 1.5, 3.0];
const HITS: u64 = 20_000;

fn worst(algorithm: Algorithm, max: u32, period_ms: u64, replicas: u32, load: f64) -> Worst {
    let mut worst = Worst::default();
    for spread in SPREADS {
        let (mut under, mut asks) = (0.0, 0.0);
        // As many windows of small limits as hits of large ones.
        let seeds = (HITS / u64::from(max)).clamp(1, 20) * times();
        for seed in 0..seeds {
            let setup = Setup::new(limit(max, period_ms, algorithm), replicas, spread, load, 3, seed);
            let mut ledger = Fleet::run(setup);
            assert_eq!(ledger.excess(), 0, "{setup:?}");
            under += ledger.under_admission() / seeds as f64;
            asks += ledger.asks_per_check() / seeds as f64;
        }
        worst = Worst { under: worst.under.max(under), asks: worst.asks.max(asks) };
    }
    worst
}

#[test]
fn busy_counters_hold_little_back_and_ask_seldom() {
    let mut table = "| limit | replicas | limit / replicas | load 0.9 | 1.05 | 1.5 | 3 |\n\
                     | --- | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for (name, algorithm, max, period_ms, replicas) in [
        ("fixed_window", CLOCK, 1_000, 1_000, 2),
        ("fixed_window", CLOCK, 10_000, 1_000, 2),
        ("fixed_window", CLOCK, 10_000, 1_000, 20),
        ("fixed_window", CLOCK, 25_000, 1_000, 50),
        ("fixed_window", CLOCK, 6_000, 60_000, 10),
        ("fixed_window, first_request", FIRST_REQUEST, 5_000, 1_000, 10),
        ("sliding_window", Algorithm::SlidingWindow, 5_000, 1_000, 10),
        ("sliding_window", Algorithm::SlidingWindow, 10_000, 1_000, 2),
    ] {
        let share = f64::from(max) / f64::from(replicas);
        write!(table, "| {name}, {max} per {} s | {replicas} | {share} |", period_ms / 1_000).unwrap();
        for load in LOADS {
            let Worst { under, asks } = worst(algorithm, max, period_ms, replicas, load);
            write!(table, " {under:.2} % / {asks:.3} |").unwrap();
            let is_sliding = algorithm == Algorithm::SlidingWindow;
            // A sliding window that is used up regains a few hits at a time.
            let (most_under, most_asks) = if is_sliding { (1.0 + 4_000.0 / share, 0.06) } else { (1.0, 0.05) };
            assert!(under < most_under, "{name}, {max}, {replicas}, {load}: {under} % are not admitted");
            assert!(asks < most_asks, "{name}, {max}, {replicas}, {load}: {asks} requests per check");
        }
        table.push('\n');
    }
    if times() == 1 {
        holds("docs/SHARING.md", &table);
    } else {
        println!("{table}");
    }
}

/// Compares the table with the one in the documentation, or writes it there.
fn holds(file: &str, table: &str) {
    let path = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- leases: made by tests/core/lease/table.rs -->\n", "<!-- end of leases -->");
    let (before, rest) = document.split_once(begin).unwrap_or_else(|| panic!("{file} has no line {begin:?}"));
    let (known, after) = rest.split_once(end).unwrap_or_else(|| panic!("{file} has no line {end:?}"));
    if known == table {
        return;
    }
    assert!(env::var_os("UPDATE_DOCS").is_some(), "{file} has another table than this one:\n{table}");
    fs::write(&path, format!("{before}{begin}{table}{end}{after}")).unwrap();
}
