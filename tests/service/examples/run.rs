//! Rules, and the answers that `simulate` gives by them.

use std::cell::Cell;
use std::fs;

use serde_json::{Value, json};
use tidegate::limiter::{Limiter, Settings};
use tidegate::rules::{LoadOptions, SourceFile, load};
use tidegate::simulate::{self, Output};
use tidegate::units::Timestamp;

/// Rules in force, with their counters, and the instant of the latest check: reloads come then.
pub(crate) struct Run(Limiter, Cell<Timestamp>);

impl Run {
    pub(crate) fn new(rules: &str) -> Self {
        Self::with(Settings::default(), rules)
    }

    pub(crate) fn with(settings: Settings, rules: &str) -> Self {
        let run = Self(Limiter::new(settings), Cell::default());
        run.reload(rules);
        run
    }

    /// One rule, `api.k`, with this limit in flow style.
    pub(crate) fn limited(limit: &str) -> Self {
        Self::new(&rules_with(limit))
    }

    pub(crate) fn reload(&self, rules: &str) {
        let file = SourceFile { name: "rules.yaml".to_owned(), text: rules.as_bytes().to_vec() };
        let rules = load(&[file], LoadOptions::default()).unwrap_or_else(|errors| panic!("{rules}\n{errors:#?}"));
        self.0.replace_rules(self.1.get(), rules);
    }

    pub(crate) fn trace(&self, trace: &str) -> Vec<Answer> {
        let mut out = Vec::new();
        simulate::run(&self.0, trace.as_bytes(), &mut out, Output::Decisions).unwrap();
        let lines = std::str::from_utf8(&out).unwrap().lines();
        lines.map(|line| Answer(serde_json::from_str(line).unwrap())).collect()
    }

    pub(crate) fn check(&self, check: &Value) -> Answer {
        self.trace(&check.to_string()).remove(0)
    }

    /// A check of the rule `api.k` at that many seconds, as decimal text.
    pub(crate) fn hits(&self, at: &str, hits: u64) -> Answer {
        let (whole, fraction) = at.split_once('.').unwrap_or((at, ""));
        self.1.set(Timestamp::from_ns(format!("{whole}{fraction:0<9}").parse().unwrap()));
        self.check(&json!({"at": at, "domain": "api", "descriptors": [{"entries": [["k", "a"]], "hits": hits}]}))
    }
}

/// A file with one rule, `api.k`, with this limit in flow style.
pub(crate) fn rules_with(limit: &str) -> String {
    format!("domain: api\ndescriptors:\n- key: k\n  rate_limit: {{{limit}}}\n")
}

/// A file of the repository.
pub(crate) fn read(path: &str) -> String {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// One line of what `simulate` prints.
#[derive(Debug)]
pub(crate) struct Answer(Value);

impl Answer {
    pub(crate) fn is_ok(&self) -> bool {
        self.0["code"] == "OK"
    }

    pub(crate) fn delay_ms(&self) -> u64 {
        self.0["delay_ms"].as_u64().unwrap()
    }

    /// The rule that each descriptor matched.
    pub(crate) fn rules(&self) -> Vec<&str> {
        self.statuses().iter().map(|status| status["rule"].as_str().unwrap_or("none")).collect()
    }

    pub(crate) fn remaining(&self) -> Vec<u64> {
        self.statuses().iter().map(|status| status["remaining"].as_u64().unwrap_or(u64::MAX)).collect()
    }

    pub(crate) fn reset_ms(&self) -> u64 {
        self.statuses()[0]["reset_ms"].as_u64().unwrap()
    }

    /// The codes of the statuses, in a word each.
    pub(crate) fn codes(&self) -> Vec<&str> {
        self.statuses().iter().map(|status| status["code"].as_str().unwrap()).collect()
    }

    /// The headers as `Name: value` lines, in order.
    pub(crate) fn headers(&self) -> Vec<String> {
        let headers = self.0["headers"].as_object().unwrap();
        headers.iter().map(|(name, value)| format!("{name}: {}", value.as_str().unwrap())).collect()
    }

    pub(crate) fn body(&self) -> &str {
        self.0["body"].as_str().unwrap()
    }

    fn statuses(&self) -> &[Value] {
        self.0["statuses"].as_array().unwrap()
    }
}
