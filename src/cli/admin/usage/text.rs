//! The usage of a range as a table, as CSV, or as JSON.

use jiff::Zoned;
use prost_types::Timestamp as WireTime;
use serde_json::{Map, Value};

use super::ranking::{Ranking, Sums};
use crate::api::proto::tidegate::v1::{QueryUsageResponse, UsageRow};
use crate::cli::admin::connection::{Failure, json};
use crate::cli::admin::time::{from_wire, with_offset};
use crate::cli::table::{Align, Table, paragraph};
use crate::sanitize::{sanitize_json, sanitize_within};

/// What is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// Checks by rule.
    Rules,
    /// Checks of rules by the values of a key.
    Checks(String),
    /// Requests by the values of a key.
    Requests(String),
}

/// From an instant to one after it.
#[derive(Clone, Debug)]
pub(super) struct Range {
    pub(super) from: Zoned,
    pub(super) to: Zoned,
    /// The end is now.
    pub(super) until_now: bool,
}

/// What the server answered, page after page.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) ranking: Ranking,
    /// The beginning of the history.
    pub(super) history_from: Option<WireTime>,
    pub(super) in_memory: bool,
    /// The replicas of which one was asked; 0: it shares nothing.
    pub(super) replicas: u32,
}

/// What is shown.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) range: Range,
    pub(super) counted: Counted,
    pub(super) found: Found,
}

impl Counted {
    pub(super) fn is_of_requests(&self) -> bool {
        matches!(self, Self::Requests(_))
    }

    /// What the sums are sums of.
    fn what(&self) -> &'static str {
        if self.is_of_requests() { "requests" } else { "checks" }
    }

    /// What has a row.
    fn by(&self) -> &str {
        match self {
            Self::Rules => "rule",
            Self::Checks(key) | Self::Requests(key) => key,
        }
    }

    /// The name of a row.
    fn name(&self, row: &UsageRow) -> String {
        match (self, row.entry_value.as_str()) {
            (Self::Rules, _) => row.rule.clone(),
            _ if row.other => "(other)".to_owned(),
            (Self::Requests(_), "") => "\"\"".to_owned(),
            (Self::Checks(_), "") => "(none)".to_owned(),
            (_, value) => value.to_owned(),
        }
    }
}

impl Range {
    /// # Errors
    /// It is empty.
    pub(super) fn new(from: Zoned, to: Zoned, until_now: bool) -> Result<Self, String> {
        if from >= to {
            let (from, to, now) = (with_offset(&from), with_offset(&to), if until_now { " (now)" } else { "" });
            return Err(format!("the range is empty: --from is {from}, --to is {to}{now}"));
        }
        Ok(Self { from, to, until_now })
    }

    /// The name of the time zone.
    fn zone(&self) -> &str {
        self.from.time_zone().iana_name().unwrap_or("local time")
    }
}

impl Answer {
    /// The table is for people, and ends with the sums of everything.
    pub(super) fn table(&self) -> String {
        let (what, by) = (self.counted.what(), self.counted.by());
        let (from, to) = (with_offset(&self.range.from), with_offset(&self.range.to));
        let now = if self.range.until_now { ", now" } else { "" };
        let title = format!("{what} by {by} from {from} to {to}{now} ({})", self.range.zone());
        let title = paragraph(0, &title);
        if self.found.ranking.rows().next().is_none() {
            return format!("{title}\nno {what}{}", self.with_denials());
        }
        let has_hits = self.found.ranking.rows().map(Sums::of).any(|sums| sums.hits != sums.requests);
        let name = if self.counted == Counted::Rules { "rule" } else { "value" };
        let columns = [(name, Align::Left), (what, Align::Right), ("denied", Align::Right), ("denied %", Align::Right)];
        let hits = has_hits.then_some(("hits", Align::Right));
        let mut table = Table::new(&columns.into_iter().chain(hits).collect::<Vec<_>>()).repeating_cut();
        for row in self.found.ranking.rows() {
            let Sums { requests, denied, hits } = Sums::of(row);
            let cells = [self.counted.name(row), requests.to_string(), denied.to_string(), percent(denied, requests)];
            table.row(cells.into_iter().chain(has_hits.then(|| hits.to_string())));
        }
        let Sums { requests, denied, .. } = self.found.ranking.total;
        format!("{title}\n{table}\n{}; in all {requests} {what}, {denied} of them denied", self.listed())
    }

