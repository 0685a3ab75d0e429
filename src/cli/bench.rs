//! `tidegate bench`: exit status 0, or 1 when nothing was measured or no check was answered.

mod report;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};

use super::{complain, print};
use crate::load::{self, Arrivals, MAX_KEYS, Measured, Pace, Plan, Popularity, Process, Traffic};
use crate::net::Address;
use crate::settings::duration;
use report::Report;

/// What to measure, and how.
#[derive(Args, Clone, Debug)]
pub(super) struct Bench {
    /// The service: http://HOST:PORT or unix:/PATH
    #[arg(long, env = "TIDEGATE_ADDR", value_name = "URL", default_value = "http://127.0.0.1:8081")]
    addr: String,

    /// Connections to the service
    #[arg(long, env = "TIDEGATE_CONNECTIONS", value_name = "COUNT", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,

    /// Checks under way on each connection, at most
    ///
    /// In a closed loop so many always are. The service may allow fewer.
    #[arg(long, env = "TIDEGATE_STREAMS", value_name = "COUNT", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    streams: u32,

    /// Open loop: checks a second over all connections, whatever the answers do; several rates are run one after the other
    ///
    /// A thread then looks at its sockets without rest while checks are due more often than every 2 ms: it takes a core.
    #[arg(long, env = "TIDEGATE_RATE", value_name = "RATE,...", value_delimiter = ',', value_parser = rate)]
    rate: Vec<f64>,

    /// How the checks of an open loop are spread over time: at the same distance, or as independent callers come
    #[arg(long, env = "TIDEGATE_ARRIVALS", value_name = "HOW", value_enum, default_value_t = Spread::Even)]
    arrivals: Spread,

    /// How long checks count, in each run
    #[arg(long, env = "TIDEGATE_DURATION", value_name = "DURATION", default_value = "10s", value_parser = length)]
    duration: Duration,

    /// How long checks are sent before, without counting
    #[arg(long, env = "TIDEGATE_WARMUP", value_name = "DURATION", default_value = "2s", value_parser = duration)]
    warmup: Duration,

    /// How many keys there are, each with a counter of its own
    #[arg(long, env = "TIDEGATE_KEYS", value_name = "COUNT", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=MAX_KEYS))]
    keys: u64,

    /// Which keys are asked for how often
    #[arg(long, env = "TIDEGATE_DISTRIBUTION", value_name = "WHICH", value_enum, default_value_t = Distribution::Uniform)]
    distribution: Distribution,

    /// zipf: the n-th key is asked for in proportion to 1 / n^S
    #[arg(long, env = "TIDEGATE_EXPONENT", value_name = "S", default_value_t = 1.0, value_parser = exponent)]
    exponent: f64,

    /// The domain of the rules
    #[arg(long, env = "TIDEGATE_DOMAIN", value_name = "NAME", default_value = "bench")]
    domain: String,

    /// Descriptors of each check, each with a key of its own
    #[arg(long, env = "TIDEGATE_DESCRIPTORS", value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    descriptors: u16,

    /// Entries of each descriptor: k0, k1 and so on
    #[arg(long, env = "TIDEGATE_ENTRIES", value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=30))]
    entries: u16,

    /// The share of checks, from 0 to 1, for what is limited to nothing: they are to be denied
    #[arg(long, env = "TIDEGATE_OVER_LIMIT", value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    over_limit: f64,

    /// Threads that send, among which the connections are dealt out
    #[arg(long, env = "TIDEGATE_THREADS", value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    threads: u16,

    /// The service's process on this machine: tells what a check costs it, and its memory
    #[arg(long, env = "TIDEGATE_SERVER_PID", value_name = "PID")]
    server_pid: Option<u32>,

    /// Print the result as JSON
    #[arg(long, env = "TIDEGATE_JSON", value_parser = BoolishValueParser::new())]
    json: bool,

    /// Draw latency over load, as SVG; without --rate, at 10 % to 90 % of what a closed loop reaches
    #[arg(long, env = "TIDEGATE_CHART", value_name = "FILE")]
    chart: Option<PathBuf>,

    /// Print the rules that the service needs for these checks, and do nothing else
    #[arg(long, env = "TIDEGATE_PRINT_RULES", value_parser = BoolishValueParser::new())]
    print_rules: bool,

