//! Measures servers in turns, and prints the results.

use crate::contender::{Kind, Server};
use crate::load::Load;
use crate::numbers::{Spread, in_turns};
use crate::run::Run;

/// Servers that are paused unless they are measured.
pub(crate) struct Contest(pub(crate) Vec<Server>);

impl Contest {
    /// A server of each kind on the first core, Tidegate with a counter for each key.
    pub(crate) fn start(kinds: &[Kind], load: &Load) -> Self {
        let servers = kinds.iter().map(|kind| started(*kind, &[0], load, false));
        Self(servers.collect())
    }

    /// Measures one server while the others are paused.
    pub(crate) fn alone<T>(&self, server: usize, measure: impl FnOnce(&Server) -> T) -> T {
        let server = &self.0[server];
        server.go_on();
        let measured = measure(server);
        server.pause();
        measured
    }

    /// Each server under this load, in turns.
    pub(crate) fn rounds(&self, rounds: usize, load: &Load) -> Vec<Vec<Run>> {
        in_turns(rounds, self.0.len(), |i| self.alone(i, |server| load.run(server)))
    }

    /// The index of the server that the others are compared with: hyper's, or else the first.
    pub(crate) fn yardstick(&self) -> usize {
        self.0.iter().position(|server| server.kind == YARDSTICK).unwrap_or(0)
    }
}

/// A server that is filled, and paused.
pub(crate) fn started(kind: Kind, cores: &[usize], load: &Load, history: bool) -> Server {
    let server = Server::start(kind, cores, load, history);
    if matches!(kind, Kind::Tidegate | Kind::OnH2) {
        load.fill(&server);
    }
    server.pause();
    server
}

/// The server that the others are compared with.
pub(crate) const YARDSTICK: Kind = Kind::NoOp(crate::no_op::Build::Hyper);

/// A number of each run.
pub(crate) fn each(runs: &[Run], number: fn(&Run) -> f64) -> Vec<f64> {
    runs.iter().map(number).collect()
}

pub(crate) fn cpu(run: &Run) -> f64 {
    run.server.cpu_us_per_check
}

pub(crate) fn rate(run: &Run) -> f64 {
    run.checks_per_second
}

/// The share of one core, in percent: a closed loop measures the process that uses all of it.
fn busy(run: &Run, us_per_check: f64) -> f64 {
    run.checks_per_second * us_per_check / 1e4
}

pub(crate) fn p99(run: &Run) -> f64 {
    run.latency_us.p99
}

/// Prints the cost of each of the `names`; `ratio` is the number that is compared with the yardstick.
pub(crate) fn print(names: &[String], yardstick: usize, runs: &[Vec<Run>], ratio: (&str, fn(&Run) -> f64)) {
    let spread = |runs: &[Run], number| Spread::new(each(runs, number));
    for (name, runs_of) in names.iter().zip(runs) {
        let (what, number) = ratio;
        let ratio = Spread::ratio(&each(runs_of, number), &each(&runs[yardstick], number));
        println!("  {name:<10} {what} to {}: {ratio}", names[yardstick]);
        println!("    server CPU us a check {}, checks a second {}", spread(runs_of, cpu), spread(runs_of, rate));
        println!(
            "    p50 us {}, p99 us {}, p99.9 us {}",
            spread(runs_of, |run| run.latency_us.p50),
            spread(runs_of, p99),
            spread(runs_of, |run| run.latency_us.p999),
        );
        println!(
            "    busy %: server {}, generator {}; generator CPU us a check {}, resident MiB {}",
            spread(runs_of, |run| busy(run, run.server.cpu_us_per_check)),
            spread(runs_of, |run| busy(run, run.generator.cpu_us_per_check)),
            spread(runs_of, |run| run.generator.cpu_us_per_check),
            spread(runs_of, |run| run.server.resident_bytes / f64::from(1 << 20)),
        );
    }
}
