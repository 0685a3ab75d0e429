//! The result of a measurement, for people and for programs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Measured, Pace, Plan, Popularity};

/// The result of all runs of one command.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) target: String,
    pub(crate) seed: u64,
    pub(crate) domain: String,
    pub(crate) descriptors: usize,
    pub(crate) entries: usize,
    pub(crate) keys: u64,
    pub(crate) distribution: &'static str,
    pub(crate) runs: Vec<Run>,
    /// Whether the server denies checks for the limit of 0 in the rules of `--print-rules`, if it answered.
    #[serde(skip)]
    pub(crate) denies_what_it_should: Option<bool>,
}

/// The result of one run. The names of the fields are a stable interface for programs.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) mode: &'static str,
    pub(crate) rate: Option<f64>,
    pub(crate) connections: usize,
    pub(crate) streams: usize,
    pub(crate) seconds: f64,
    pub(crate) checks: u64,
    /// Answers per second until the end.
    pub(crate) checks_per_second: f64,
    pub(crate) ok: u64,
    pub(crate) over_limit: u64,
    pub(crate) errors: u64,
    /// By the reason.
    pub(crate) errors_by_kind: BTreeMap<String, Errors>,
    /// Checks that were due at the end of an open loop and not yet sent.
    pub(crate) backlog: u64,
    pub(crate) reconnects: u64,
    pub(crate) latency_us: Latency,
    pub(crate) server: Option<Server>,
    pub(crate) generator: Generator,
    /// The reason why a connection was opened again the first time.
    #[serde(skip)]
    pub(crate) reconnected_because: Option<String>,
    /// Why the server's cost is unknown although it was requested.
    #[serde(skip)]
    pub(crate) server_error: Option<String>,
    /// The share of the time in which the generator's threads were busy.
    #[serde(skip)]
    pub(crate) generator_busy: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Errors {
    pub(crate) count: u64,
    /// The message of the first one.
    pub(crate) said: String,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
    pub(crate) mean: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Server {
    pub(crate) cpu_us_per_check: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) resident_bytes: u64,
    /// When checks began to count.
    pub(crate) resident_bytes_before: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Generator {
    pub(crate) cpu_us_per_check: f64,
}

impl Report {
    pub(crate) fn new(plan: &Plan) -> Self {
        let traffic = &plan.traffic;
        let distribution = match traffic.popularity {
            Popularity::Uniform => "uniform",
            Popularity::Zipf { .. } => "zipf",
        };
        Self {
            target: plan.url(),
            seed: plan.seed,
            domain: traffic.domain.clone(),
            descriptors: traffic.descriptors,
            entries: traffic.entries,
            keys: traffic.keys,
            distribution,
            runs: Vec::new(),
            denies_what_it_should: None,
        }
    }

    pub(crate) fn add(&mut self, plan: &Plan, measured: &Measured) {
        self.runs.push(Run::new(plan, measured));
    }

    /// One JSON object, indented.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Whether nothing was measured.
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The answers per second of the last run.
    pub(crate) fn checks_per_second(&self) -> f64 {
        self.runs.last().map_or(0.0, |run| run.checks_per_second)
    }

    /// Whether any check was answered.
    pub(crate) fn has_answers(&self) -> bool {
        self.runs.iter().any(|run| run.ok + run.over_limit > 0)
    }
}

impl Run {
    #[allow(clippy::cast_precision_loss)] // LiveCounts far below 2^53.
    fn new(plan: &Plan, measured: &Measured) -> Self {
        let stats = &measured.stats;
        // Later answers caused their cost later.
        let (checks, answered) = (stats.checks(), stats.in_time);
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
        let kinds = stats.failures.iter();
        let at = |quantile| stats.latency_ns.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            mode,
            rate,
            connections: plan.connections,
            streams: plan.streams,
            seconds: measured.seconds,
            checks,
            checks_per_second: answered as f64 / measured.seconds,
            ok: stats.ok,
            over_limit: stats.over_limit,
            errors: stats.errors(),
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
                max: stats.latency_ns.max() as f64 / 1e3,
                mean: stats.latency_ns.mean() / 1e3,
            },
            server,
            generator: Generator { cpu_us_per_check: each_us(measured.generator_cpu_ns) },
            reconnected_because: measured.reconnected_because.clone(),
            server_error: measured.server.as_ref().and_then(|server| server.as_ref().err()).cloned(),
            generator_busy: measured.generator_cpu_ns as f64 / 1e9 / measured.seconds / plan.threads as f64,
        }
    }
}
