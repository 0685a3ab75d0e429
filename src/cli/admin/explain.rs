//! `tidegate explain`: what a check would get, and why.

use clap::Args;

use super::connection::{Client, Connection, Outcome};
use super::render::{entries, inactive, origin, scope, until};
use super::time::{instant_from, length};
use crate::api::proto::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use crate::api::proto::tidegate::v1::{Counter, Entry, ExplainRequest, ExplainResponse, ExplainedLimit, Setting};
use crate::cli::descriptor;
use crate::cli::table::{Align, Table, paragraph};
use crate::units::Timestamp;

/// `tidegate explain`.
#[derive(Args, Debug)]
pub(in crate::cli) struct Explain {
    /// The domain of the rules
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    domain: String,

    /// The descriptor: its entries in order, as for `ask`
    #[arg(long, value_name = "KEY=VALUE,...", value_parser = descriptor::parse)]
    descriptor: RateLimitDescriptor,

    /// Number of hits that the check would cost
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    hits: u64,

    #[command(flatten)]
    connection: Connection,
}

impl Explain {
    /// Asks the server.
    pub(super) fn outcome(self) -> Outcome {
        let entries = self.descriptor.entries.into_iter();
        let entries = entries.map(|entry| Entry { key: entry.key, value: entry.value }).collect();
        let request = ExplainRequest { domain: self.domain, entries, hits: self.hits };
        let call = async |client: &mut Client| client.explain(request).await;
        self.connection.answer("ExplainResponse", call, render)
    }
}

fn render(answer: &ExplainResponse, now: Timestamp) -> String {
    let mut lines = Vec::new();
    if !answer.steps.is_empty() {
        lines.push(steps(answer));
    }
    lines.push(paragraph(0, &rule(answer)));
    section(&mut lines, "near misses", &answer.near_misses, |miss| vec![format!("{}: {}", miss.rule, miss.why)]);
    section(&mut lines, "limits", &answer.limits, |each| limit(each, now));
    section(&mut lines, "settings", &answer.settings, |setting| described(setting, now));
    lines.push(paragraph(0, &result(answer)));
    lines.join("\n")
}

/// A title, and paragraphs for each item: the first one names it.
fn section<T>(lines: &mut Vec<String>, title: &str, items: &[T], describe: impl Fn(&T) -> Vec<String>) {
    if items.is_empty() {
        return;
    }
    lines.push(format!("{title}:"));
    for item in items {
        let texts = describe(item).into_iter().filter(|text| !text.is_empty()).enumerate();
        lines.extend(texts.map(|(place, text)| paragraph(if place == 0 { 2 } else { 4 }, &text)));
    }
}

fn steps(answer: &ExplainResponse) -> String {
    let mut table = Table::new(&[("entry", Align::Left), ("matched", Align::Left), ("how", Align::Left)]);
    for step in &answer.steps {
        let matched = if step.matched.is_empty() { "-" } else { &step.matched };
        table.row([entries(step.entry.as_slice()), matched.to_owned(), step.how.clone()]);
    }
    table.to_string()
}

fn rule(ExplainResponse { rule, why, .. }: &ExplainResponse) -> String {
    let rule = if rule.is_empty() { "none" } else { rule };
    if why.is_empty() { format!("rule: {rule}") } else { format!("rule: {rule}: {why}") }
}

/// A limit in words, its counter, and what it does with the check.
fn limit(ExplainedLimit { words, counter, admits, delay, source }: &ExplainedLimit, now: Timestamp) -> Vec<String> {
    let delay = delay.as_ref().map(length).filter(|delay| delay != "0s");
    let effect = match (admits, delay) {
        (false, _) => "denies the check".to_owned(),
        (true, None) => "admits the check".to_owned(),
        (true, Some(delay)) => format!("admits the check after {delay}"),
    };
    let source = if source.is_empty() { String::new() } else { format!("from: {source}") };
    vec![words.clone(), source, counter.as_ref().map(|counter| state(counter, now)).unwrap_or_default(), effect]
}

/// The state of a counter: `user=alice: used 3, remaining 7, reset in 12s`.
fn state(counter: &Counter, now: Timestamp) -> String {
    let of = if counter.entries.is_empty() { "counter".to_owned() } else { entries(&counter.entries) };
    let reset = counter.reset.as_ref().map(|reset| format!(", reset in {}", length(reset))).unwrap_or_default();
    let until = counter.banned_until.as_ref();
    let banned = until.map(|until| format!(", banned until {}", instant_from(until, now))).unwrap_or_default();
    format!("{of}: used {}, remaining {}{reset}{banned}", counter.used, counter.remaining)
}

fn described(setting: &Setting, now: Timestamp) -> Vec<String> {
    let what = format!("{} of {}: {}", setting.name, scope(setting.scope.as_ref()), setting.value);
    vec![what + &until(setting, now), origin(setting), inactive(setting)]
}

fn result(answer: &ExplainResponse) -> String {
    let denies = answer.limits.iter().any(|limit| !limit.admits);
    match answer {
        ExplainResponse { shadow_mode: true, .. } if denies => {
            "a check would get OK: it is over the limit, and admitted in shadow mode".to_owned()
        }
        ExplainResponse { over_limit: true, .. } => "a check would get OVER_LIMIT".to_owned(),
        _ => "a check would get OK".to_owned(),
    }
}

#[cfg(test)]
mod tests;
