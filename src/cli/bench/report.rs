//! What was measured, for people and for programs.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::load::{Measured, Pace, Plan, Popularity};

/// All runs of one call.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    target: String,
    seed: u64,
    domain: String,
    descriptors: usize,
    entries: usize,
    keys: u64,
    distribution: &'static str,
    runs: Vec<Run>,
}

/// One run. The names are an interface: programs read them.
#[derive(Debug, Serialize)]
struct Run {
    mode: &'static str,
    rate: Option<f64>,
    connections: usize,
    streams: usize,
    seconds: f64,
    checks: u64,
    checks_per_second: f64,
    ok: u64,
    over_limit: u64,
    errors: u64,
    /// By the reason.
    errors_by_kind: BTreeMap<String, Errors>,
    /// Checks that were due at the end of an open loop and not yet sent.
    backlog: u64,
    reconnects: u64,
    latency_us: Latency,
    server: Option<Server>,
    generator: Generator,
    #[serde(skip)]
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Errors {
    count: u64,
    /// What was said with the first one.
    said: String,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
    mean: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Server {
    cpu_us_per_check: f64,
    cpu_seconds: f64,
    resident_bytes: u64,
    /// When checks began to count.
    resident_bytes_before: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Generator {
    cpu_us_per_check: f64,
}

impl Report {
    pub(super) fn new(plan: &Plan) -> Self {
        let traffic = &plan.traffic;
        let distribution = match traffic.popularity {
            Popularity::Uniform => "uniform",
            Popularity::Zipf { .. } => "zipf",
        };
        Self {
            target: plan.target.to_string(),
            seed: plan.seed,
            domain: traffic.domain.clone(),
            descriptors: traffic.descriptors,
            entries: traffic.entries,
            keys: traffic.keys,
            distribution,
            runs: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, plan: &Plan, measured: &Measured) {
        self.runs.push(Run::new(plan, measured));
    }

    /// One JSON object, indented.
    pub(super) fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Whether any check was answered.
    pub(super) fn has_answers(&self) -> bool {
        self.runs.iter().any(|run| run.ok + run.over_limit > 0)
    }
}

impl Run {
    #[allow(clippy::cast_precision_loss)] // Counts far below 2^53.
    fn new(plan: &Plan, measured: &Measured) -> Self {
        let tally = &measured.tally;
        let (checks, answered) = (tally.checks(), tally.ok + tally.over_limit);
        let each_us = |ns: u64| if answered == 0 { 0.0 } else { ns as f64 / 1e3 / answered as f64 };
        let server = measured.server.as_ref().and_then(|server| server.as_ref().ok()).map(|server| Server {
            cpu_us_per_check: each_us(server.cpu_ns),
            cpu_seconds: server.cpu_ns as f64 / 1e9,
            resident_bytes: server.resident_bytes.1,
            resident_bytes_before: server.resident_bytes.0,
        });
        let (mode, rate) = match measured.pace {
            Pace::Closed => ("closed", None),
            Pace::Open { rate, .. } => ("open", Some(rate)),
        };
        let kinds = tally.failures.iter();
        let at = |quantile| tally.latency_ns.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            mode,
            rate,
            connections: plan.connections,
            streams: plan.streams,
            seconds: measured.seconds,
            checks,
            checks_per_second: answered as f64 / measured.seconds,
            ok: tally.ok,
            over_limit: tally.over_limit,
            errors: tally.errors(),
            errors_by_kind: kinds
                .map(|(failure, (count, said))| (failure.to_string(), Errors { count: *count, said: said.clone() }))
                .collect(),
            backlog: measured.backlog,
            reconnects: measured.reconnects,
            latency_us: Latency {
                p50: at(0.5),
                p90: at(0.9),
                p99: at(0.99),
                p999: at(0.999),
                max: tally.latency_ns.max() as f64 / 1e3,
                mean: tally.latency_ns.mean() / 1e3,
            },
            server,
            generator: Generator { cpu_us_per_check: each_us(measured.generator_cpu_ns) },
            warnings: Vec::new(),
        }
    }
}
