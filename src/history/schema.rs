//! The tables and views of the database; `docs/HISTORY.md` documents them for users who query it with their own tools.

use std::fmt::Write;

use super::resolution::{ALL, Resolution};
use crate::usage::COLUMNS;

/// The number in `user_version`. It changes with the tables, never with the views.
pub(super) const VERSION: i64 = 1;

/// The statements that create a new database.
pub(super) fn tables() -> String {
    let counts = COLUMNS.map(|column| format!("  {} INTEGER NOT NULL", column.name)).join(",\n");
    let usage = ALL.map(|resolution| {
        let (table, length) = (resolution.table(), length(resolution));
        format!(
            "CREATE TABLE {table} (\n  \
               time INTEGER NOT NULL, -- the beginning of the {length}, seconds since 1970-01-01 UTC\n  \
               series INTEGER NOT NULL REFERENCES series (id),\n\
             {counts},\n  \
               PRIMARY KEY (time, series)\n\
             ) WITHOUT ROWID;\n"
        )
    });
    format!("{NAMES}{}{}", usage.concat(), views())
}

/// The views for common questions; they are created again at every start.
pub(super) fn views() -> String {
    let views = ALL.into_iter().flat_map(views_by).chain(views_of_days());
    views.fold(String::new(), |mut sql, (name, select)| {
        // Writing to a String does not fail.
        let _written = write!(sql, "DROP VIEW IF EXISTS {name};\nCREATE VIEW {name} AS\n{select};\n");
        sql
    })
}

/// The names and queries of the views of one table.
fn views_by(resolution: Resolution) -> [(String, String); 4] {
    let counts = COLUMNS.map(|column| format!("u.{}", column.name)).join(", ");
    let known = known_of_counters().map(|name| format!("u.{name}")).collect::<Vec<_>>().join(", ");
    let (table, length, sums) = (resolution.table(), length(resolution), sums());
    let from = format!("FROM {table} u JOIN series s ON s.id = u.series");
    [
        (
            format!("usage_by_{length}"),
            format!("SELECT {TIME} AS time, s.domain, s.rule, {counts}\n{from} WHERE s.kind = 1"),
        ),
        (
            format!("counters_by_{length}"),
            format!(
                "SELECT {TIME} AS time, s.domain, s.rule, s.entries, s.kind = 3 AS other,\n  \
                   {known}\n{from} WHERE s.kind IN (2, 3)"
            ),
        ),
        (
            format!("top_entries_by_{length}"),
            format!(
                "SELECT {TIME} AS time, s.domain, s.rule, e.key, e.value, {sums}\n\
                 {from} JOIN entry e ON e.series = s.id WHERE s.kind = 2\n\
                 GROUP BY u.time, s.domain, s.rule, e.key, e.value ORDER BY u.time DESC, sum(u.hits) DESC"
            ),
        ),
        (
            format!("requests_by_{length}"),
            format!(
                "SELECT {TIME} AS time, {REQUESTS}, u.checks AS requests, u.allowed, u.denied, u.hits, u.hits_allowed\n\
                 {from} {VALUE}"
            ),
        ),
    ]
}