    /// Lines of RFC 4180, but with LF. Control characters are escaped, so that a terminal can show them.
    pub(super) fn csv(&self) -> String {
        let titles = match &self.counted {
            Counted::Rules => "from,to,domain,rule",
            Counted::Checks(_) | Counted::Requests(_) => "from,to,key,value,other",
        };
        let mut lines = vec![format!("{titles},{},denied,hits", self.counted.what())];
        let range = [with_offset(&self.range.from), with_offset(&self.range.to)];
        for row in self.found.ranking.rows() {
            let name = match &self.counted {
                Counted::Rules => vec![row.domain.clone(), row.rule.clone()],
                Counted::Checks(key) | Counted::Requests(key) => {
                    vec![key.clone(), row.entry_value.clone(), row.other.to_string()]
                }
            };
            let Sums { requests, denied, hits } = Sums::of(row);
            let sums = [requests, denied, hits].map(|sum| sum.to_string());
            let cells = range.iter().chain(&name).chain(&sums).map(|cell| field(cell));
            lines.push(cells.collect::<Vec<_>>().join(","));
        }
        lines.join("\n")
    }

    /// The rows as protojson, in their order, with the range.
    ///
    /// # Errors
    /// The descriptors are not usable.
    pub(super) fn json(&self) -> Result<String, String> {
        let response = QueryUsageResponse {
            rows: self.found.ranking.rows().cloned().collect(),
            next_page_token: String::new(),
            history_from: self.found.history_from,
            in_memory: self.found.in_memory,
            kept: Vec::new(),
            replicas: self.found.replicas,
        };
        let response = json("QueryUsageResponse", &response).map_err(|failure| match failure {
            Failure::Status(error) | Failure::NoAnswer(error) => error,
        })?;
        let mut fields: Map<String, Value> = serde_json::from_str(&response).map_err(|error| error.to_string())?;
        fields.shift_remove("nextPageToken");
        let range = [
            ("from", with_offset(&self.range.from)),
            ("to", with_offset(&self.range.to)),
            ("timeZone", self.range.zone().to_owned()),
        ];
        let range = range.map(|(name, value)| (name.to_owned(), Value::String(value)));
        let all: Map<String, Value> = range.into_iter().chain(fields).collect();
        Ok(sanitize_json(&Value::Object(all).to_string()))
    }

    /// That not all rows are listed, if so: for what has no line about it.
    pub(super) fn cut(&self) -> Option<String> {
        (self.found.ranking.listed() < self.found.ranking.groups)
            .then(|| format!("{}; --limit lists more", self.listed()))
    }

    /// That others have counted too, if so.
    pub(super) fn of_one_replica(&self) -> Option<String> {
        let replicas = self.found.replicas;
        (replicas > 1).then(|| {
            format!("this is the usage of one replica of {replicas}: each counts its own, so ask the others too")
        })
    }

    /// Why the range may have more usage than is shown.
    pub(super) fn warning(&self) -> Option<String> {
        let begun = self.found.history_from.as_ref().and_then(from_wire)?;
        let begun = begun.to_zoned(self.range.from.time_zone().clone());
        let why = if self.found.in_memory { " (the server has no --data-dir: one hour is kept in memory)" } else { "" };
        let warning = format!("the history begins at {}{why}; earlier usage is not counted", with_offset(&begun));
        (begun > self.range.from).then_some(warning)
    }

    /// `20 of 154 values`.
    fn listed(&self) -> String {
        let (listed, groups) = (self.found.ranking.listed(), self.found.ranking.groups);
        let what = if self.counted == Counted::Rules { "rule" } else { "value" };
        let plural = if groups == 1 { "" } else { "s" };
        format!("{listed} of {groups} {what}{plural}{}", self.with_denials())
    }

    fn with_denials(&self) -> &'static str {
        if self.found.ranking.only_denied() { " with denials" } else { "" }
    }
}

/// `33.3`; `-` of nothing.
fn percent(part: u64, whole: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "one digit is shown")]
    let percent = 100.0 * part as f64 / whole as f64;
    if whole == 0 { "-".to_owned() } else { format!("{percent:.1}") }
}

