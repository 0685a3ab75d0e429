//! What is compared, and one measurement of it.

use crate::engines::Engine;
use crate::fleet::{Fleet, GENERATOR, SERVERS, printed};
use crate::reference::{self, Sent};
use crate::{Options, cores, cpu};

/// A way to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    /// Each replica on its own, without a store.
    Memory,
    /// Parts of the limits lent to replicas.
    Leased,
    /// Each hit in the store, of windows: plain commands.
    ExactWindows,
    /// Each hit in the store, of sliding windows: a script.
    ExactOthers,
    /// The commands of envoyproxy/ratelimit for each check: INCRBY and EXPIRE in a pipeline of their own, by 10 connections for each replica.
    Reference,
}

/// The engine, alone on its port.
pub(crate) struct Lab {
    engine: Engine,
    process: u32,
}

/// What checks cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) checks_per_second: f64,
    /// Microseconds of CPU for each check.
    pub(crate) engine: f64,
    /// The same of all replicas; of the reference's commands: of the client that sends them.
    pub(crate) replicas: f64,
    /// Counters in requests to the store, for each check.
    pub(crate) key_operations: f64,
    /// The part of checks that was denied; nothing is known of it where there is no decision.
    pub(crate) denied: f64,
    /// Checks that were not answered in time, of an open loop.
    pub(crate) unanswered: f64,
    /// Microseconds; 0 where they are not measured.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Lab {
    /// The engine moves to its core.
    pub(crate) fn new(engine: Engine) -> Self {
        let info: String = engine.run(&["INFO", "server"]);
        let process = info.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap().trim().parse().unwrap();
        cpu::keep_on(SERVERS, process);
        Self { engine, process }
    }

    /// What is run, and the nanoseconds of CPU that it takes the engine and `others`.
    fn costs<T>(&self, others: impl Fn() -> u64, run: impl FnOnce() -> T) -> (T, [u64; 2]) {
        let now = || [cpu::nanoseconds(self.process), others()];
        let before = now();
        let done = run();
        let after = now();
        (done, [0, 1].map(|i| after[i].saturating_sub(before[i])))
    }
}

impl Contender {
    pub(crate) const ALL: [Self; 5] =
        [Self::Memory, Self::Leased, Self::ExactWindows, Self::ExactOthers, Self::Reference];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Leased => "leased",
            Self::ExactWindows => "exact, windows",
            Self::ExactOthers => "exact, others",
            Self::Reference => "reference",
        }
    }

    /// Measures it with an empty engine, after the warm-up.
    pub(crate) fn measure(self, options: &Options, lab: &Lab, rate: Option<u64>) -> Measured {
        lab.engine.run::<()>(&["FLUSHALL"]);
        match self {
            Self::Reference => reference_commands(options, lab, rate),
            _ => self.replicas(options, lab, rate),
        }
    }

    fn replicas(self, options: &Options, lab: &Lab, rate: Option<u64>) -> Measured {
        let url = lab.engine.url();
        let store = (self != Self::Memory).then_some(url.as_str());
        let fleet = Fleet::start(options, &self.rules(options.limit), store);
        fleet.run(options, &options.warmup, rate);
        let asked = fleet.key_operations();
        let (run, [engine, replicas]) =
            lab.costs(|| fleet.nanoseconds(), || fleet.run(options, &options.duration, rate));
        let each = |number: u64| number as f64 / run.checks as f64;
        Measured {
            checks_per_second: run.checks_per_second,
            engine: each(engine) / 1e3,
            replicas: each(replicas) / 1e3,
            key_operations: each(fleet.key_operations() - asked),
            denied: each(run.over_limit),
            unanswered: run.errors as f64,
            p50: run.latency_us.p50,
            p99: run.latency_us.p99,
        }
    }

    /// One rule, whose counters are those of the generator's keys, and the one that it asks about first, to see whether it is answered for its rules.
    fn rules(self, limit: u32) -> String {
        let sharing = if self == Self::Leased { "leased" } else { "exact" };
        let sharing = if self == Self::Memory { String::new() } else { format!("sharing: {sharing}\n") };
        let algorithm = if self == Self::ExactOthers { ", algorithm: sliding_window" } else { "" };
        format!(
            "domain: bench
{sharing}descriptors:
- key: k0
  descriptors:
  - key: k1
    descriptors:
    - key: k2
      rate_limit: {{unit: minute, requests_per_unit: {limit}{algorithm}}}
- key: k0
  value: over-limit
  descriptors:
  - key: k1
    descriptors:
    - key: k2
      rate_limit: {{unit: minute, requests_per_unit: 0}}
"
        )
    }
}

fn reference_commands(options: &Options, lab: &Lab, rate: Option<u64>) -> Measured {
    let run = |duration: &str| -> Sent {
        let mut client = cores::on(&[GENERATOR], std::env::current_exe().unwrap());
        client.args(reference::arguments(options, lab.engine.port, duration, rate));
        serde_json::from_str(&printed(client)).unwrap()
    };
    run(&options.warmup);
    let (sent, [engine, _]) = lab.costs(|| 0, || run(&options.duration));
    let each = |number: u64| number as f64 / sent.checks as f64;
    Measured {
        checks_per_second: sent.checks as f64 / sent.seconds,
        engine: each(engine) / 1e3,
        replicas: each(sent.cpu_ns) / 1e3,
        key_operations: 1.0,
        denied: 0.0,
        unanswered: 0.0,
        p50: 0.0,
        p99: 0.0,
    }
}
