//! The whole server over loopback, compared with servers that decide nothing, in one run.
//!
//! `cargo bench --bench server -- [PART...] [OPTION...]`, by default the part `closed`. Servers run on the first core, the
//! generator (`tidegate bench`) on the second. Servers are measured in turns, in reverse order every other time; the others
//! are paused (SIGSTOP). `cargo test --bench server` runs every part with small numbers as a smoke test.
//!
//! The part `envoy` needs an Envoy: `ENVOY_BIN` names it (`./test` installs one). Without it the part says `SKIPPED`.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::panic, clippy::indexing_slicing, clippy::expect_used)]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, missing_docs)]
#![allow(clippy::print_stderr, reason = "the servers of the tests show their logs")]

#[path = "../../tests/envoy/bootstrap.rs"]
#[allow(dead_code, reason = "the tests with Envoy use all of it")]
mod bootstrap;
#[path = "../../tests/envoy/client.rs"]
#[allow(dead_code, reason = "the tests with Envoy use all of it")]
mod client;
mod contender;
mod contest;
mod cores;
#[path = "../measure/cpu.rs"]
#[allow(dead_code, reason = "the bench of shared counters uses all of it")]
mod cpu;
mod envoy;
mod load;
mod looking;
mod no_op;
#[path = "../measure/numbers.rs"]
mod numbers;
mod parts;
#[path = "../../tests/envoy/proxy.rs"]
#[allow(dead_code, reason = "the tests with Envoy use all of it")]
mod proxy;
mod run;
#[path = "../../tests/server/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests of the service use all of it")]
mod server;
mod watchers;

use clap::{Parser, ValueEnum};

use contender::Kind;
use load::{Load, Shape};
use parts::Part;

/// The allocator of Tidegate. Every no-op server is this program, so all of them use it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
struct Options {
    /// What is compared
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Rounds of each comparison
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Connections x streams; the part `closed` takes each of them, the others the first
    #[arg(long, value_delimiter = ',', default_value = "4x32,64x1")]
    settings: Vec<Shape>,
    /// The servers of the parts `closed`, `open` and `rate`: `tidegate`; `tidegate-h2`, with `--http2 h2`; `front-end`, which is
    /// `tidegate` without a rule for the domain of the checks, so that each is read, found without a limit and answered, and no
    /// counter is touched; and the no-ops `hyper`, `tonic` and `h2`, which decode a check with prost and answer OK
    #[arg(long, value_delimiter = ',', default_value = "tidegate,tidegate-h2,front-end,hyper,tonic,h2")]
    servers: Vec<Kind>,
    /// Checks per second of the part `rate`
    #[arg(long, default_value_t = 5_000.0)]
    rate: f64,
    #[arg(long, default_value_t = 1_000_000)]
    keys: usize,
    #[arg(long, default_value = "uniform")]
    distribution: String,
    #[arg(long, default_value_t = 1)]
    descriptors: usize,
    #[arg(long, default_value_t = 3)]
    entries: usize,
    /// Length of one measurement
    #[arg(long, default_value = "10s")]
    duration: String,
    /// Before each measurement
    #[arg(long, default_value = "2s")]
    warmup: String,
    /// Observers in the part of that name
    #[arg(long, default_value_t = 100)]
    observers: usize,
    /// Run everything small; also without `--bench`, which cargo says for a bench
    #[arg(long)]
    test: bool,
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [cores::ROLE, ..] => return cores::become_command(&arguments[1..]),
        [no_op::ROLE, build, workers] => {
            return no_op::run(no_op::Build::from_str(build, false).unwrap(), workers.parse().unwrap());
        }
        _ => {}
    }
    let mut options = Options::parse();
    if options.is_small() {
        options.shrink();
    } else if options.parts.is_empty() {
        options.parts = vec![Part::Closed];
    }
    for part in &options.parts {
        println!("== {}", part.to_possible_value().unwrap().get_name());
        part.run(&options);
    }
}

impl Options {
    fn is_small(&self) -> bool {
        self.test || !self.bench
    }

    fn shrink(&mut self) {
        (self.rounds, self.keys, self.observers) = (1, 1_000, 10);
        (self.duration, self.warmup) = ("100ms".into(), "0s".into());
        if self.parts.is_empty() {
            self.parts = Part::value_variants().to_vec();
        }
    }

    /// The sizes of a part: only the first and the last in a small run.
    fn few(&self, sizes: &[usize]) -> Vec<usize> {
        let few = [sizes[0], sizes[sizes.len() - 1]];
        if self.is_small() { few.to_vec() } else { sizes.to_vec() }
    }

    /// The default load of every part.
    fn load(&self) -> Load {
        Load {
            shape: self.settings[0],
            rate: None,
            keys: self.keys,
            distribution: self.distribution.clone(),
            descriptors: self.descriptors,
            entries: self.entries,
            duration: self.duration.clone(),
            warmup: self.warmup.clone(),
            is_small: self.is_small(),
            cores: vec![1],
        }
    }
}
