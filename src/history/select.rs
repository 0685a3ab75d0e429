//! Selects the rows that answer a query.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::SeriesKind;
use super::plan::{Kept, Segment, plan};
use super::query::{Query, Row};
use super::resolution::{ALL, Resolution, floor, instant};
use super::token::Key;
use crate::units::{Nanos, Timestamp};
use crate::usage::{COLUMNS, Column, Filter, Totals};

/// The coverage of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Coverage {
    /// The random id of the database.
    pub(super) id: i64,
    /// The first second of the history.
    pub(super) from: i64,
    kept: Kept,
    /// The beginnings of the first and the last row.
    rows: Option<(i64, i64)>,
}

impl Coverage {
    /// Reads the coverage. Cost: a dozen look-ups.
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let about = |name| connection.query_row("SELECT value FROM about WHERE name = ?1", [name], |row| row.get(0));
        let (id, began): (i64, i64) = (about("id")?, about("began")?);
        let (mut kept, mut first, mut last) = (Vec::new(), None::<i64>, None::<i64>);
        for resolution in ALL {
            let mut since = connection.prepare("SELECT since FROM kept WHERE resolution = ?1")?;
            let mut since = since.query([resolution.seconds()])?;
            let Some(since) = since.next()?.map(|row| row.get(0)).transpose()? else { continue };
            kept.push((resolution, since));
            let ends = format!("SELECT (SELECT min(time) FROM {0}), (SELECT max(time) FROM {0})", resolution.table());
            let (oldest, newest): (Option<i64>, Option<i64>) =
                connection.query_row(&ends, (), |row| Ok((row.get(0)?, row.get(1)?)))?;
            first = first.into_iter().chain(oldest).min();
            last = last.into_iter().chain(newest).max();
        }
        let since = kept.last().map_or(began, |(_, since)| *since);
        Ok(Self { id, from: began.max(since), kept, rows: first.zip(last) })
    }

    /// The lengths of rows, the shortest first, each with the instant from which on all of them are there.
    pub(super) fn kept(&self) -> impl Iterator<Item = (Nanos, Timestamp)> {
        let of = |(resolution, since): &(Resolution, i64)| {
            let since = (*since).max(self.from);
            (Nanos::from_secs(resolution.seconds().cast_unsigned()), instant(since))
        };
        self.kept.iter().map(of)
    }

    /// The segments with the rows of a range.
    fn plan(&self, from: i64, to: i64, bucket: Option<i64>) -> Vec<Segment> {
        let Some((first, last)) = self.rows else { return Vec::new() };
        // After the last row, coarse rows are complete too.
        let to = if to > last { Resolution::Day.ceil(last.saturating_add(1)) } else { to };
        plan(&self.kept, from.max(first), to, bucket)
    }
}

/// The rows after `after`, at most `most`, in order.
///
/// With time buckets the range is read in growing windows, so that the cost of a page is about that of its rows. Without,
/// each page costs a pass over the range.
pub(super) fn select(
    connection: &Connection,
    coverage: &Coverage,
    query: &Query,
    (from, to): (i64, i64),
    after: Option<&Key>,
    most: usize,
) -> rusqlite::Result<Vec<(Key, Totals)>> {
    let bucket = query.groups.bucket_seconds();
    let segments = coverage.plan(from, to, bucket);
    choose(connection, query, &segments)?;
    let Some(bucket) = bucket else { return read(connection, &segments, None, after, most) };

    let mut rows = Vec::new();
    let end = segments.last().map_or(from, |segment| segment.to);
    let mut begin = segments.first().map_or(end, |segment| segment.from).max(after.map_or(i64::MIN, |key| key.time));
    let mut length = bucket;
    while begin < end && rows.len() < most {
        let until = floor(begin, bucket).saturating_add(length).min(end);
        let window: Vec<_> = segments.iter().filter_map(|segment| clip(*segment, begin, until)).collect();
        rows.extend(read(connection, &window, Some(bucket), after, most - rows.len())?);
        (begin, length) = (until, length.saturating_mul(2));
    }
    Ok(rows)
}

/// A row of the result.
pub(super) fn row(query: &Query, key: Key, counts: Totals) -> Row {
    let time = query.groups.bucket_minutes.map(|_| instant(key.time));
    let Key { domain, rule, value, .. } = key;
    let (rule, other) = if query.requests_by.is_some() { (String::new(), rule == OTHER) } else { (rule, false) };
    if query.groups.counter {
        // Only the row of the others has no list.
        let entries = serde_json::from_str(&value).unwrap_or_default();
        return Row { time, domain, rule, value: String::new(), other: value.is_empty(), entries, counts };
    }
    Row { time, domain, rule, value, other, entries: Vec::new(), counts }
}

fn clip(segment: Segment, begin: i64, until: i64) -> Option<Segment> {
    let (from, to) = (segment.from.max(begin), segment.to.min(until));
    (from < to).then_some(Segment { from, to, ..segment })
}

