//! A report as text: a table for a terminal, or lines for files and pipes.

use std::cmp::Reverse;

use super::rates::{Changes, Rate};
use super::rows::{Kind, Row};
use super::screen::Size;
use crate::api::proto::tidegate::v1::UsageReport;
use crate::cli::admin::time::instant;
use crate::cli::table::{Align, Table};
use crate::sanitize::sanitize_within;

/// Tables that fit the terminal together: rules, then counters and values, if there are any. If there are more rows than lines,
/// those with the most denials and requests are shown.
pub(super) fn table(report: &UsageReport, rows: &[Row], changes: &Changes, size: Size) -> String {
    let is_there = |(_, kinds): &&(&str, &[Kind])| rows.iter().any(|row| kinds.contains(&row.name.kind));
    let tables: Vec<_> = TABLES.iter().filter(is_there).collect();
    // The time, the titles, perhaps the number of rows that are left out, and the line of the cursor.
    let room = size.lines.saturating_sub(3 + tables.len()).max(1);
    let shown = chosen(rows, room);
    let cut = |line: String| line.chars().take(size.columns).collect::<String>();
    let mut parts = vec![cut(format!("{} server started {}{}", time(report), started(report), of_replicas(report)))];
    for (title, kinds) in tables {
        let of_kind = |place: &&usize| rows.get(**place).is_some_and(|row| kinds.contains(&row.name.kind));
        let places: Vec<_> = shown.iter().filter(of_kind).copied().collect();
        if !places.is_empty() {
            parts.push(one_table(title, &places, rows, changes, size.columns));
        }
    }
    let left_out = rows.len().saturating_sub(shown.len());
    if left_out > 0 {
        parts.push(cut(format!("... and {left_out} more: --rule, --domain and --denied select")));
    }
    parts.join("\n")
}

fn one_table(title: &'static str, places: &[usize], rows: &[Row], changes: &Changes, width: usize) -> String {
    // Only rules have limits.
    let columns = if width < NARROW || title != RULES { COLUMNS.len() - 2 } else { COLUMNS.len() };
    let titles: Vec<_> = std::iter::once((title, Align::Left)).chain(COLUMNS).take(columns + 1).collect();
    let mut table = Table::new(&titles).within(width);
    for place in places {
        if let Some(row) = rows.get(*place) {
            let rate = changes.rates.get(*place).copied().flatten();
            table.row(cells(row, rate).into_iter().take(columns + 1));
        }
    }
    table.to_string()
}

const RULES: &str = "rule";
/// The tables: the title of their names, and what is in them.
const TABLES: [(&str, &[Kind]); 3] =
    [(RULES, &[Kind::Total, Kind::Rule]), ("counter", &[Kind::Counter]), ("requests of", &[Kind::Requests])];
/// The columns after the name.
const COLUMNS: [(&str, Align); 6] = [
    ("requests", Align::Right),
    ("denied", Align::Right),
    ("req/s", Align::Right),
    ("denied/s", Align::Right),
    ("limit", Align::Right),
    ("also", Align::Left),
];
/// Terminals with fewer columns have no room for the last two.
const NARROW: usize = 60;

/// The places of the rows that are shown, in their order. The total is always one of them.
fn chosen(rows: &[Row], room: usize) -> Vec<usize> {
    let mut places: Vec<_> = (0..rows.len()).collect();
    if places.len() > room {
        places.sort_by_key(|place| {
            let row = rows.get(*place);
            let is_total = row.is_some_and(|row| row.name.kind == Kind::Total);
            let counts = row.map(|row| row.counts).unwrap_or_default();
            Reverse((is_total, counts.num_requests_denied, counts.num_requests))
        });
        places.truncate(room);
        places.sort_unstable();
    }
    places
}

fn cells(row: &Row, rate: Option<Rate>) -> [String; 7] {
    let of_rate = |of: fn(Rate) -> f64| rate.map_or_else(|| "-".to_owned(), |rate| per_second(of(rate)));
    let states = row.states.iter().map(ToString::to_string);
    let also = row.also().into_iter().map(|(what, count)| format!("{what} {count}"));
    [
        row.name.text.clone(),
        row.counts.num_requests.to_string(),
        row.counts.num_requests_denied.to_string(),
        of_rate(|rate| rate.requests),
        of_rate(|rate| rate.denied),
        row.limit.clone(),
        states.chain(also).collect::<Vec<_>>().join(", "),
    ]
}