    /// The same seed gives the same checks [default: by chance, and told]
    #[arg(long, env = "TIDEGATE_SEED", value_name = "NUMBER")]
    seed: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Distribution {
    Uniform,
    Zipf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Spread {
    Even,
    Poisson,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  tidegate bench --print-rules > rules.yaml         # rules that fit, for this service or envoyproxy/ratelimit
  tidegate serve --config rules.yaml &
  tidegate bench --server-pid $!                    # the most it can do, and what a check costs it
  tidegate bench --rate 20000                       # how soon it answers at 20,000 checks a second
  tidegate bench --rate 10000,20000,40000 --chart latency.svg
  tidegate bench --connections 64 --streams 1 --keys 1000000 --distribution zipf --json

On one machine, give both sides cores of their own, or they measure each other:
  taskset -c 0 tidegate serve --config rules.yaml --workers 1
  taskset -c 1 tidegate bench

Exit status: 0 when checks were answered, 1 when none was or nothing was measured, 2 when the command line is wrong.";

impl Bench {
    pub(super) fn run(self) -> ExitCode {
        if self.print_rules {
            print(self.traffic().rules().trim_end());
            return ExitCode::SUCCESS;
        }
        match self.measure() {
            Ok(report) => {
                print(&report.json());
                if report.has_answers() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
            }
            Err(error) => {
                complain(&format!("error: {error}"));
                ExitCode::FAILURE
            }
        }
    }

    fn measure(&self) -> Result<Report, String> {
        let plan = self.plan()?;
        let mut report = Report::new(&plan);
        for pace in self.paces() {
            let plan = Plan { pace, ..plan.clone() };
            report.add(&plan, &self.run_once(&plan)?);
        }
        Ok(report)
    }

    fn paces(&self) -> Vec<Pace> {
        let arrivals = match self.arrivals {
            Spread::Even => Arrivals::Even,
            Spread::Poisson => Arrivals::Poisson,
        };
        if self.rate.is_empty() {
            return vec![Pace::Closed];
        }
        self.rate.iter().map(|rate| Pace::Open { rate: *rate, arrivals }).collect()
    }

    fn run_once(&self, plan: &Plan) -> Result<Measured, String> {
        let stop = AtomicBool::new(false);
        load::run(plan, &|| stop.load(Ordering::Relaxed), &mut |_| {}).map_err(|error| error.to_string())
    }

    fn traffic(&self) -> Traffic {
        Traffic {
            domain: self.domain.clone(),
            descriptors: self.descriptors.into(),
            entries: self.entries.into(),
            keys: self.keys,
            popularity: match self.distribution {
                Distribution::Uniform => Popularity::Uniform,
                Distribution::Zipf => Popularity::Zipf { exponent: self.exponent },
            },
            over_limit: self.over_limit,
        }
    }

    fn plan(&self) -> Result<Plan, String> {
        let addr = self.addr.strip_prefix("http://").unwrap_or(&self.addr);
        let addr = addr.strip_suffix('/').filter(|_| !addr.starts_with("unix:")).unwrap_or(addr);
        let target: Address = addr.parse().map_err(|error| format!("--addr {}: {error}", self.addr))?;
        let server = match self.server_pid {
            Some(pid) => Some(Process::of(pid).map_err(|error| format!("--server-pid {pid}: {error}"))?),
            None => None,
        };
        Ok(Plan {
            target,
            traffic: self.traffic(),
            pace: Pace::Closed,
            connections: self.connections.into(),
            streams: usize::try_from(self.streams).unwrap_or(usize::MAX),
            threads: self.threads.min(self.connections).into(),
            warmup: self.warmup,
            duration: self.duration,
            seed: self.seed.unwrap_or_else(by_chance),
            server,
        })
    }
}

/// The standard library keys each of its maps by chance.
fn by_chance() -> u64 {
    RandomState::new().build_hasher().finish() >> 32
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "expected checks a second, such as 20000".to_owned())?;
    if (0.01..=1e9).contains(&rate) { Ok(rate) } else { Err("expected 0.01 to 1000000000 checks a second".to_owned()) }
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "expected a share, such as 0.1".to_owned())?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("expected a share from 0 to 1".to_owned()) }
}

fn exponent(text: &str) -> Result<f64, String> {
    let exponent: f64 = text.parse().map_err(|_| "expected a number, such as 1.0".to_owned())?;
    if (0.0..=100.0).contains(&exponent) { Ok(exponent) } else { Err("expected 0 to 100".to_owned()) }
}

fn length(text: &str) -> Result<Duration, String> {
    let length = duration(text)?;
    let range = Duration::from_millis(1)..=Duration::from_hours(24);
    if range.contains(&length) { Ok(length) } else { Err("expected 1ms to 24h".to_owned()) }
}
