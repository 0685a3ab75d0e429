//! Writes usage: that of a minute is added to the rows of its minute, hour and day in one transaction, so that the row of a
//! day is the sum of its hours, and of its minutes, at any time.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Statement, Transaction, TransactionBehavior, params_from_iter};

use super::Series;
use super::database::{DatabaseError, OpenOptions, open};
use super::pending::{Pending, Used};
use super::resolution::Resolution;
use crate::usage::{COLUMNS, Column, Totals};

/// The only writer of the database.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) connection: Arc<Mutex<Connection>>,
    pub(super) resolutions: Vec<Resolution>,
    pub(super) max_bytes: u64,
    /// When names without rows were last removed.
    pub(super) cleaned: i64,
    /// The ids of the series seen so far.
    ids: Ids,
}

type Ids = HashMap<Series, i64, ahash::RandomState>;

/// The size of the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) rows: u64,
    pub(super) bytes: u64,
    /// Unused bytes of the file.
    pub(super) free_bytes: u64,
}

impl Writer {
    pub(super) fn open(options: &OpenOptions, second: i64) -> Result<Self, DatabaseError> {
        let connection = Arc::new(Mutex::new(open(options, second)?));
        let (resolutions, max_bytes) = (options.resolutions.clone(), options.max_bytes);
        Ok(Self { connection, resolutions, max_bytes, cleaned: second, ids: Ids::default() })
    }

    /// Adds all pending usage, or none of it.
    pub(super) fn write(&mut self, pending: &Pending) -> Result<(), DatabaseError> {
        if pending.is_empty() {
            return Ok(());
        }
        let written = self.write_rows(pending);
        // A transaction that was rolled back has also rolled back new ids.
        if written.is_err() || self.ids.len() > MAX_IDS {
            self.ids.clear();
        }
        Ok(written?)
    }

    fn write_rows(&mut self, pending: &Pending) -> rusqlite::Result<()> {
        let mut connection = self.connection.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (minute, used) in pending.minutes() {
            let rows = number(&transaction, &mut self.ids, used)?;
            for resolution in &self.resolutions {
                add(&transaction, *resolution, minute, &rows)?;
            }
        }
        transaction.commit()
    }

    pub(super) fn forget_ids(&mut self) {
        self.ids.clear();
    }

    pub(super) fn size(&self) -> rusqlite::Result<Size> {
        size(&self.connection.lock())
    }
}

/// The size of the database. Cost: three look-ups.
pub(super) fn size(connection: &Connection) -> rusqlite::Result<Size> {
    let one =
        |sql: &str| connection.query_row(sql, (), |row| row.get::<_, i64>(0)).map(|n| u64::try_from(n).unwrap_or(0));
    let page_bytes = one("PRAGMA page_size")?;
    Ok(Size {
        rows: one("SELECT coalesce(sum(rows), 0) FROM kept")?,
        bytes: one("PRAGMA page_count")?.saturating_mul(page_bytes),
        free_bytes: one("PRAGMA freelist_count")?.saturating_mul(page_bytes),
    })
}

/// The usage of one minute with the ids of its series, in the order in which the tables have them; new series are added.
fn number<'u>(transaction: &Transaction, ids: &mut Ids, used: &'u Used) -> rusqlite::Result<Vec<(i64, &'u Totals)>> {
    let mut find =
        transaction.prepare("SELECT id FROM series WHERE domain = ?1 AND rule = ?2 AND kind = ?3 AND entries = ?4")?;
    let mut name =
        transaction.prepare("INSERT INTO series (domain, rule, kind, entries) VALUES (?1, ?2, ?3, ?4) RETURNING id")?;
    let mut entry = transaction.prepare("INSERT INTO entry VALUES (?1, ?2, ?3, ?4)")?;
    let mut rows = Vec::with_capacity(used.len());
    for (series, counts) in used {
        let id = if let Some(id) = ids.get(series) {
            *id
        } else {
            let id = id_of(series, &mut find, &mut name, &mut entry)?;
            ids.insert(series.clone(), id);
            id
        };
        rows.push((id, counts));
    }
    rows.sort_unstable_by_key(|(id, _)| *id);
    Ok(rows)
}

fn id_of(series: &Series, find: &mut Statement, name: &mut Statement, entry: &mut Statement) -> rusqlite::Result<i64> {
    let entries = serde_json::to_string(&series.entries())
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let key = (series.domain(), series.rule(), series.kind() as i64, &entries);
    if let Some(id) = find.query_row(key, |row| row.get(0)).optional()? {
        return Ok(id);
    }
    let id = name.query_row(key, |row| row.get(0))?;
    for (position, (key, value)) in (0_i64..).zip(series.entries()) {
        entry.execute((id, position, key, value))?;
    }
    Ok(id)
}

/// Adds the usage of one minute to the rows of one table, and updates their number.
fn add(
    transaction: &Transaction,
    resolution: Resolution,
    minute: i64,
    rows: &[(i64, &Totals)],
) -> rusqlite::Result<()> {
    let (table, time, most) = (resolution.table(), resolution.floor(minute), i64::MAX);
    let numbered = || (3..).zip(COLUMNS);
    // SQLite turns an integer that overflows into a floating-point number.
    let set: Vec<_> =
        numbered().map(|(n, Column { name, .. })| format!("{name} = min({name}, {most} - ?{n}) + ?{n}")).collect();
    let values: Vec<_> = numbered().map(|(n, _)| format!("?{n}")).collect();
    let mut more =
        transaction.prepare(&format!("UPDATE {table} SET {} WHERE time = ?1 AND series = ?2", set.join(", ")))?;
    let mut new = transaction.prepare(&format!("INSERT INTO {table} VALUES (?1, ?2, {})", values.join(", ")))?;
    let mut added = 0_i64;
    for (id, used) in rows {
        let counts = COLUMNS.map(|column| i64::try_from(used.get(column.measure)).unwrap_or(i64::MAX));
        let row = || params_from_iter([time, *id].into_iter().chain(counts));
        if more.execute(row())? == 0 {
            new.execute(row())?;
            added += 1;
        }
    }
    transaction.execute("UPDATE kept SET rows = rows + ?1 WHERE resolution = ?2", (added, resolution.seconds()))?;
    Ok(())
}

/// Cached ids, about 200 bytes each: far more than the series of one process; others are looked up again.
const MAX_IDS: usize = 250_000;
