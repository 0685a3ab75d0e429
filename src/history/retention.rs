//! Removes rows that are too old, and the oldest ones when the database grows too large.
//!
//! Two invariants hold: days reach back at least as far as hours, and hours as far as minutes; and the remaining rows of one
//! length begin at the beginning of a row of the next length. So a query can be answered from rows of all lengths without
//! gaps, and without counting anything twice.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::database::DatabaseError;
use super::resolution::Resolution;
use super::writer::{Size, Writer};

/// How long rows are kept, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retention {
    pub(super) minutes: i64,
    pub(super) hours: i64,
    pub(super) days: i64,
}

impl Retention {
    /// On disk: minutes to examine yesterday, hours to compare with last month, days to compare with last year.
    pub(super) const ON_DISK: Self = Self { minutes: 48 * 3_600, hours: 60 * 86_400, days: 731 * 86_400 };
    /// In memory: only minutes.
    pub(super) const IN_MEMORY: Self = Self { minutes: 3_600, hours: 0, days: 0 };

    const fn seconds_for(self, resolution: Resolution) -> i64 {
        match resolution {
            Resolution::Minute => self.minutes,
            Resolution::Hour => self.hours,
            Resolution::Day => self.days,
        }
    }
}

impl Writer {
    /// Removes rows that are older than `retention`, then the oldest ones if the database is too large.
    pub(super) fn trim(&mut self, retention: Retention, now: i64) -> Result<(), DatabaseError> {
        let mut names_are_left = false;
        let coarsest = self.resolutions.last().copied();
        for resolution in self.resolutions.clone().into_iter().rev() {
            let until = self.step(resolution).floor(now.saturating_sub(retention.seconds_for(resolution)));
            let removed = self.remove_before(resolution, until)?;
            names_are_left |= removed > 0 && Some(resolution) == coarsest && now - self.cleaned >= CLEAN_SECONDS;
        }
        for _ in 0..MAX_STEPS {
            if !self.is_large()? {
                break;
            }
            let Some((resolution, until)) = self.next_to_go(now)? else { break };
            self.remove_before(resolution, until)?;
            names_are_left |= Some(resolution) == coarsest;
        }
        if names_are_left {
            self.remove_names()?;
            self.cleaned = now;
        }
        Ok(())
    }

    fn is_large(&self) -> Result<bool, DatabaseError> {
        let Size { bytes, free_bytes, .. } = self.size()?;
        Ok(bytes.saturating_sub(free_bytes) > self.max_bytes / 100 * FULL_PERCENT)
    }

    /// The rows removed in one step: those within one row of the next length.
    fn step(&self, resolution: Resolution) -> Resolution {
        let coarser = resolution.coarser().filter(|coarser| self.resolutions.contains(coarser));
        coarser.unwrap_or(resolution)
    }

    /// The oldest rows of the table with the most rows, if they may be removed; otherwise those of the next table.
    fn next_to_go(&self, now: i64) -> Result<Option<(Resolution, i64)>, DatabaseError> {
        let connection = self.connection.lock();
        let mut candidates = Vec::new();
        for resolution in &self.resolutions {
            let step = self.step(*resolution);
            let Some(oldest) = oldest(&connection, *resolution)? else { continue };
            let until = step.floor(oldest.max(since(&connection, *resolution)?)) + step.seconds();
            let finer = resolution.finer().filter(|finer| self.resolutions.contains(finer));
            let bound = match finer {
                Some(finer) => since(&connection, finer)?,
                None => now,
            };
            if until <= step.floor(bound) {
                candidates.push((rows(&connection, *resolution)?, *resolution, until));
            }
        }
        Ok(candidates.into_iter().max().map(|(_, resolution, until)| (resolution, until)))
    }

    fn remove_before(&self, resolution: Resolution, until: i64) -> Result<usize, DatabaseError> {
        let mut connection = self.connection.lock();
        if since(&connection, resolution)? >= until {
            return Ok(0);
        }
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let removed = transaction.execute(&format!("DELETE FROM {} WHERE time < ?1", resolution.table()), [until])?;
        let removed_rows = i64::try_from(removed).unwrap_or(i64::MAX);
        transaction.execute(
            "UPDATE kept SET since = ?1, rows = max(rows - ?2, 0) WHERE resolution = ?3",
            (until, removed_rows, resolution.seconds()),
        )?;
        transaction.commit()?;
        Ok(removed)
    }

    /// Removes the names of series without rows. Cost: a pass over the coarsest table.
    fn remove_names(&mut self) -> Result<(), DatabaseError> {
        let Some(coarsest) = self.resolutions.last() else { return Ok(()) };
        let unused = format!("NOT IN (SELECT series FROM {})", coarsest.table());
        {
            let mut connection = self.connection.lock();
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute(&format!("DELETE FROM entry WHERE series {unused}"), ())?;
            transaction.execute(&format!("DELETE FROM series WHERE id {unused}"), ())?;
            transaction.commit()?;
        }
        self.forget_ids();
        Ok(())
    }
}

/// The time since which no row of that length has been removed.
fn since(connection: &Connection, resolution: Resolution) -> rusqlite::Result<i64> {
    let sql = "SELECT since FROM kept WHERE resolution = ?1";
    Ok(connection.query_row(sql, [resolution.seconds()], |row| row.get(0)).optional()?.unwrap_or(i64::MIN))
}

fn rows(connection: &Connection, resolution: Resolution) -> rusqlite::Result<i64> {
    let sql = "SELECT rows FROM kept WHERE resolution = ?1";
    Ok(connection.query_row(sql, [resolution.seconds()], |row| row.get(0)).optional()?.unwrap_or(0))
}

fn oldest(connection: &Connection, resolution: Resolution) -> rusqlite::Result<Option<i64>> {
    connection.query_row(&format!("SELECT min(time) FROM {}", resolution.table()), (), |row| row.get(0))
}

/// The share of the maximum size above which rows are removed: the rest is for the next flush, and for pages of the tree.
const FULL_PERCENT: u64 = 90;
/// Steps of one trim, so that a flush does not wait long for it; the next trim continues.
const MAX_STEPS: usize = 24;
/// The time between two removals of names: they are small, and finding them takes a pass over a table.
const CLEAN_SECONDS: i64 = 3_600;
