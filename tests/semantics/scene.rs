//! One limiter on a virtual clock.

use std::cell::Cell;

use prost::Message;

use tidegate::api::proto::envoy::service::ratelimit::v3::RateLimitRequest;
use tidegate::api::rls::read;
use tidegate::limiter::{Code, Decision, Limiter, Settings, Status, WorkerSlot};
use tidegate::rules::{self, LoadOptions, RuleSet, SourceFile, Unit};
use tidegate::service::response::metadata;
use tidegate::units::Timestamp;
use tidegate::usage::{Measure, Totals};

use crate::script::{self, Answer, Line, limit_text, time_text};
use crate::wire;

/// Runs a script on a virtual clock; if all of it comes at one instant, against a running server too.
#[track_caller]
pub(crate) fn check(config: &str, script: &str) {
    check_with(Settings::default(), config, script);
}

/// The same, with settings other than the defaults.
#[track_caller]
pub(crate) fn check_with(settings: Settings, config: &str, script: &str) {
    Scene::with(settings, config).run(script);
    wire::check(settings, config, &script::read(script));
}

/// One limiter.
pub(crate) struct Scene {
    limiter: Limiter,
    /// The instant of the latest check: reloads come then.
    now: Cell<Timestamp>,
}

impl Scene {
    /// A limiter with this configuration and the default settings.
    #[track_caller]
    pub(crate) fn new(config: &str) -> Self {
        Self::with(Settings::default(), config)
    }

    #[track_caller]
    pub(crate) fn with(settings: Settings, config: &str) -> Self {
        // A few counters with a series of their own and the others without: the sums are the same.
        let limiter = Limiter::new(Settings { usage_series: settings.usage_series.max(3), ..settings });
        limiter.replace_rules(Timestamp::EPOCH, load(config));
        Self { limiter, now: Cell::default() }
    }

    /// Puts another configuration in place.
    #[track_caller]
    pub(crate) fn reload(&self, config: &str) -> &Self {
        self.limiter.replace_rules(self.now.get(), load(config));
        self
    }

    /// Asks every check of the script, and compares every answer.
    #[track_caller]
    pub(crate) fn run(&self, script: &str) -> &Self {
        let mut wrong = Vec::new();
        for line in script::read(script) {
            for time in 1..=line.times {
                let got = self.ask(&line);
                if !line.expected.is_met_by(&got) {
                    let Line { text, expected, at, .. } = &line;
                    let now = at.as_ns();
                    wrong.push(format!("{text}\n  now {now} ns, time {time}\n  expected {expected}\n  got      {got}"));
                    break;
                }
            }
        }
        assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
        self
    }

    /// How many checks of the script are admitted, whatever it expects.
    pub(crate) fn admitted(&self, script: &str) -> u32 {
        let lines = script::read(script);
        let asked = lines.iter().flat_map(|line| (0..line.times).map(move |_| line));
        asked.map(|line| u32::from(self.ask(line).overall.starts_with("OK"))).sum()
    }

    /// What the script adds to all series together.
    #[track_caller]
    pub(crate) fn run_and_diff(&self, script: &str) -> String {
        let before = self.sums();
        self.run(script);
        let counts = COUNTS
            .iter()
            .zip(self.sums().into_iter().zip(before))
            .map(|((word, _), (now, before))| (*word, now - before));
        nonzero(counts)
    }

    fn sums(&self) -> Vec<u64> {
        let series = self.limiter.usage().series_usage();
        let sum = |(_, count): &(&str, Count)| series.iter().map(|series| count(&series.totals)).sum();
        COUNTS.iter().map(sum).collect()
    }

    fn ask(&self, line: &Line) -> Answer {
        self.decide(line.at, &line.request, |decision| Answer {
            overall: overall(decision),
            statuses: Some(decision.statuses.iter().map(status).collect()),
        })
    }

