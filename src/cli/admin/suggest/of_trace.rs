//! Numbers from a trace, which are exact; the trace is replayed once more with all of them.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use super::{Failure, Suggest, Suggestions};
use crate::api::usage::time;
use crate::cli::admin::time::instant;
use crate::engine::{Algorithm, CountDenied, Limit, Starts};
use crate::limiter::{Code, Limiter, Settings, WorkerSlot};
use crate::rules::{self, LoadOptions, Rule, RuleLimit, RuleSet, SourceFile};
use crate::simulate::{self, Note, SimulateError, TraceItem};
use crate::suggest::{Basis, LimitReport, LimitRequests, Peaks, Snippet, Suggested, Traffic, from_requests};
use crate::units::{Nanos, Timestamp};

/// When the checks of a trace came.
#[derive(Clone, Copy, Default)]
struct Span {
    first: Option<Timestamp>,
    last: Timestamp,
    checks: u64,
}

impl Suggest {
    /// Finds the numbers for a trace.
    pub(super) fn by_trace(&self, trace: &Path) -> Result<Suggestions, Failure> {
        let Some((rules, mut warnings)) = self.rules()? else {
            return Err(Failure::NoAnswer("--trace needs the rules whose numbers are to be found: PATH".to_owned()));
        };
        let (mut traffic, mut span, mut too_many) = (Traffic::new(&rules), Span::default(), None);
        let notes = read(trace, |TraceItem { now, check, .. }| {
            span = Span { first: span.first.or(Some(now)), last: now, checks: span.checks + 1 };
            too_many = too_many.or(traffic.add(now, &check).err());
        })?;
        if let Some(error) = too_many {
            return Err(Failure::NoAnswer(error.to_string()));
        }
        let seen = |rule: &&Rule| of_any_limit(&traffic, rule).is_some();
        let mut domains: Vec<_> = rules.rules().iter().filter(seen).map(|rule| &*rule.domain).collect();
        domains.dedup();
        let name = self.domain(domains.into_iter())?;
        let Some(domain) = rules.domain(&name) else { return Err(Failure::NoAnswer(format!("no domain {name}"))) };
        let seconds = span.last.since(span.first.unwrap_or_default()).as_secs_ceil();
        let (mut snippet, reports) = self.snippet(&rules, domain, |rule, limit| report(rule, limit, &traffic, seconds));
        let span_of = |at: Timestamp| instant(&time(at));
        snippet.head = vec![
            format!("tidegate suggest, from the trace {}:", trace.display()),
            format!(
                "{} checks from {} to {} ({})",
                span.checks,
                span_of(span.first.unwrap_or_default()),
                span_of(span.last),
                Nanos::from_secs(seconds)
            ),
            format!("each limit is the least that would have denied at most {} of its requests, exactly", self.share()),
        ];
        warnings.extend(of_notes(&notes));
        snippet.head.extend(of_notes(&notes).map(|warning| format!("warning: {warning}")));
        let replayed = replay(trace, &snippet, &name)?;
        snippet.head.push(replayed);
        Ok(Suggestions { snippet, reports, warnings })
    }
}

