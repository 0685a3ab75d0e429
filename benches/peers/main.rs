//! The cost of a decision compared with other libraries, and of its parts alone, in one process and in turns.
//!
//! `cargo bench --bench peers [-- PART...]`; `-- --test` (and `cargo test --bench peers`) runs every part with small numbers
//! as a smoke test.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods, clippy::indexing_slicing)]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
#![allow(missing_docs)]

mod codec;
mod contenders;
mod decisions;
mod engine;
mod memory;
#[path = "../measure/numbers.rs"]
mod numbers;
mod picks;
#[path = "../measure/resident.rs"]
mod resident;
mod together;
#[allow(dead_code, reason = "the traffic of every bench")]
#[path = "../measure/traffic.rs"]
mod traffic;

/// The allocator of the server; the others use it too.
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
}

type Part = (&'static str, fn(Scale));

const PARTS: [Part; 5] = [
    ("memory", memory::run),
    ("decisions", decisions::run),
    ("together", together::run),
    ("codec", codec::run),
    ("engine", engine::run),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name, counters] = arguments.as_slice()
        && flag == memory::CHILD
    {
        return memory::child(name, counters.parse().unwrap());
    }
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    // Cargo passes `--bench` to a bench, but not when it runs benches as tests.
    let small = has("--test") || !has("--bench");
    let scale = if small {
        Scale { counters: 1_000, rounds: 1, checks: 1_000 }
    } else {
        Scale { counters: 1_000_000, rounds: 9, checks: 200_000 }
    };
    let none_named = !PARTS.iter().any(|(name, _)| has(name));
    for (name, run) in PARTS.iter().filter(|(name, _)| none_named || has(name)) {
        println!("== {name}");
        run(scale);
    }
}