fn views_of_days() -> [(String, String); 7] {
    let (sums, days) = (sums(), "FROM usage_day u JOIN series s ON s.id = u.series");
    let views = [
        (
            "denials_by_rule_and_day",
            format!(
                "SELECT {DAY} AS day, s.domain, s.rule, u.checks, u.denied, u.denied_over_limit,\n  \
                   u.denied_banned, u.denied_queue_full, u.denied_no_room, u.hits_over_limit\n\
                 {days} WHERE s.kind = 1 AND u.denied > 0 ORDER BY u.time DESC, u.denied DESC"
            ),
        ),
        (
            "denials_by_counter_and_day",
            format!(
                "SELECT {DAY} AS day, s.domain, s.rule, s.entries, s.kind = 3 AS other, u.checks, u.denied\n\
                 {days} WHERE s.kind IN (2, 3) AND u.denied > 0 ORDER BY u.time DESC, u.denied DESC"
            ),
        ),
        (
            "top_entries",
            format!(
                "SELECT e.key, e.value, {sums}\n{days} JOIN entry e ON e.series = s.id WHERE s.kind = 2\n\
                 GROUP BY e.key, e.value ORDER BY sum(u.hits) DESC"
            ),
        ),
        (
            "requests_by_entry",
            format!(
                "SELECT {REQUESTS}, sum(u.checks) AS requests, sum(u.allowed) AS allowed, sum(u.denied) AS denied\n\
                 {days} {VALUE} GROUP BY s.id ORDER BY sum(u.checks) DESC"
            ),
        ),
        (
            "busiest_minute_by_rule",
            format!(
                "SELECT s.domain, s.rule, max(u.hits) AS hits, {TIME} AS time\n\
                 FROM usage_minute u JOIN series s ON s.id = u.series WHERE s.kind = 1 GROUP BY s.id ORDER BY 3 DESC"
            ),
        ),
        (
            "totals_by_day",
            format!(
                "SELECT {DAY} AS day, {sums}, sum(u.unmatched) AS unmatched\n\
                 {days} WHERE s.kind IN (0, 1) GROUP BY u.time ORDER BY u.time DESC"
            ),
        ),
        ("what_is_kept", KEPT.to_owned()),
    ];
    views.map(|(name, select)| (name.to_owned(), select))
}

fn known_of_counters() -> impl Iterator<Item = &'static str> {
    COLUMNS.iter().filter(|column| column.per_counter).map(|column| column.name)
}

/// Sums of the columns that counters have too.
fn sums() -> String {
    known_of_counters().map(|name| format!("sum(u.{name}) AS {name}")).collect::<Vec<_>>().join(", ")
}

fn length(resolution: Resolution) -> &'static str {
    match resolution {
        Resolution::Minute => "minute",
        Resolution::Hour => "hour",
        Resolution::Day => "day",
    }
}

/// An instant in readable form.
const TIME: &str = "datetime(u.time, 'unixepoch')";
const DAY: &str = "date(u.time, 'unixepoch')";

/// The columns that identify requests.
const REQUESTS: &str = "s.domain, s.rule AS key, e.value, s.kind = 5 AS other";
const VALUE: &str = "LEFT JOIN entry e ON e.series = s.id WHERE s.kind IN (4, 5)";

const KEPT: &str = "\
SELECT CASE resolution WHEN 60 THEN 'minutes' WHEN 3600 THEN 'hours' ELSE 'days' END AS rows_of,
  datetime(max(since, (SELECT value FROM about WHERE name = 'began')), 'unixepoch') AS complete_since, rows FROM kept";

const NAMES: &str = "\
CREATE TABLE about (
  name TEXT PRIMARY KEY, -- 'id': the database's own number; 'began': its first second
  value INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE kept (
  resolution INTEGER PRIMARY KEY, -- the length of the rows in seconds: 60, 3600 or 86400
  since INTEGER NOT NULL,         -- from this second on no row of that length has been removed
  rows INTEGER NOT NULL           -- how many there are
);
CREATE TABLE series (
  id INTEGER PRIMARY KEY,
  kind INTEGER NOT NULL, -- 0: what matched no rule; 1: a rule; 2: a counter; 3: a rule's counters without a series;
                         -- 4: requests with one value of an entry key; 5: those whose values have no series
  domain TEXT NOT NULL,
  rule TEXT NOT NULL,    -- the configured path, domain included; of requests the entry key
  entries TEXT NOT NULL, -- a JSON array of [key, value]; [] but for counters and requests
  UNIQUE (domain, rule, kind, entries)
);
CREATE TABLE entry (
  series INTEGER NOT NULL REFERENCES series (id),
  position INTEGER NOT NULL, -- in the descriptor, from 0
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (series, position)
) WITHOUT ROWID;
CREATE INDEX entry_by_value ON entry (key, value);
";