fn read(trace: &Path, mut take: impl FnMut(TraceItem<'_>)) -> Result<Vec<Note>, Failure> {
    let file = File::open(trace).map_err(|error| Failure::NoAnswer(format!("--trace {}: {error}", trace.display())))?;
    let notes = simulate::read(BufReader::new(file), |item| {
        take(item);
        Ok(())
    });
    notes.map_err(|error: SimulateError| Failure::NoAnswer(format!("--trace {}: {error}", trace.display())))
}

fn of_any_limit<'t>(traffic: &'t Traffic<'_>, rule: &Rule) -> Option<&'t LimitRequests> {
    let places = rule.limits.iter().map(|limit| limit.place).chain([0]);
    places.into_iter().find_map(|place| traffic.of(rule, place))
}

/// What is suggested for a limit; for an unlimited rule, what a limit per minute would be.
fn report(rule: &Rule, limit: Option<&RuleLimit>, traffic: &Traffic<'_>, span_s: u64) -> Option<LimitReport> {
    let requests = traffic.of(rule, limit.map_or(0, |limit| limit.place))?;
    let engine_limit = limit.map_or(PER_MINUTE, |limit| limit.limit);
    let count = requests.count();
    let suggested = from_requests(&engine_limit, &requests.counters, count);
    let mut notes = Vec::new();
    if limit.is_none() {
        notes.push("the rule is unlimited: the numbers are those of a limit per minute".to_owned());
    }
    if suggested.iter().any(Option::is_none) {
        notes.push(no_number(&engine_limit).to_owned());
    }
    let basis = Basis { requests: count, span_s, window_s: engine_limit.window.as_secs_ceil(), ..Basis::default() };
    Some(LimitReport {
        now: limit.map(RuleLimit::words).unwrap_or_default(),
        peak_window: engine_limit.calendar().map_or_else(|| engine_limit.window.to_string(), ToString::to_string),
        peaks: Peaks::of_requests(&engine_limit, &requests.counters),
        suggested: suggested.map(|number| number.map(Suggested::exactly)),
        basis,
        notes,
    })
}

/// Why there is no number for a limit.
pub(super) fn no_number(limit: &Limit) -> &'static str {
    match limit.algorithm {
        Algorithm::TokenBucket { .. } => {
            "its burst is too small for any rate; the number is as it was: raise the burst, or leave it out and suggest again"
        }
        Algorithm::SlidingLog => "a sliding_log has at most 65536 hits; the number is as it was: try another algorithm",
        _ => "no number is large enough; it is as it was",
    }
}

/// What the notes of the recording mean for the numbers.
fn of_notes(notes: &[Note]) -> impl Iterator<Item = String> {
    let lost: u64 = notes.iter().map(|note| note.lost).sum();
    let sampled = notes.iter().find(|note| note.one_in > 1).map(|note| match &*note.sample_by {
        "" => format!(
            "the trace has one check in {}: all numbers are too low by that; record with --sample-by to keep counters whole",
            note.one_in
        ),
        key => format!(
            "the trace has one value of {key} in {}: numbers of rules whose counters have other keys are too low",
            note.one_in
        ),
    });
    let lost = (lost > 0).then(|| format!("{lost} checks of the recording were lost: the numbers may be too low"));
    let ends = notes.iter().filter(|note| !note.ended.is_empty()).count();
    let cut = notes.iter().filter(|note| !note.began.is_empty()).count() > ends;
    let cut = cut.then(|| "the recording has no end: what was lost is not known".to_owned());
    [sampled, lost, cut].into_iter().flatten()
}

/// Decides the trace with the suggested file, as the service would: the share of checks that all of its limits together deny.
fn replay(trace: &Path, snippet: &Snippet, domain: &str) -> Result<String, Failure> {
    let limiter = Limiter::new(Settings::default());
    limiter.replace_rules(Timestamp::EPOCH, load(snippet)?);
    let (mut checks, mut denied) = (0_u64, 0_u64);
    read(trace, |TraceItem { now, check, .. }| {
        let Some(view) = limiter.view().filter(|_| check.domain == domain) else { return };
        checks += 1;
        denied += u64::from(view.check(WorkerSlot::default(), now, &check).code == Code::OverLimit);
    })?;
    Ok(format!("replayed with all of these limits: {denied} of {checks} checks denied"))
}

fn load(snippet: &Snippet) -> Result<RuleSet, Failure> {
    let file = SourceFile { name: "suggested.yaml".to_owned(), text: snippet.to_string().into_bytes() };
    let loaded = rules::load(&[file], LoadOptions::default());
    loaded.map_err(|errors| Failure::NoAnswer(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))
}

/// What an unlimited rule is compared with.
pub(super) const PER_MINUTE: Limit = Limit {
    max: 1,
    window: Nanos::from_secs(60),
    algorithm: Algorithm::FixedWindow { starts: Starts::Clock },
    ban: None,
    count_denied: CountDenied::Alone,
};
