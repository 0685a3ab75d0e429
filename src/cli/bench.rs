//! `tidegate bench`: exit status 0, or 1 when nothing was measured or no check was answered.

mod watch;

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::dial::TlsFlags;
use super::target::{Port, Target};
use super::{complain, print, target};
use crate::bench::report::Report;
use crate::bench::{self, Arrivals, MAX_KEYS, Pace, Plan, Popularity, RunError, StartError, Traffic, chart};
use crate::runtime::Process;
use crate::settings::duration;
use watch::Watch;

/// What to measure, and how.
#[derive(Args, Clone, Debug)]
pub(super) struct Bench {
    /// Address of the service: http://HOST:PORT, https://HOST:PORT or unix:/PATH
    ///
    /// With https:// the sending threads encrypt too, which is in their CPU time and in the latencies.
    #[arg(long, env = "TIDEGATE_ADDR", value_name = "URL", default_value = "http://127.0.0.1:8081", value_parser = target::parse)]
    addr: Target,

    #[command(flatten)]
    tls: TlsFlags,

    /// Number of connections to the service
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,

    /// Maximum number of checks in flight per connection
    ///
    /// A closed loop keeps that many in flight all the time. The service may allow fewer.
    #[arg(long, value_name = "COUNT", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    streams: u32,

    /// Open loop: checks per second over all connections; several rates are run one after the other
    ///
    /// Above 500 checks per second, a thread polls its sockets without pause, which takes a core.
    #[arg(long, value_name = "RATE,...", value_delimiter = ',', value_parser = rate)]
    rate: Vec<f64>,

