//! `tidegate suggest`: limits from a trace, from the history of a server, or from that in a data directory.

mod history;
mod of_trace;
mod stored;
mod used;

use std::collections::HashMap;
use std::path::PathBuf;

use clap::builder::{BoolishValueParser, NonEmptyStringValueParser};
use clap::{Args, ValueEnum};
use prost_types::Duration;
use serde_json::{Value, json};

use super::connection::{Connection, Failure, Outcome, Printed};
use super::time::parse_length;
use crate::config::{Files, Source, warnings};
use crate::rules::{self, Domain, LoadOptions, Rule, RuleLimit, RuleSet};
use crate::sanitize::sanitize_json;
use crate::suggest::{LimitReport, RuleText, SHARES, Share, Snippet, Suggested};

/// `tidegate suggest`.
#[derive(Args, Debug)]
pub(in crate::cli) struct Suggest {
    /// Files or directories with the rules, whose numbers are to be found; without them, limits per minute for each rule of the history
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Allow several files to extend one domain
    #[arg(long, env = "TIDEGATE_MERGE_DOMAINS", value_parser = BoolishValueParser::new())]
    merge_domains: bool,

    /// Take `unit: month` for a month of the calendar, as `serve --calendar-months`
    #[arg(long, env = "TIDEGATE_CALENDAR_MONTHS", value_parser = BoolishValueParser::new())]
    calendar_months: bool,

    /// File with a trace, as `record` writes it: the numbers are exact
    #[arg(long, value_name = "FILE", requires = "paths", conflicts_with_all = ["data_dir", "since", "resolution"])]
    trace: Option<PathBuf>,

    /// Data directory whose history to read, in place of asking a server; a server may be using it
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// How far back the history is read [default: as far as its rows reach]
    #[arg(long, value_name = "DURATION", value_parser = parse_length)]
    since: Option<Duration>,

    /// Rows of the history to read [default: the longest that leave nothing open, otherwise minutes]
    #[arg(long, value_name = "ROWS", value_enum)]
    resolution: Option<Resolution>,

    /// The domain; needed if requests of several came
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    domain: Option<String>,

    /// Only this rule, by its path as in /rlconfig; others keep their limits
    #[arg(long, value_name = "PATH", value_parser = NonEmptyStringValueParser::new())]
    rule: Option<String>,

    /// The share of requests that the written numbers may deny: 0%, 0.1% or 1%; the others are in comments
    #[arg(long, value_name = "SHARE", default_value = "0%", value_parser = parse_share)]
    deny: usize,

    #[command(flatten)]
    connection: Connection,
}

/// The rows of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum)]
pub(in crate::cli) enum Resolution {
    /// Minutes
    Minute,
    /// Hours
    Hour,
    /// Days
    Day,
}

/// The suggestions for the limits of a domain.
struct Suggestions {
    snippet: Snippet,
    /// By the path of the rule and the place of the limit.
    reports: Vec<(String, usize, LimitReport)>,
    /// For standard error.
    warnings: Vec<String>,
}

impl Suggest {
    /// Finds the numbers.
    pub(super) fn outcome(self) -> Outcome {
        let suggestions = match &self.trace {
            Some(trace) => self.by_trace(trace)?,
            None => self.by_history()?,
        };
        let text = if self.connection.json { json(&suggestions) } else { suggestions.snippet.to_string() };
        let warning = suggestions.warnings.join("\n");
        Ok(Printed { text, warning })
    }

    /// The rules in the files, and what is odd about them; `None` without files.
    fn rules(&self) -> Result<Option<(RuleSet, Vec<String>)>, Failure> {
        if self.paths.is_empty() {
            return Ok(None);
        }
        let Self { merge_domains, calendar_months, .. } = *self;
        let options = LoadOptions { merge_domains, calendar_months, ..LoadOptions::default() };
        let mut all = Files::default();
        for path in &self.paths {
            let read = Source::open(path, options).read().map_err(|error| Failure::NoAnswer(error.to_string()))?;
            all.files.extend(read.files);
            all.skipped.extend(read.skipped);
        }
        let loaded = rules::load(&all.files, options);
        let rules = loaded.map_err(|errors| {
            Failure::NoAnswer(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        })?;
        let odd = warnings(&all, &rules).collect();
        Ok(Some((rules, odd)))
    }

    /// The domain that was asked for, or the only one of those in which requests came.
    fn domain<'n>(&self, known: impl Iterator<Item = &'n str>) -> Result<String, Failure> {
        let known: Vec<_> = known.collect();
        match (&self.domain, &*known) {
            (Some(domain), _) if known.contains(&domain.as_str()) => Ok(domain.clone()),
            (Some(domain), _) => {
                Err(Failure::NoAnswer(format!("there are no requests of domain {domain} with a rule")))
            }
            (None, [only]) => Ok((*only).to_owned()),
            (None, []) => Err(Failure::NoAnswer("there are no requests that match a rule".to_owned())),
            (None, several) => {
                let shown = several.iter().take(MAX_SHOWN).copied().collect::<Vec<_>>().join(", ");
                Err(Failure::NoAnswer(format!(
                    "there are requests of {} domains, and a rules file has one: choose it with --domain, such as {shown}",
                    several.len()
                )))
            }
        }
    }

