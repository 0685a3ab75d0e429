//! The history of usage per minute, hour and day: on disk, or for an hour in memory.
//!
//! ```text
//! cumulative counts --every few seconds--> what is new --> rows of minutes, hours and days (SQLite, one writer)
//!                                                              '--> queries, each on a connection of its own
//! ```
//! Nothing here is on the decision path: one thread reads the counts that decisions update, and a failing disk stops only the
//! history. `docs/HISTORY.md` describes the database.

mod database;
mod directory;
mod pending;
mod plan;
mod query;
mod recorder;
mod resolution;
mod retention;
mod schema;
mod select;
mod series;
mod source;
mod status;
mod token;
mod writer;

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, OptionalExtension};

pub(crate) use database::{is_corrupt, rename as rename_database};
pub(crate) use directory::{DataDir, DataDirError};
pub(crate) use query::{Groups, Page, Query, QueryError, Row};
pub(crate) use recorder::Recorder;
pub(crate) use series::{ReadUsage, Reading, Series, SeriesKind};
pub(crate) use source::readings;
pub(crate) use status::Status;

use crate::runtime::clock::{Clock, Stopwatch};
use crate::units::{Nanos, Timestamp};
use database::{OpenOptions, open_to_read};
use query::MAX_SECONDS;
use recorder::RecorderState;
use resolution::{ALL, Resolution, instant, next_second};
use retention::Retention;
use select::{Coverage, select};
use status::Shared;
use token::Cursor;

/// Settings of the history.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The database file; `None`: the last hour in memory.
    pub path: Option<PathBuf>,
    /// The time between two flushes, which is the usage that a crash can lose.
    pub flush: Duration,
    /// The maximum size of the database; in memory at most [`MEMORY_BYTES`].
    pub max_bytes: u64,
}

/// Answers queries, and reports the status of recording.
#[derive(Debug)]
pub(crate) struct History {
    shared: Arc<Shared>,
    rows: Rows,
}

/// Where queries read.
#[derive(Debug)]
enum Rows {
    File(PathBuf),
    /// The connection of the writer, which waits while a query runs: in memory there is little to read.
    Memory(Arc<Mutex<Connection>>),
}

impl History {
    /// Opens the history and starts to record what `read` returns. If the database cannot be opened, each flush tries again.
    ///
    /// # Errors
    /// The system cannot start another thread, or has no memory.
    pub(crate) fn start(settings: &Settings, read: ReadUsage, clock: Arc<Clock>) -> io::Result<(Arc<Self>, Recorder)> {
        let (history, state) = Self::open(settings, read, clock.now())?;
        let recorder = Recorder::start(state, clock, settings.flush)?;
        Ok((Arc::new(history), recorder))
    }

    fn open(settings: &Settings, read: ReadUsage, now: Timestamp) -> io::Result<(Self, RecorderState)> {
        let shared = Arc::new(Shared::default());
        let path = settings.path.clone();
        let (resolutions, retention, max_bytes) = if path.is_some() {
            (ALL.to_vec(), Retention::ON_DISK, settings.max_bytes)
        } else {
            (vec![Resolution::Minute], Retention::IN_MEMORY, settings.max_bytes.min(MEMORY_BYTES))
        };
        let options = OpenOptions { path: path.clone(), resolutions, max_bytes };
        let (writer, pending) = (None, pending::Pending::default());
        let mut state =
            RecorderState { read, options, retention, shared: Arc::clone(&shared), writer, pending, before: now };
        state.open(now);
        let rows = match (path, &state.writer) {
            (Some(path), _) => Rows::File(path),
            (None, Some(writer)) => Rows::Memory(Arc::clone(&writer.connection)),
            (None, None) => return Err(io::Error::other("no memory for the history")),
        };
        Ok((Self { shared, rows }, state))
    }

    /// The history in a data directory, for queries only: a server may be using it meanwhile. Nothing is opened before the first.
    pub(crate) fn stored_in(data_dir: &Path) -> Self {
        Self { shared: Arc::default(), rows: Rows::File(DataDir::usage_in(data_dir)) }
    }

    /// The status of recording.
    pub(crate) fn status(&self) -> Status {
        self.shared.status()
    }

    /// Whether the history is only in memory.
    pub(crate) fn in_memory(&self) -> bool {
        matches!(self.rows, Rows::Memory(_))
    }

