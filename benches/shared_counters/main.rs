//! What shared counters cost: replicas on a real engine, next to the same replicas without one and to the commands of envoyproxy/ratelimit.
//!
//! `cargo bench --bench shared -- [PART...] [OPTION...]`, by default both parts. The engine is the one that `REDIS_8_BIN` or
//! `VALKEY_8_BIN` names; without one it says `SKIPPED`. Contenders are measured in turns, in reverse order every other time, each with
//! an empty engine and replicas of its own. The engine and the replicas run on the first core, what asks them on the second.
//! `cargo test --bench shared` runs both parts with small numbers as a smoke test.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::panic, clippy::indexing_slicing, clippy::expect_used)]
#![allow(clippy::disallowed_methods, reason = "it measures")]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, missing_docs)]
#![allow(clippy::print_stderr, reason = "the servers of the tests show their logs")]

mod contender;
#[path = "../server/cores.rs"]
mod cores;
#[path = "../measure/cpu.rs"]
mod cpu;
#[path = "../../tests/engines/mod.rs"]
#[allow(dead_code, unused_imports, reason = "one engine is enough here")]
mod engines;
mod fleet;
mod listener;
#[path = "../measure/numbers.rs"]
mod numbers;
mod print;
mod reference;
#[path = "../../tests/server/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests of the service use all of it")]
mod server;

use clap::{Parser, ValueEnum};

use contender::{Contender, Lab, Measured};
use engines::{Engine, Kind};
use numbers::in_turns;

/// The allocator of Tidegate, for the client of the reference's commands.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A part of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// As many checks as are answered.
    Closed,
    /// A fixed number of checks a second (`--rate`).
    Open,
}

#[derive(Clone, Debug, Parser)]
pub(crate) struct Options {
    /// What is compared
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Rounds of each comparison
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Processes that share the counters
    #[arg(long, default_value_t = 10)]
    pub(crate) replicas: usize,
    /// Connections to the replicas together, which the kernel spreads over them
    #[arg(long, default_value_t = 40)]
    pub(crate) connections: usize,
    /// Checks in flight on each connection
    #[arg(long, default_value_t = 32)]
    pub(crate) streams: usize,
    /// Checks per second of the part `open`, of all replicas together
    #[arg(long, default_value_t = 50_000)]
    pub(crate) rate: u64,
    /// Counters, which are picked by zipf with the exponent 1
    #[arg(long, default_value_t = 1_000)]
    pub(crate) keys: usize,
    /// Limit of each counter, per minute
    #[arg(long, default_value_t = 6_000)]
    pub(crate) limit: u32,
    /// Length of one measurement
    #[arg(long, default_value = "10s")]
    pub(crate) duration: String,
    /// Before each measurement; leases have found their size after a window, `60s`
    #[arg(long, default_value = "10s")]
    pub(crate) warmup: String,
    /// Run everything small; also without `--bench`, which cargo says for a bench
    #[arg(long)]
    test: bool,
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some(cores::ROLE) => return cores::become_command(&arguments[1..]),
        Some(listener::ROLE) => return listener::become_command(&arguments[1..]),
        Some(reference::ROLE) => return reference::run(&arguments[1..]),
        _ => {}
    }
    let mut options = Options::parse();
    if options.test || !options.bench {
        options.shrink();
    }
    if options.parts.is_empty() {
        options.parts = Part::value_variants().to_vec();
    }
    let Some(kind) = [Kind::Redis8, Kind::Valkey8].into_iter().find(|kind| kind.find().is_ok()) else {
        println!("SKIPPED: shared: neither REDIS_8_BIN nor VALKEY_8_BIN names an engine (./test installs them)");
        return;
    };
    let lab = Lab::new(Engine::start(kind));
    for part in options.parts.clone() {
        println!("== {} on {kind:?}, {} replicas", part.to_possible_value().unwrap().get_name(), options.replicas);
        part.run(&options, &lab);
    }
}

impl Part {
    fn run(self, options: &Options, lab: &Lab) {
        let rate = (self == Self::Open).then_some(options.rate);
        let contenders = self.contenders();
        let measure = |i: usize| contenders[i].measure(options, lab, rate);
        let measured: Vec<Vec<Measured>> = in_turns(options.rounds, contenders.len(), measure);
        print::all(contenders, &measured);
    }

    const fn contenders(self) -> &'static [Contender] {
        match self {
            Self::Closed => &Contender::ALL,
            Self::Open => &[Contender::Memory, Contender::Leased, Contender::Reference],
        }
    }
}

impl Options {
    fn shrink(&mut self) {
        (self.rounds, self.replicas, self.connections, self.streams) = (1, 2, 4, 8);
        (self.keys, self.rate) = (100, 1_000);
        (self.duration, self.warmup) = ("200ms".into(), "100ms".into());
    }
}
