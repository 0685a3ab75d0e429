//! What a million live counters cost: memory, decisions per second, the sweep's pauses, and each algorithm.
//!
//! `cargo bench --bench counters [-- PART...]`; `-- --test` (and `cargo test --bench counters`) runs every part small,
//! to see that it works; `-- --ten-million` adds the sweep of 10,000,000 counters. Every number stands beside what it
//! is compared with, measured in the same run, the two in turns.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods, clippy::indexing_slicing)]
#![allow(clippy::needless_for_each, clippy::redundant_closure_for_method_calls)]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
#![allow(missing_docs)]

mod algorithms;
mod decisions;
mod joint;
mod latencies;
mod memory;
#[path = "../measure/numbers.rs"]
mod numbers;
mod observers;
#[path = "../measure/resident.rs"]
mod resident;
mod rules;
mod sweep;
#[path = "../measure/traffic.rs"]
mod traffic;

/// As the server has it: what is measured is what it gives.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How much is measured.
#[derive(Clone, Copy)]
struct Scale {
    /// Live counters.
    counters: usize,
    /// Rounds of each comparison, of which the median and the spread are told.
    rounds: usize,
    /// Checks of one round.
    checks: usize,
    /// Sweep ten million counters too.
    ten_million: bool,
}

type Part = (&'static str, fn(Scale));

const PARTS: [Part; 7] = [
    ("memory", memory::run),
    ("decisions", decisions::run),
    ("observers", observers::run),
    ("sweep", sweep::run),
    ("rules", rules::run),
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
    // Cargo says `--bench` for a bench, and nothing when it runs the benches as tests.
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