/// A line for each row that changed, such as `2026-11-27T14:00:00Z rule=api.user requests=5 denied=2 rate=1.0/s`; empty if none
/// did.
pub(super) fn lines(report: &UsageReport, rows: &[Row], changes: &Changes) -> String {
    let time = time(report);
    let shown = rows.iter().zip(&changes.rates).zip(&changes.changed).filter(|(_, is_changed)| **is_changed);
    let lines: Vec<_> = shown.map(|((row, rate), _)| format!("{time} {}", line(row, *rate))).collect();
    lines.join("\n")
}

fn line(row: &Row, rate: Option<Rate>) -> String {
    let mut words = match row.name.kind {
        Kind::Total => vec!["total".to_owned()],
        kind => vec![format!("{}={}", kind.word(), word(&row.name.text))],
    };
    words.push(format!("requests={} denied={}", row.counts.num_requests, row.counts.num_requests_denied));
    words.extend(
        rate.map(|rate| format!("rate={}/s denied_rate={}/s", per_second(rate.requests), per_second(rate.denied))),
    );
    words.extend((!row.limit.is_empty()).then(|| format!("limit={}", row.limit.replace(' ', ""))));
    words.extend(row.states.iter().map(ToString::to_string));
    words.extend(row.also().into_iter().map(|(what, count)| format!("{what}={count}")));
    words.join(" ")
}

/// A name as one word: in quotes if it has a space.
fn word(name: &str) -> String {
    let name = sanitize_within(MAX_NAME_BYTES, name);
    if name.contains([' ', '"']) { format!("\"{}\"", name.replace('\\', r"\\").replace('"', "\\\"")) } else { name }
}

fn per_second(rate: f64) -> String {
    match rate {
        0.0 => "0".to_owned(),
        rate if rate < 0.01 => "<0.01".to_owned(),
        rate if rate < 1.0 => format!("{rate:.2}"),
        rate if rate < 100.0 => format!("{rate:.1}"),
        rate => format!("{rate:.0}"),
    }
}

fn time(report: &UsageReport) -> String {
    report.time.as_ref().map(instant).unwrap_or_default()
}

fn started(report: &UsageReport) -> String {
    let started = report.instance.as_ref().and_then(|instance| instance.started.as_ref());
    started.map(instant).unwrap_or_default()
}

/// That others count too, if so.
fn of_replicas(report: &UsageReport) -> String {
    match report.instance.as_ref().map_or(0, |instance| instance.replicas) {
        0 | 1 => String::new(),
        replicas => format!(", one replica of {replicas}: each counts its own"),
    }
}

