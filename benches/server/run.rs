//! One measurement: the result of `tidegate bench` for a server under a load.

use serde::Deserialize;

use crate::contender::Server;
use crate::cores;
use crate::load::{Load, Shape, TIDEGATE, printed};

/// One run in the output of the generator.
#[derive(Debug, Deserialize)]
pub(crate) struct Run {
    pub(crate) checks: u64,
    pub(crate) checks_per_second: f64,
    ok: u64,
    over_limit: u64,
    errors: u64,
    pub(crate) latency_us: Latency,
    pub(crate) server: ServerCost,
    pub(crate) generator: GeneratorCost,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ServerCost {
    pub(crate) cpu_us_per_check: f64,
    pub(crate) resident_bytes: f64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct GeneratorCost {
    pub(crate) cpu_us_per_check: f64,
}

#[derive(Deserialize)]
struct Report {
    runs: Vec<Run>,
}

impl Load {
    /// Runs the load against this server.
    pub(crate) fn run(&self, server: &Server) -> Run {
        let mut command = cores::on(&self.cores, TIDEGATE);
        command.args(["bench", "--json", "--addr", &format!("http://{}", server.grpc)]);
        command.args(["--server-pid", &server.id().to_string()]);
        command.args(["--duration", &self.duration, "--warmup", &self.warmup]);
        command.args(["--connections", &self.shape.connections.to_string()]);
        command.args(["--streams", &self.shape.streams.to_string()]);
        if let Some(rate) = self.rate {
            command.args(["--rate", &format!("{rate:.0}")]);
        }
        command.args(self.traffic());
        let text = printed(command);
        let report: Report = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let run = report.runs.into_iter().next().unwrap();
        assert_eq!(run.over_limit, 0, "{}: {run:?}", server.kind);
        // A small run shows that everything works: on a busy machine, some of its scheduled checks are answered too late.
        let may_be_late = self.is_small && self.rate.is_some();
        let is_complete = run.ok == run.checks && run.errors == 0;
        assert!(run.ok > 0 && (is_complete || may_be_late), "{}: not every check was answered: {run:?}", server.kind);
        run
    }

    /// Sends checks until nearly every key has a counter: eight times as many uniform checks miss one key in 3,000.
    pub(crate) fn fill(&self, server: &Server) {
        let load = Self { rate: None, distribution: "uniform".to_owned(), shape: FILLING, ..self.clone() };
        let mut asked = 0;
        while asked < 8 * self.keys as u64 {
            asked += load.run(server).checks * self.descriptors as u64;
        }
        let counters = server.counters();
        assert!(counters >= self.keys * 99 / 100, "{counters} counters for {} keys", self.keys);
        println!("{}: {counters} counters", server.kind);
    }
}

/// The shape that creates counters fastest.
const FILLING: Shape = Shape { connections: 4, streams: 64 };