/// A field of CSV: in quotes if it has to be.
fn field(text: &str) -> String {
    let text = sanitize_within(MAX_FIELD_BYTES, text);
    if text.contains([',', '"']) || text.starts_with(' ') || text.ends_with(' ') {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

/// Values of entries are shorter; paths of rules may have several of them.
const MAX_FIELD_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::super::ranking::Order;
    use super::*;
    use crate::api::proto::tidegate::v1::UsageCounts;

    /// Rows of rule, value, requests, denied and hits between two instants in Berlin.
    fn answer(counted: Counted, rows: &[(&str, &str, u64, u64, u64)]) -> Answer {
        let row = |(rule, value, requests, denied, hits): &(&str, &str, u64, u64, u64)| UsageRow {
            domain: "api".into(),
            rule: (*rule).into(),
            entry_value: if *value == "(other)" { String::new() } else { (*value).into() },
            other: *value == "(other)",
            counts: Some(UsageCounts {
                num_requests: *requests,
                num_requests_denied: *denied,
                hits: *hits,
                ..UsageCounts::default()
            }),
            ..UsageRow::default()
        };
        let zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
        let at = |seconds| jiff::Timestamp::from_second(seconds).unwrap().to_zoned(zone.clone());
        let range = Range::new(at(1_795_665_600), at(1_795_669_200), true).unwrap();
        let mut ranking = Ranking::new(Order::Requests, false, 2);
        ranking.add(rows.iter().map(row).collect());
        let history_from = Some(WireTime { seconds: 1_795_665_000, nanos: 0 });
        Answer { range, counted, found: Found { ranking, history_from, in_memory: false, replicas: 0 } }
    }

    fn of_users() -> Answer {
        let rows = [("", "ann", 6, 2, 6), ("", "b,\"o\u{1b}b", 4, 4, 9), ("", "", 3, 0, 3), ("", "(other)", 1, 1, 1)];
        answer(Counted::Requests("user".into()), &rows)
    }

    #[test]
    fn tables() {
        let expected = "\
requests by user from 2026-11-26T05:00:00+01:00 to 2026-11-26T06:00:00+01:00, now (Europe/Berlin)
value        requests  denied  denied %  hits
ann                 6       2      33.3     6
b,\"o\\u{1b}b         4       4     100.0     9
(other)             1       1     100.0     1
2 of 3 values; in all 14 requests, 7 of them denied";
        assert_eq!(of_users().table(), expected);
        let rules = answer(Counted::Rules, &[("api.user", "", 6, 0, 6), ("api.tenant", "", 0, 0, 0)]);
        let expected = "\
checks by rule from 2026-11-26T05:00:00+01:00 to 2026-11-26T06:00:00+01:00, now (Europe/Berlin)
rule        checks  denied  denied %
api.user         6       0       0.0
api.tenant       0       0         -
2 of 2 rules; in all 6 checks, 0 of them denied";
        assert_eq!(rules.table(), expected);
        let nothing = answer(Counted::Checks("user".into()), &[]);
        assert!(nothing.table().ends_with("(Europe/Berlin)\nno checks"), "{}", nothing.table());
        let unnamed = answer(Counted::Checks("user".into()), &[("", "", 1, 0, 1)]).table();
        assert!(unnamed.contains("\n(none)       1"), "{unnamed}");
    }

    #[test]
    fn csv() {
        let range = "2026-11-26T05:00:00+01:00,2026-11-26T06:00:00+01:00";
        let expected = format!(
            "from,to,key,value,other,requests,denied,hits\n\
             {range},user,ann,false,6,2,6\n\
             {range},user,\"b,\"\"o\\u{{1b}}b\",false,4,4,9\n\
             {range},user,,true,1,1,1"
        );
        assert_eq!(of_users().csv(), expected);
        let rules = answer(Counted::Rules, &[("api.user", "", 6, 0, 6)]);
        assert_eq!(rules.csv(), format!("from,to,domain,rule,checks,denied,hits\n{range},api,api.user,6,0,6"));
    }

    #[test]
    fn json() {
        let json: Value = serde_json::from_str(&of_users().json().unwrap()).unwrap();
        assert_eq!(json["from"], "2026-11-26T05:00:00+01:00");
        assert_eq!(json["timeZone"], "Europe/Berlin");
        assert_eq!(json["rows"][0]["entryValue"], "ann");
        assert_eq!(json["rows"][1]["counts"]["numRequestsDenied"], "4");
        assert_eq!(json["rows"][2]["other"], true);
        assert_eq!(json["historyFrom"], "2026-11-26T03:50:00Z");
    }

    #[test]
    fn what_is_missing_is_a_warning() {
        let mut users = of_users();
        assert_eq!(users.cut().as_deref(), Some("2 of 3 values; --limit lists more"));
        assert_eq!(users.warning(), None);
        (users.found.history_from, users.found.in_memory) = (Some(WireTime { seconds: 1_795_667_400, nanos: 0 }), true);
        let warning = users.warning().unwrap();
        assert!(warning.starts_with("the history begins at 2026-11-26T05:30:00+01:00 (the server has no"), "{warning}");
        let all = answer(Counted::Rules, &[("api.user", "", 6, 0, 6)]);
        assert_eq!(all.cut(), None);
    }

    #[test]
    fn an_empty_range_is_an_error() {
        let at = |seconds| jiff::Timestamp::from_second(seconds).unwrap().to_zoned(jiff::tz::TimeZone::UTC);
        let error = Range::new(at(60), at(60), true).unwrap_err();
        assert_eq!(
            error,
            "the range is empty: --from is 1970-01-01T00:01:00+00:00, --to is 1970-01-01T00:01:00+00:00 (now)"
        );
    }
}
