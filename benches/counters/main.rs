//! The cost of a million live counters: memory, decisions per second, pauses of the sweep, and each algorithm.
//!
//! `cargo bench --bench counters [-- PART...]`; `-- --test` (and `cargo test --bench counters`) runs every part with small
//! numbers as a smoke test; `-- --ten-million` adds the sweep of 10,000,000 counters. Every number is printed next to the one
//! that it is compared with, measured in the same run, in turns.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods, clippy::indexing_slicing)]
#![allow(clippy::needless_for_each, clippy::redundant_closure_for_method_calls)]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
#![allow(missing_docs)]

mod algorithms;
mod decisions;
mod flush;
mod joint;
mod latencies;
mod memory;
#[path = "../measure/numbers.rs"]
mod numbers;
mod observers;
mod recording;
#[path = "../measure/resident.rs"]
mod resident;
mod rules;
mod settings;
mod sweep;
#[path = "../measure/traffic.rs"]
mod traffic;

/// The allocator of the server, because memory is measured too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The scale of the measurements.
#[derive(Clone, Copy)]
struct Scale {
    /// Live counters.
    counters: usize,
    /// Rounds of each comparison; the median and the spread are printed.
    rounds: usize,
    /// Checks of one round.
    checks: usize,
    /// Sweep ten million counters too.
    ten_million: bool,
}

type Part = (&'static str, fn(Scale));

const PARTS: [Part; 10] = [
    ("memory", memory::run),
    ("decisions", decisions::run),
    ("observers", observers::run),
    ("recording", recording::run),
    ("sweep", sweep::run),
    ("flush", flush::run),
    ("rules", rules::run),
    ("settings", settings::run),
    ("algorithms", algorithms::run),
    ("joint", joint::run),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, kind, counters] = arguments.as_slice()
        && flag == memory::CHILD
    {
        return memory::child(kind, counters.parse().unwrap());
    }
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    // Cargo passes `--bench` to a bench, but not when it runs benches as tests.
    let small = has("--test") || !has("--bench");
    let scale = if small {
        Scale { counters: 2_000, rounds: 1, checks: 2_000, ten_million: false }
    } else {
        Scale { counters: 1_000_000, rounds: 9, checks: 400_000, ten_million: has("--ten-million") }
    };
    let none_named = !PARTS.iter().any(|(name, _)| has(name));
    for (name, run) in PARTS.iter().filter(|(name, _)| none_named || has(name)) {
        println!("== {name}");
        run(scale);
    }
}