    /// Whether numbers are to be found for this rule.
    fn takes(&self, path: &str) -> bool {
        self.rule.as_ref().is_none_or(|rule| rule == path)
    }

    /// The number to write.
    fn chosen(&self, suggested: [Option<Suggested>; 3]) -> Option<u32> {
        suggested.get(self.deny).copied().flatten().map(|suggested| suggested.most)
    }

    fn share(&self) -> &'static str {
        SHARES.get(self.deny).map_or("", |share: &Share| share.text)
    }

    /// The file of a configured domain with the suggested numbers; `report` is of a rule's limit, or of place 0 if it is unlimited.
    fn snippet(
        &self,
        rules: &RuleSet,
        domain: &Domain,
        mut report: impl FnMut(&Rule, Option<&RuleLimit>) -> Option<LimitReport>,
    ) -> (Snippet, Vec<(String, usize, LimitReport)>) {
        let mut reports = Vec::new();
        let snippet = Snippet::of_domain(domain, rules, |rule| {
            let (mut comments, mut numbers) = (Vec::new(), HashMap::new());
            let limits: Vec<_> =
                if rule.limits.is_empty() { vec![None] } else { rule.limits.iter().map(Some).collect() };
            for limit in limits.iter().filter(|_| self.takes(&rule.path)) {
                let place = limit.map_or(0, |limit| limit.place);
                let Some(report) = report(rule, *limit) else {
                    comments.push("no requests: the limit is as it was".to_owned());
                    continue;
                };
                if limits.len() > 1 {
                    comments.push(format!("limit {place}, on its own:"));
                }
                comments.extend(report.lines());
                numbers.extend(self.chosen(report.suggested).map(|number| (place, number)));
                reports.push((rule.path.clone(), place, report));
            }
            RuleText::of_rule(rule, |limit| numbers.get(&limit.place).copied(), comments)
        });
        (snippet, reports)
    }
}

/// What was found, for programs.
fn json(suggestions: &Suggestions) -> String {
    let limits: Vec<_> = suggestions.reports.iter().map(limit_json).collect();
    let whole = json!({"head": suggestions.snippet.head, "limits": limits, "rules": suggestions.snippet.to_string()});
    sanitize_json(&whole.to_string())
}

fn limit_json((rule, place, report): &(String, usize, LimitReport)) -> Value {
    let suggested: serde_json::Map<_, _> =
        SHARES.iter().zip(report.suggested).map(|(share, number)| (share.text.to_owned(), json!(number))).collect();
    json!({
        "rule": rule,
        "place": place,
        "requests": report.basis.requests,
        "counters": report.peaks.counters,
        "peak": {"window": report.peak_window, "highest": report.peaks.highest, "p99": report.peaks.p99,
            "p95": report.peaks.p95, "p50": report.peaks.p50},
        "suggested": suggested,
        "notes": report.notes,
        "warnings": report.basis.warnings(),
    })
}

/// Parses the value of `--deny`: the index of a share.
fn parse_share(text: &str) -> Result<usize, String> {
    let bare = |text: &str| text.trim_end_matches('%').trim_end().to_owned();
    let found = SHARES.iter().position(|share| bare(share.text) == bare(text));
    found.ok_or_else(|| "expected 0%, 0.1% or 1%".to_owned())
}

/// Domains that an error lists.
const MAX_SHOWN: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        for (text, expected) in [
            ("0", Some(0)),
            ("0%", Some(0)),
            ("0.1", Some(1)),
            ("0.1 %", Some(1)),
            ("1%", Some(2)),
            ("5%", None),
            ("", None),
        ] {
            assert_eq!(parse_share(text).ok(), expected, "{text:?}");
        }
    }
}