/// A rule's path with an entry for each level.
const MAX_NAME_BYTES: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::super::rows::of;
    use super::*;
    use crate::api::proto::tidegate::v1::{
        CounterUsage, Entry, LimitInForce, RequestUsage, RuleUsage, ServerInstance, UsageCounts,
    };

    const SIZE: Size = Size { columns: 80, lines: 24 };

    fn report(rules: &[(&str, u64, u64)]) -> UsageReport {
        let counts = |requests, denied| {
            Some(UsageCounts {
                num_requests: requests,
                num_requests_denied: denied,
                hits: requests,
                hits_over_limit: denied,
                ..UsageCounts::default()
            })
        };
        let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 5 });
        let period = Some(prost_types::Duration { seconds: 60, nanos: 0 });
        let limit = LimitInForce { requests_per_unit: 3, period, enabled: true, ..LimitInForce::default() };
        let rule_counts =
            |requests, denied| counts(requests, denied).map(|counts| UsageCounts { hits_near_limit: 1, ..counts });
        let rule = |(name, requests, denied): &(&str, u64, u64)| RuleUsage {
            domain: "api".into(),
            rule: (*name).into(),
            counts: rule_counts(*requests, *denied),
            limits: vec![limit.clone()],
        };
        UsageReport {
            instance: Some(ServerInstance { id: "i".into(), started: time(1_795_665_600), replicas: 0 }),
            time: time(1_795_665_660),
            total: counts(rules.iter().map(|rule| rule.1).sum(), rules.iter().map(|rule| rule.2).sum()),
            rules: rules.iter().map(rule).collect(),
            ..UsageReport::default()
        }
    }

    fn changes(rates: &[Option<(f64, f64)>], changed: &[bool]) -> Changes {
        let rate = |rate: &Option<(f64, f64)>| rate.map(|(requests, denied)| Rate { requests, denied });
        Changes { rates: rates.iter().map(rate).collect(), changed: changed.to_vec(), restarted: None }
    }

    #[test]
    fn a_table_for_a_terminal() {
        let report = report(&[("api.key", 5, 2), ("api.user", 1_000, 0)]);
        let changes = changes(&[None, Some((0.25, 0.0)), Some((123.4, 0.001))], &[true; 3]);
        let expected = "\
2026-11-26T04:01:00Z server started 2026-11-26T04:00:00Z
rule      requests  denied  req/s  denied/s     limit  also
total         1005       2      -         -
api.key          5       2   0.25         0  3/minute  near 1
api.user      1000       0    123     <0.01  3/minute  near 1";
        assert_eq!(table(&report, &of(&report), &changes, SIZE), expected);
    }

    #[test]
    fn counters_and_values_have_tables_of_their_own() {
        let counts = Some(UsageCounts { num_requests: 5, num_requests_denied: 2, hits: 5, ..UsageCounts::default() });
        let entries = vec![Entry { key: "user".into(), value: "a-user-with-a-long-name".into() }];
        let rule = "api.user".to_owned();
        let report = UsageReport {
            counters: vec![CounterUsage { rule, entries, counts, ..CounterUsage::default() }],
            requests: vec![RequestUsage { key: "user".into(), value: "ann".into(), counts, ..RequestUsage::default() }],
            ..report(&[("api.user", 5, 2)])
        };
        let rows = of(&report);
        let text = table(&report, &rows, &changes(&[None; 4], &[true; 4]), SIZE);
        let expected = "\
counter                                requests  denied  req/s  denied/s
api.user user=a-user-with-a-long-name         5       2      -         -
requests of  requests  denied  req/s  denied/s
user=ann            5       2      -         -";
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn a_table_fits_a_terminal_of_any_size() {
        let long = "x\x1b[2J".repeat(100);
        let most = u64::MAX / 2;
        let rules: Vec<_> = (0..50).map(|at| (long.as_str(), if at == 30 { most } else { at }, at % 7)).collect();
        let report = report(&rules);
        let rows = of(&report);
        let changes = changes(&vec![Some((1e9, 1e9)); rows.len()], &vec![true; rows.len()]);
        for (columns, lines) in [(80, 24), (120, 40), (40, 5), (80, 0), (200, 100)] {
            let text = table(&report, &rows, &changes, Size { columns, lines });
            assert!(text.lines().all(|line| line.chars().count() <= columns), "{columns}:\n{text}");
            assert!(text.lines().count() < lines.max(5), "{lines}:\n{text}");
            assert!(!text.contains('\x1b') && text.contains("\ntotal"), "{text}");
        }
    }

    #[test]
    fn without_room_the_rows_with_the_most_denials_are_shown() {
        let report = report(&[("a", 9, 0), ("b", 1, 1), ("c", 5, 3), ("d", 7, 0), ("e", 8, 0)]);
        let rows = of(&report);
        let names = |room| chosen(&rows, room).into_iter().map(|at| rows[at].name.text.as_str()).collect::<Vec<_>>();
        assert_eq!(names(4), ["total", "a", "b", "c"]);
        assert_eq!(names(1), ["total"]);
        assert_eq!(names(6).len(), 6);
    }

    #[test]
    fn lines_of_what_changed() {
        let report = report(&[("api.key", 5, 2), ("api.path_/pay x", 1, 0), ("api.user", 0, 0)]);
        let rows = of(&report);
        let all = changes(&[Some((1.0, 0.5)), None, Some((99.96, 0.0)), None], &[true, true, true, false]);
        let expected = "\
2026-11-26T04:01:00Z total requests=6 denied=2 rate=1.0/s denied_rate=0.50/s
2026-11-26T04:01:00Z rule=api.key requests=5 denied=2 limit=3/minute near=1
2026-11-26T04:01:00Z rule=\"api.path_/pay x\" requests=1 denied=0 rate=100.0/s denied_rate=0/s limit=3/minute near=1";
        assert_eq!(lines(&report, &rows, &all), expected);
        assert_eq!(lines(&report, &rows, &changes(&[None; 4], &[false; 4])), "");
    }
}