    /// One page of the result. Usage since the last flush is not in it yet.
    ///
    /// Blocks: for a thread that may, never one that decides. It takes at most 20 seconds, and ends early when `unwanted` is
    /// set.
    ///
    /// # Errors
    /// The range is empty, the token is not valid, the query takes too long, or the database cannot be read.
    pub(crate) fn query(&self, query: &Query, now: Timestamp, unwanted: &Arc<AtomicBool>) -> Result<Page, QueryError> {
        let (from, to) = (query.from.unwrap_or(Timestamp::EPOCH), query.to.unwrap_or(now));
        if from >= to {
            return Err(QueryError::EmptyRange);
        }
        let range = (next_second(from), next_second(to));
        self.read(unwanted, |connection| {
            let coverage = Coverage::read(connection)?;
            let text = query.text();
            let cursor = match &*query.page_token {
                "" => None,
                token => match Cursor::read(token, coverage.id, &text) {
                    None => return Ok(Err(QueryError::Token)),
                    cursor => cursor,
                },
            };
            let range = cursor.as_ref().map_or(range, |cursor| (cursor.from, cursor.to));
            let (size, after) = (query.page_size.max(1), cursor.as_ref().map(|cursor| &cursor.last));
            let mut rows = select(connection, &coverage, query, range, after, size.saturating_add(1))?;
            let more = rows.len() > size;
            rows.truncate(size);
            let last = rows.last().filter(|_| more).map(|(key, _)| key.clone());
            let next = last.map(|last| Cursor { from: range.0, to: range.1, last }.token(coverage.id, &text));
            let mut rows: Vec<_> = rows.into_iter().map(|(key, counts)| select::row(query, key, counts)).collect();
            if rows.is_empty() && query.groups.is_empty() {
                rows.push(Row::default());
            }
            let next_page_token = next.unwrap_or_default();
            let history_from = instant(coverage.from);
            let kept = coverage.kept().collect();
            Ok(Ok(Page { rows, next_page_token, history_from, in_memory: self.in_memory(), kept }))
        })?
    }

    /// Whether there is any usage of the given domain or rule. Blocks, as [`query`](Self::query) does.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(crate) fn knows(&self, domain: Option<&str>, rule: Option<&str>) -> Result<bool, QueryError> {
        self.has_series(&SeriesKind::OF_RULES, domain, rule)
    }

    /// Whether requests were ever counted by this entry key, in the domain if one is given. Blocks, as [`query`](Self::query)
    /// does.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(crate) fn knows_entry_key(&self, domain: Option<&str>, key: &str) -> Result<bool, QueryError> {
        self.has_series(&SeriesKind::OF_REQUESTS, domain, Some(key))
    }

    fn has_series(&self, kinds: &[SeriesKind], domain: Option<&str>, rule: Option<&str>) -> Result<bool, QueryError> {
        let kinds = SeriesKind::list(kinds);
        let sql = format!(
            "SELECT 1 FROM series WHERE domain = coalesce(?1, domain) AND rule = coalesce(?2, rule) AND kind IN ({kinds}) \
             LIMIT 1"
        );
        self.read(&Arc::default(), |connection| {
            Ok(connection.query_row(&sql, (domain, rule), |_| Ok(())).optional()?.is_some())
        })
    }

    /// Calls `query` with one consistent view of the database.
    fn read<T>(
        &self,
        unwanted: &Arc<AtomicBool>,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, QueryError> {
        let read = |connection: &mut Connection| {
            let (unwanted, began) = (Arc::clone(unwanted), Stopwatch::start());
            let too_long = move || unwanted.load(Ordering::Relaxed) || began.elapsed() > Nanos::from_secs(MAX_SECONDS);
            connection.progress_handler(STEPS_BETWEEN_LOOKS, Some(too_long))?;
            // Only the query's temporary table changes, which the rollback of the transaction removes.
            let worked = connection.transaction().and_then(|transaction| query(&transaction));
            connection.progress_handler(0, None::<fn() -> bool>)?;
            worked
        };
        let worked = match &self.rows {
            Rows::File(path) => open_to_read(path).and_then(|mut connection| read(&mut connection)),
            Rows::Memory(connection) => read(&mut connection.lock()),
        };
        worked.map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => QueryError::TooLong,
            _ => QueryError::Unavailable(error.to_string()),
        })
    }
}

/// The maximum size of a history in memory: an hour of minutes of 20,000 series.
pub(crate) const MEMORY_BYTES: u64 = 128 << 20;

/// Steps of SQLite's virtual machine between two checks of the time: some tens of microseconds.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;
