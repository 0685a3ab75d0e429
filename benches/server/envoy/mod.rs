//! A real Envoy in front of Tidegate, which is asked at fixed rates: what a check costs there, and the latency that the rate limit filter adds.
//!
//! Tidegate runs on the first core; Envoy and what asks it share the second. The same requests to the same Envoy go through a listener
//! without the filter, through one that asks Tidegate with `--http2 lean`, and through one that asks it with `--http2 h2`, in turns.

mod gateway;
mod requests;

use std::time::Duration;

use tempfile::TempDir;

use crate::contender::{Kind, Server};
use crate::contest::Contest;
use crate::load::Load;
use crate::numbers::{Spread, in_turns};
use crate::proxy::{self, Envoy};
use crate::{Options, cores, cpu};
use requests::Clients;

/// The part of the bench.
pub(crate) fn run(options: &Options) {
    let binary = match proxy::find() {
        Ok(binary) => binary,
        Err(why) => return println!("SKIPPED: envoy: {why}"),
    };
    let load = Load { descriptors: 1, ..options.load() };
    let contest = Contest::start(&[Kind::Tidegate, Kind::OnH2], &load);
    let servers: Vec<_> =
        contest.0.iter().map(|server| (server.kind.to_string(), server.grpc.parse().unwrap())).collect();
    let dir = TempDir::new().unwrap();
    let bootstrap = gateway::bootstrap(&servers, load.entries, dir.path());
    let envoy = Envoy::start_by(cores::on(&ENVOY, binary), dir.path(), &bootstrap, 1);
    let names = [gateway::WITHOUT, &servers[0].0, &servers[1].0];
    let clients = names.map(|name| {
        let listener = envoy.listener(name).unwrap();
        Clients::of(listener, CONNECTIONS, load.keys, load.entries)
    });
    let mut lab = Lab { contest, envoy, clients };
    let [warmup, duration] = [&load.warmup, &load.duration].map(|text| humantime::parse_duration(text).unwrap());
    println!(
        "open loop, even intervals, {CONNECTIONS} connections to Envoy (1 worker), {} uniform keys, a descriptor of {} entries; median (least to most)",
        load.keys, load.entries
    );
    for rate in options.few(&RATES) {
        let measure = |way| lab.measure(way, rate as f64, warmup, duration);
        let measured = in_turns(options.rounds, names.len(), measure);
        println!("{rate} requests a second");
        print(&measured);
    }
}

/// What runs.
struct Lab {
    /// Tidegate with `--http2 lean` and `--http2 h2`.
    contest: Contest,
    envoy: Envoy,
    /// Of the listener without the filter, and of one for each Tidegate.
    clients: [Clients; 3],
}

/// One measurement of one listener.
struct Measured {
    p50: f64,
    p99: f64,
    per_second: f64,
    /// Microseconds of CPU a request.
    envoy: f64,
    /// Microseconds of CPU a check; 0 without one.
    tidegate: f64,
    /// Microseconds of CPU a request, of what sends them.
    generator: f64,
}

impl Lab {
    fn measure(&mut self, way: usize, rate: f64, warmup: Duration, duration: Duration) -> Measured {
        let Self { contest, envoy, clients } = self;
        let mut send = |tidegate: Option<&Server>| {
            clients[way].send(rate, warmup);
            let checked = envoy.stat(CHECKED);
            let cpu = || [Some(envoy.process.id()), tidegate.map(Server::id)].map(|id| id.map_or(0, cpu::nanoseconds));
            let before = cpu();
            let answers = clients[way].send(rate, duration);
            let after = cpu();
            let checked = envoy.stat(CHECKED) - checked;
            assert_eq!(
                checked,
                if tidegate.is_some() { answers.count() as u64 } else { 0 },
                "requests that were checked"
            );
            let [envoy, tidegate] = [0, 1].map(|i| (after[i] - before[i]) as f64 / 1e3 / answers.count() as f64);
            let generator = answers.cpu_ns as f64 / 1e3 / answers.count() as f64;
            let [p50, p99] = [0.5, 0.99].map(|share| answers.quantile(share));
            Measured { p50, p99, per_second: answers.per_second, envoy, tidegate, generator }
        };
        match way.checked_sub(1) {
            None => send(None),
            Some(tidegate) => contest.alone(tidegate, |server| send(Some(server))),
        }
    }
}

/// Each listener, and what the filter adds to the one without.
fn print(measured: &[Vec<Measured>]) {
    let each = |way: usize, number: fn(&Measured) -> f64| measured[way].iter().map(number).collect::<Vec<_>>();
    let spread = |way, number| Spread::new(each(way, number));
    let added = |way, number| {
        let pairs = each(way, number).into_iter().zip(each(0, number));
        Spread::new(pairs.map(|(with, without)| with - without).collect())
    };
    for (way, name) in ["without the filter", "--http2 lean", "--http2 h2"].into_iter().enumerate() {
        println!("  {name:<18} p50 us {}, p99 us {}", spread(way, |run| run.p50), spread(way, |run| run.p99));
        if way > 0 {
            let added = [added(way, |run: &Measured| run.p50), added(way, |run: &Measured| run.p99)];
            println!("    the filter adds: p50 us {}, p99 us {}", added[0], added[1]);
            let ratio = Spread::ratio(&each(way, |run| run.tidegate), &each(2, |run| run.tidegate));
            println!("    Tidegate CPU us a check {}, to h2: {ratio}", spread(way, |run| run.tidegate));
        }
        let (envoy, per_second) = (spread(way, |run| run.envoy), spread(way, |run| run.per_second));
        let busy = spread(way, |run| run.per_second * (run.envoy + run.generator) / 1e4);
        println!(
            "    Envoy CPU us a request {envoy}, requests a second {per_second}; busy %: the core of Envoy and the generator {busy}"
        );
    }
}

/// Requests a second.
const RATES: [usize; 3] = [1_000, 3_000, 5_000];
/// Of Envoy and its clients.
const ENVOY: [usize; 1] = [1];
/// Far more than are under way at these rates, unless something stops.
const CONNECTIONS: usize = 32;
/// Envoy's counter of checks that were answered with OK.
const CHECKED: &str = "cluster.service.ratelimit.ok";
