//! `tidegate limits`: the limits of a caller in sentences, to send to a partner who asks.

use clap::Args;

use super::connection::{Client, Connection, Outcome};
use super::render::entries;
use super::time::instant_from;
use crate::api::proto::tidegate::v1::{ApplicableLimit, Entry, ListLimitsRequest, ListLimitsResponse};
use crate::cli::descriptor::parse_entry;
use crate::cli::table::paragraph;
use crate::units::Timestamp;

/// `tidegate limits`.
#[derive(Args, Debug)]
pub(in crate::cli) struct Limits {
    /// The domain of the rules
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    domain: String,

    /// What is known about the caller; repeat the flag for more entries [default: all limits of the domain]
    #[arg(long = "entry", value_name = "KEY=VALUE", value_parser = parse_entry)]
    entries: Vec<Entry>,

    #[command(flatten)]
    connection: Connection,
}

impl Limits {
    /// Asks the server.
    pub(super) fn outcome(self) -> Outcome {
        let request = ListLimitsRequest { domain: self.domain, entries: self.entries };
        let asked = request.clone();
        let call = async |client: &mut Client| client.list_limits(request).await;
        self.connection.answer("ListLimitsResponse", call, |answer, now| render(&asked, answer, now))
    }
}

fn render(asked: &ListLimitsRequest, answer: &ListLimitsResponse, now: Timestamp) -> String {
    let whom = if asked.entries.is_empty() { String::new() } else { format!(" for {}", entries(&asked.entries)) };
    if answer.limits.is_empty() {
        return paragraph(0, &format!("no limits of domain {} apply{whom}", asked.domain));
    }
    let mut lines = vec![paragraph(0, &format!("Limits of domain {}{whom}:", asked.domain))];
    for limit in &answer.limits {
        lines.push(String::new());
        lines.push(paragraph(0, &title(limit)));
        lines.push(paragraph(2, &limit.words));
        lines.extend(remark(limit).map(|remark| paragraph(2, remark)));
        let until = limit.banned_until.as_ref().map(|until| instant_from(until, now));
        lines.extend(until.map(|until| paragraph(2, &format!("Banned until {until}: every request is denied."))));
    }
    lines.join("\n")
}

/// What the limit is for, and its name.
fn title(ApplicableLimit { applies_to, rule, name, .. }: &ApplicableLimit) -> String {
    let what = if applies_to.is_empty() { rule } else { applies_to };
    if name.is_empty() { what.clone() } else { format!("{what} ({name})") }
}

/// Why the limit denies nothing, if so.
fn remark(limit: &ApplicableLimit) -> Option<&'static str> {
    match limit {
        ApplicableLimit { unlimited: true, .. } => None,
        ApplicableLimit { enabled: false, .. } => Some("The limit is switched off now: nothing is denied."),
        ApplicableLimit { shadow_mode: true, .. } => Some("The limit is not enforced now: nothing is denied."),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::table::WIDTH;

    const NOW: Timestamp = Timestamp::from_ns(1_795_665_600_000_000_000);

    fn limit(applies_to: &str, words: &str) -> ApplicableLimit {
        let (applies_to, words, rule) = (applies_to.to_owned(), words.to_owned(), "api.partner".to_owned());
        ApplicableLimit { applies_to, words, rule, enabled: true, ..ApplicableLimit::default() }
    }

    #[test]
    fn limits() {
        let acme = Entry { key: "partner".into(), value: "acme".into() };
        let plain = limit("partner acme, for each endpoint", "At most 10 requests per second.");
        let shadow = ApplicableLimit { shadow_mode: true, name: "daily".into(), ..plain.clone() };
        let off = ApplicableLimit { enabled: false, ..limit("", "At most 5 requests per day.") };
        let until = Some(prost_types::Timestamp { seconds: 1_795_665_660, nanos: 0 });
        let banned = ApplicableLimit { banned_until: until, ..plain.clone() };
        let unlimited = ApplicableLimit { unlimited: true, enabled: false, ..limit("all", "No limit.") };
        let cases = [
            (vec![], vec![], "no limits of domain api apply"),
            (vec![acme.clone()], vec![], "no limits of domain api apply for partner=acme"),
            (
                vec![acme],
                vec![plain, shadow, off, unlimited, banned],
                "\
Limits of domain api for partner=acme:

partner acme, for each endpoint
  At most 10 requests per second.

partner acme, for each endpoint (daily)
  At most 10 requests per second.
  The limit is not enforced now: nothing is denied.

api.partner
  At most 5 requests per day.
  The limit is switched off now: nothing is denied.

all
  No limit.

partner acme, for each endpoint
  At most 10 requests per second.
  Banned until 2026-11-26T04:01:00Z (in 1m): every request is denied.",
            ),
        ];
        for (entries, limits, expected) in cases {
            let asked = ListLimitsRequest { domain: "api".into(), entries };
            assert_eq!(render(&asked, &ListLimitsResponse { limits }, NOW), expected);
        }
    }

    #[test]
    fn long_and_hostile_text_fits() {
        let hostile = "x\x1b[2J\u{202e}".repeat(1_000);
        let asked = ListLimitsRequest {
            domain: hostile.clone(),
            entries: vec![Entry { key: hostile.clone(), value: "v".into() }],
        };
        for limits in [vec![], vec![limit(&hostile, &hostile)]] {
            let text = render(&asked, &ListLimitsResponse { limits }, NOW);
            assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
            assert!(!text.contains(['\x1b', '\u{202e}']), "{text}");
        }
    }
}