    /// Arrival process of an open loop: evenly spaced, or Poisson as from independent callers
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Spread::Even)]
    arrivals: Spread,

    /// Length of the measurement, per run
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = length)]
    duration: Duration,

    /// Length of the warm-up before each measurement
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    warmup: Duration,

    /// Number of keys, each with its own counter
    #[arg(long, value_name = "COUNT", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=MAX_KEYS))]
    keys: u64,

    /// Distribution of the checks over the keys
    #[arg(long, value_name = "WHICH", value_enum, default_value_t = Distribution::Uniform)]
    distribution: Distribution,

    /// Exponent of zipf: the n-th key is requested in proportion to 1 / n^S [default: 1.0]
    #[arg(long, value_name = "S", value_parser = exponent)]
    exponent: Option<f64>,

    /// The domain of the rules
    #[arg(long, value_name = "NAME", default_value = "bench")]
    domain: String,

    /// Number of descriptors per check, each with its own key
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    descriptors: u16,

    /// Number of entries per descriptor: k0, k1 and so on
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=30))]
    entries: u16,

    /// Share of checks, 0 to 1, that match a limit of 0 and are denied
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    over_limit: f64,

    /// Number of sending threads; the connections are distributed over them
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    threads: u16,

    /// Process id of the service on this machine: adds its CPU time per check and its memory to the result
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,

    /// Write a chart of latency over load (SVG); without --rate, for 10 % to 90 % of the maximum throughput
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,

    /// Print the rules that the service needs for these checks, and exit
    #[arg(long)]
    print_rules: bool,

    /// Seed of the random checks; the same seed gives the same checks [default: random, and printed]
    #[arg(long, value_name = "NUMBER")]
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
        let plan = match self.plan() {
            Ok(plan) => plan,
            Err(error) => {
                complain(&format!("error: {error}"));
                return ExitCode::from(WRONG_COMMAND_LINE);
            }
        };
        let (report, failed) = self.measure(&plan);
        if !report.is_empty() {
            print(&if self.json { report.json() } else { report.to_string() });
            report.remarks(&plan).iter().for_each(|remark| complain(&format!("warning: {remark}")));
        }
        let drawn = match &self.chart {
            Some(path) if failed.is_none() => chart::write(path, &report),
            _ => Ok(()),
        };
        match failed.or(drawn.err()) {
            Some(error) => {
                complain(&format!("error: {error}"));
                ExitCode::FAILURE
            }
            None if report.has_answers() => ExitCode::SUCCESS,
            None => ExitCode::FAILURE,
        }
    }

    /// All runs, one after the other, until one fails.
    fn measure(&self, plan: &Plan) -> (Report, Option<String>) {
        let mut report = Report::new(plan);
        let watch = Watch::start();
        report.denies_what_it_should = match bench::denies_what_it_should(plan) {
            Ok(denies) => denies,
            Err(error) => return (report, Some(describe(&error))),
        };
        let mut paces: VecDeque<Pace> = match self.rate.as_slice() {
            [] => VecDeque::from([Pace::Closed]),
            rates => rates.iter().map(|rate| self.open(*rate)).collect(),
        };
        while let Some(pace) = paces.pop_front() {
            let plan = Plan { pace, ..plan.clone() };
            match watch.run(&plan) {
                Ok(measured) => report.add(&plan, &measured),
                // Earlier results are still reported.
                Err(RunError::TooEarly) if !report.is_empty() => break,
                Err(error) => return (report, Some(describe(&error))),
            }
            if watch.is_interrupted() {
                break;
            }
            if self.chart.is_some() && pace == Pace::Closed {
                let most = report.checks_per_second();
                paces.extend((1..=9).map(|tenths| self.open((most * f64::from(tenths) / 10.0).max(1.0).round())));
            }
        }
        (report, None)
    }

    fn open(&self, rate: f64) -> Pace {
        let arrivals = match self.arrivals {
            Spread::Even => Arrivals::Even,
            Spread::Poisson => Arrivals::Poisson,
        };
        Pace::Open { rate, arrivals }
    }

    fn traffic(&self) -> Traffic {
        Traffic {
            domain: self.domain.clone(),
            descriptors: self.descriptors.into(),
            entries: self.entries.into(),
            keys: self.keys,
            popularity: match self.distribution {
                Distribution::Uniform => Popularity::Uniform,
                Distribution::Zipf => Popularity::Zipf { exponent: self.exponent.unwrap_or(1.0) },
            },
            over_limit: self.over_limit,
        }
    }

    fn plan(&self) -> Result<Plan, String> {
        self.check()?;
        let server = match self.server_pid {
            Some(pid) => Some(Process::with_pid(pid).map_err(|error| no_process(pid, &error))?),
            None => None,
        };
        Ok(Plan {
            target: self.addr.address().clone(),
            tls: self.tls.client(&self.addr)?,
            traffic: self.traffic(),
            pace: Pace::Closed,
            connections: self.connections.into(),
            streams: usize::try_from(self.streams).unwrap_or(usize::MAX),
            threads: self.threads.into(),
            warmup: self.warmup,
            duration: self.duration,
            seed: self.seed.unwrap_or_else(by_chance),
            server,
        })
    }

    /// Rejects options that cannot be combined.
    fn check(&self) -> Result<(), String> {
        let open = !self.rate.is_empty() || self.chart.is_some();
        let wrong = if self.threads > self.connections {
            "--threads must not be more than --connections, because each thread needs a connection of its own"
        } else if self.exponent.is_some() && self.distribution == Distribution::Uniform {
            "--exponent applies only to --distribution zipf"
        } else if self.arrivals == Spread::Poisson && !open {
            "--arrivals applies only to an open loop: add --rate"
        } else if self.chart.is_some() && self.rate.len() == 1 {
            "--chart needs several rates to draw a line: --rate 10000,20000,40000, or none at all"
        } else {
            return Ok(());
        };
        Err(wrong.to_owned())
    }
}

/// The error, with a hint.
fn describe(error: &RunError) -> String {
    let hint = match error {
        RunError::Start { error: StartError::Connect(error), .. } => Port::CHECKS.hint(error),
        RunError::Start { error: StartError::Protocol(_), .. } => Port::CHECKS.not_grpc(),
        _ => String::new(),
    };
    format!("{error}{hint}")
}

fn no_process(pid: u32, error: &io::Error) -> String {
    let hint = match error.kind() {
        io::ErrorKind::NotFound => "no such process on this machine (pidof tidegate prints the id)",
        io::ErrorKind::PermissionDenied => "the process belongs to another user",
        _ => "the cost of a process is available only on Linux",
    };
    format!("--server-pid {pid}: {error}: {hint}")
}

/// A random number: the standard library makes random keys for each of its maps.
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

const WRONG_COMMAND_LINE: u8 = 2;