    fn decide<T>(&self, now: Timestamp, request: &RateLimitRequest, report: impl FnOnce(&Decision<'_>) -> T) -> T {
        self.now.set(now);
        let bytes = request.encode_to_vec();
        let check = read(&bytes).unwrap();
        let view = self.limiter.view().unwrap();
        report(&view.check(WorkerSlot::default(), now, &check))
    }

    /// The `dynamic_metadata` of the answer to one check, as JSON; the line's own answer is not looked at.
    pub(crate) fn metadata(&self, script: &str) -> serde_json::Value {
        let line = &script::read(script)[0];
        let bytes = line.request.encode_to_vec();
        let check = read(&bytes).unwrap();
        self.decide(line.at, &line.request, |decision| json(metadata::build(&check, decision, true).unwrap()))
    }

    /// Compares every series that counted anything: `rule: checks 3, hits 3, within 3`, one a line.
    #[track_caller]
    pub(crate) fn counted(&self, expected: &str) -> &Self {
        let series = self.limiter.usage().series_usage();
        let reported = series.iter().map(|series| format!("{}: {}", series.labels.rule, totals_text(&series.totals)));
        let got: Vec<_> = reported.filter(|line| !line.ends_with(": ")).collect();
        let expected: Vec<_> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        assert_eq!(got, expected, "\ngot\n{}\n", got.join("\n"));
        self
    }

    pub(crate) fn limiter(&self) -> &Limiter {
        &self.limiter
    }
}

/// `domain: d` and these descriptors.
pub(crate) fn domain(descriptors: &str) -> String {
    format!("domain: d\ndescriptors:\n{descriptors}")
}

/// The rules of a configuration.
#[track_caller]
pub(crate) fn load(config: &str) -> RuleSet {
    let file = SourceFile { name: "rules.yaml".into(), text: config.into() };
    rules::load(&[file], LoadOptions::default()).unwrap_or_else(|errors| panic!("\n{config}\n{errors:#?}"))
}

fn overall(decision: &Decision<'_>) -> String {
    let mut text = code(decision.code).to_owned();
    for (word, delay) in [("hold", decision.delay), ("advise", decision.advice)] {
        if !delay.is_zero() {
            text = format!("{text} {word}={}", time_text(delay.as_millis_ceil()));
        }
    }
    text
}

fn status(status: &Status<'_>) -> String {
    let code = code(status.code);
    let rule = status.rule.map_or("-", |rule| rule.path.as_str());
    let Some(limit) = &status.limit else {
        return if status.unlimited { format!("{code} {rule} unlimited") } else { format!("{code} -") };
    };
    let name = if limit.name.is_empty() { String::new() } else { format!(" #{}", limit.name) };
    let text = limit_text(limit.requests_per_unit, limit.unit.map(Unit::name), limit.multiplier);
    format!("{code} {rule} {text} {} {}{name}", status.remaining, time_text(status.reset.as_millis_ceil()))
}

fn code(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::OverLimit => "OVER_LIMIT",
    }
}

fn totals_text(totals: &Totals) -> String {
    nonzero(COUNTS.iter().map(|(word, count)| (*word, count(totals))))
}

fn nonzero<'a>(counts: impl Iterator<Item = (&'a str, u64)>) -> String {
    let reported = counts.filter(|(_, n)| *n > 0).map(|(word, n)| format!("{word} {n}"));
    reported.collect::<Vec<_>>().join(", ")
}

fn json(metadata: prost_types::Struct) -> serde_json::Value {
    let fields = metadata.fields.into_iter().map(|(key, value)| (key, json_value(value)));
    serde_json::Value::Object(fields.collect())
}

fn json_value(value: prost_types::Value) -> serde_json::Value {
    use prost_types::value::Kind;
    match value.kind.unwrap() {
        Kind::NullValue(_) => serde_json::Value::Null,
        Kind::NumberValue(number) => number.into(),
        Kind::StringValue(text) => text.into(),
        Kind::BoolValue(truth) => truth.into(),
        Kind::StructValue(fields) => json(fields),
        Kind::ListValue(list) => list.values.into_iter().map(json_value).collect(),
    }
}

type Count = fn(&Totals) -> u64;

const COUNTS: [(&str, Count); 11] = [
    ("checks", Totals::requests),
    ("hits", Totals::hits),
    ("over", |totals| totals.get(Measure::HitsOverLimit)),
    ("near", |totals| totals.get(Measure::HitsNearLimit)),
    ("within", |totals| totals.get(Measure::HitsWithinLimit)),
    ("shadow", |totals| totals.get(Measure::HitsShadowDenied)),
    ("denied", |totals| totals.get(Measure::RequestsDenied)),
    ("queued", |totals| totals.get(Measure::RequestsQueued)),
    ("banned", |totals| totals.get(Measure::DeniedBanned)),
    ("refunded", |totals| totals.get(Measure::HitsRefunded)),
    ("no_room", |totals| totals.get(Measure::DeniedNoRoom)),
];