/// Fills a table with the series that the query selects, each with the names of its group.
fn choose(connection: &Connection, query: &Query, segments: &[Segment]) -> rusqlite::Result<()> {
    connection.execute_batch(
        "DROP TABLE IF EXISTS temp.chosen;
         CREATE TEMP TABLE chosen (id INTEGER PRIMARY KEY, domain TEXT, rule TEXT, value TEXT);",
    )?;
    let mut values: Vec<Value> = Vec::new();
    let groups = &query.groups;
    let name = |wanted: bool, column: &'static str| if wanted { column } else { "''" };
    let of_counters = format!("iif(s.kind = {}, '', s.entries)", SeriesKind::Other as i64);
    let without_key = if groups.counter { &*of_counters } else { "''" };
    let value = groups.entry_key.clone().map_or(without_key, |key| {
        values.push(key.into());
        "coalesce((SELECT value FROM entry WHERE series = s.id AND key = ? ORDER BY position LIMIT 1), '')"
    });
    let domain = name(groups.domain, "s.domain");
    let rule = match &query.requests_by {
        // Requests belong to no rule, so this column distinguishes `other` from an empty value.
        Some(_) if groups.entry_key.is_some() => {
            format!("iif(s.kind = {}, '{OTHER}', '')", SeriesKind::OtherRequests as i64)
        }
        Some(_) => "''".to_owned(),
        None => name(groups.rule, "s.rule").to_owned(),
    };
    let conditions = conditions(query, segments, &mut values);
    let sql = format!(
        "INSERT INTO temp.chosen SELECT s.id, {domain}, {rule}, {value} FROM series s WHERE {}",
        conditions.join(" AND ")
    );
    connection.execute(&sql, params_from_iter(values))?;
    Ok(())
}

fn conditions(query: &Query, segments: &[Segment], values: &mut Vec<Value>) -> Vec<String> {
    let Filter { domain, rule, entries, only_denied } = &query.filter;
    let kinds: &[SeriesKind] = match (query.is_of_counters(), query.is_of_everything()) {
        _ if query.requests_by.is_some() => &SeriesKind::OF_REQUESTS,
        (true, _) => &[SeriesKind::Counter, SeriesKind::Other],
        (false, true) => &[SeriesKind::Unmatched, SeriesKind::Rule],
        (false, false) => &[SeriesKind::Rule],
    };
    let mut conditions = vec![format!("s.kind IN ({})", SeriesKind::list(kinds))];
    for (column, wanted) in
        [("s.domain", domain), ("s.rule", query.requests_by.as_ref().map_or(rule, |_| &query.requests_by))]
    {
        if let Some(wanted) = wanted {
            values.push(wanted.clone().into());
            conditions.push(format!("{column} = ?"));
        }
    }
    for (key, value) in entries {
        values.extend([key.clone().into(), value.clone().into()]);
        conditions.push("s.id IN (SELECT series FROM entry WHERE key = ? AND value = ?)".into());
    }
    if *only_denied {
        let denied = |segment: &Segment| format!("SELECT series FROM {} AND denied > 0", range(segment));
        let denied: Vec<_> = segments.iter().map(denied).collect();
        let denied = if denied.is_empty() { "NULL".to_owned() } else { denied.join(" UNION ") };
        conditions.push(format!("s.id IN ({denied})"));
    }
    conditions
}

fn read(
    connection: &Connection,
    segments: &[Segment],
    bucket: Option<i64>,
    after: Option<&Key>,
    most: usize,
) -> rusqlite::Result<Vec<(Key, Totals)>> {
    if segments.is_empty() {
        return Ok(Vec::new());
    }
    let time = bucket.map_or("0".to_owned(), |bucket| format!("u.time - u.time % {bucket}"));
    let tables: Vec<_> = segments.iter().map(|segment| format!("SELECT * FROM {}", range(segment))).collect();
    let sums: Vec<_> = COLUMNS.iter().map(sum).collect();
    let later = after.map_or("", |_| "WHERE (time_, domain, rule, value) > (?1, ?2, ?3, ?4)");
    let sql = format!(
        "SELECT time_, domain, rule, value, {} FROM (
           SELECT {time} AS time_, c.domain, c.rule, c.value, u.* FROM ({}) u JOIN temp.chosen c ON c.id = u.series
         ) {later} GROUP BY time_, domain, rule, value ORDER BY time_, domain, rule, value LIMIT {most}",
        sums.join(", "),
        tables.join(" UNION ALL ")
    );
    let mut values: Vec<Value> = Vec::new();
    if let Some(Key { time, domain, rule, value }) = after {
        values.extend([(*time).into(), domain.clone().into(), rule.clone().into(), value.clone().into()]);
    }
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map(params_from_iter(values), |row| {
        let key = Key { time: row.get(0)?, domain: row.get(1)?, rule: row.get(2)?, value: row.get(3)? };
        let mut column = 4;
        let mut next = || {
            let value = row.get::<_, i64>(column).map(|value| u64::try_from(value).unwrap_or(0));
            column += 1;
            value
        };
        let mut counts = Vec::with_capacity(COLUMNS.len());
        for column in COLUMNS {
            let high = if column.is_hits { next()? } else { 0 };
            let sum = (u128::from(high) << 32).saturating_add(next()?.into());
            counts.push(u64::try_from(sum).unwrap_or(u64::MAX));
        }
        Ok((key, Totals::from_columns(counts)))
    })?;
    rows.collect()
}

/// Hits are summed in two halves, because SQLite aborts a query whose sum overflows its integers.
fn sum(Column { name, is_hits, .. }: &Column) -> String {
    if *is_hits { format!("sum({name} >> 32), sum({name} & 4294967295)") } else { format!("sum({name})") }
}

/// Requests of the values that are not tracked individually.
const OTHER: &str = "other";

fn range(segment: &Segment) -> String {
    format!("{} WHERE time >= {} AND time < {}", segment.resolution.table(), segment.from, segment.to)
}
