//! Replicas that share counters, at one port: the kernel spreads connections over them.

use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::server::{ReservedPort, TestServer, command, rules_in};
use crate::{Options, cores, cpu, listener};

/// Running replicas, ended when dropped.
pub(crate) struct Fleet {
    servers: Vec<TestServer>,
    port: ReservedPort,
}

/// What the generator, `tidegate bench`, reports.
#[derive(Debug, Deserialize)]
pub(crate) struct Run {
    pub(crate) checks: u64,
    pub(crate) checks_per_second: f64,
    pub(crate) over_limit: u64,
    pub(crate) errors: u64,
    pub(crate) latency_us: Latency,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

#[derive(Deserialize)]
struct Report {
    runs: Vec<Run>,
}

impl Fleet {
    /// Replicas with these rules, which count on this store if there is one, and have reached it.
    pub(crate) fn start(options: &Options, rules: &str, store: Option<&str>) -> Self {
        let port = ReservedPort::new();
        let address = format!("127.0.0.1:{}", port.port);
        let mut flags = vec!["--grpc-addr", &address, "--workers", "1", "--listen-fds"];
        // On one core with everything else, an answer of the store may take longer than a check waits in production.
        flags.extend(store.into_iter().flat_map(|url| ["--store", url, "--store-timeout", "1s"]));
        let start = |_| {
            let dir = tempfile::tempdir().unwrap();
            let program = command(&rules_in(&dir, rules), &flags);
            let mut replica = listener::on(SERVERS, port.port, &program);
            replica.stdout(Stdio::null());
            TestServer::spawn(dir, replica)
        };
        let servers: Vec<_> = (0..options.replicas).map(start).collect();
        if store.is_some() {
            for server in &servers {
                server.log_until("the store answers");
            }
        }
        Self { servers, port }
    }

    /// Nanoseconds of CPU of all replicas.
    pub(crate) fn nanoseconds(&self) -> u64 {
        self.servers.iter().map(|server| cpu::nanoseconds(server.pid())).sum()
    }

    /// Counters in requests to the store so far.
    pub(crate) fn key_operations(&self) -> u64 {
        let of = |server: &TestServer| {
            let series =
                ["exact", "leased"].map(|mode| format!("tidegate_store_key_operations_total{{mode=\"{mode}\"}}"));
            series.iter().map(|series| server.metric(series)).sum::<u64>()
        };
        self.servers.iter().map(of).sum()
    }

    /// Sends checks to the replicas for so long: as many as are answered, or at a rate.
    pub(crate) fn run(&self, options: &Options, duration: &str, rate: Option<u64>) -> Run {
        let mut generator = cores::on(&[GENERATOR], crate::server::binary());
        generator.args(["bench", "--json", "--addr", &format!("http://127.0.0.1:{}", self.port.port)]);
        generator.args(["--duration", duration, "--warmup", "0s", "--distribution", "zipf"]);
        let numbers = [options.keys, options.connections, options.streams];
        for (flag, number) in ["--keys", "--connections", "--streams"].into_iter().zip(numbers) {
            generator.args([flag, &number.to_string()]);
        }
        generator.args(rate.into_iter().flat_map(|rate| ["--rate".to_owned(), rate.to_string()]));
        let report: Report = serde_json::from_str(&printed(generator)).unwrap();
        let run = report.runs.into_iter().next().unwrap();
        // What is due at the end of an open loop may be answered too late.
        assert!(run.checks > 0 && (run.errors == 0 || rate.is_some()), "{run:?}");
        run
    }
}

/// The output of a command, which must succeed.
pub(crate) fn printed(mut command: Command) -> String {
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{command:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The core of the engine and of the replicas.
pub(crate) const SERVERS: usize = 0;
/// The core of what asks them.
pub(crate) const GENERATOR: usize = 1;
