//! The history of usage: what was used in each minute, hour and day, on disk or for an hour in memory.
//!
//! ```text
//! cumulative counts --every few seconds--> differences --> rows of minutes, hours and days (SQLite, one writer)
//!                                                              '--> queries, each on a connection of its own
//! ```
//! Nothing here is on the decision path: one thread reads the counts that decisions left behind, and a disk that fails
//! stops the history only. `docs/HISTORY.md` describes the database.

mod database;
mod deltas;
mod directory;
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
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, OptionalExtension};

pub(crate) use directory::{DataDir, DataDirError};
pub(crate) use query::{Groups, Page, Query, QueryError, Row};
pub(crate) use recorder::Recorder;
pub(crate) use series::{Kind, ReadUsage, Reading, Series};
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

/// How the history is kept.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The database; `None`: the last hour in memory.
    pub path: Option<PathBuf>,
    /// The time between two flushes: what a crash can lose.
    pub flush: Duration,
    /// The most that the database may take; in memory no more than [`MEMORY_BYTES`] whatever this says.
    pub max_bytes: u64,
}

/// Answers what was used when, and how recording goes.
#[derive(Debug)]
pub(crate) struct History {
    shared: Arc<Shared>,
    rows: Rows,
}

/// Where queries find the rows.
#[derive(Debug)]
enum Rows {
    File(PathBuf),
    /// The writer's own connection: while a query runs, the writer waits; in memory there is little to read.
    Memory(Arc<Mutex<Connection>>),
}

impl History {
    /// Opens the history and starts to record what `read` reads. A database that cannot be opened is tried again at each flush.
    ///
    /// # Errors
    /// The system has no thread, or no memory, left.
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
        let (writer, deltas) = (None, deltas::Deltas::default());
        let mut state =
            RecorderState { read, options, retention, shared: Arc::clone(&shared), writer, deltas, before: now };
        state.open(now);
        let rows = match (path, &state.writer) {
            (Some(path), _) => Rows::File(path),
            (None, Some(writer)) => Rows::Memory(Arc::clone(&writer.connection)),
            (None, None) => return Err(io::Error::other("no memory for the history")),
        };
        Ok((Self { shared, rows }, state))
    }

    /// How recording goes.
    pub(crate) fn status(&self) -> Status {
        self.shared.status()
    }

    /// Whether the history ends with the process.
    pub(crate) fn in_memory(&self) -> bool {
        matches!(self.rows, Rows::Memory(_))
    }

    /// One page of the answer. What was used since the last flush is not in it yet.
    ///
    /// Blocks: for a thread of its own, never one that decides. It takes 20 seconds at most, and ends early once
    /// `unwanted` is set.
    ///
    /// # Errors
    /// An empty range, a foreign token, an answer that takes too long, or a database that cannot be read.
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
            Ok(Ok(Page { rows, next_page_token, history_from, in_memory: self.in_memory() }))
        })?
    }

    /// Whether a domain or a rule, whichever is given, has ever used anything. Blocks, as [`query`](Self::query) does.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(crate) fn knows(&self, domain: Option<&str>, rule: Option<&str>) -> Result<bool, QueryError> {
        self.has_series(&Kind::OF_RULES, domain, rule)
    }

    /// Whether requests were ever counted by this entry key, in the domain if one is given. Blocks as
    /// [`query`](Self::query) does.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(crate) fn knows_entry_key(&self, domain: Option<&str>, key: &str) -> Result<bool, QueryError> {
        self.has_series(&Kind::OF_REQUESTS, domain, Some(key))
    }

    fn has_series(&self, kinds: &[Kind], domain: Option<&str>, rule: Option<&str>) -> Result<bool, QueryError> {
        let kinds = Kind::list(kinds);
        let sql = format!(
            "SELECT 1 FROM series WHERE domain = coalesce(?1, domain) AND rule = coalesce(?2, rule) AND kind IN ({kinds}) \
             LIMIT 1"
        );
        self.read(&Arc::default(), |connection| {
            Ok(connection.query_row(&sql, (domain, rule), |_| Ok(())).optional()?.is_some())
        })
    }

    /// Calls `query` with one unchanging view of the database.
    fn read<T>(
        &self,
        unwanted: &Arc<AtomicBool>,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, QueryError> {
        let read = |connection: &mut Connection| {
            let (unwanted, began) = (Arc::clone(unwanted), Stopwatch::start());
            let too_long = move || unwanted.load(Ordering::Relaxed) || began.elapsed() > Nanos::from_secs(MAX_SECONDS);
            connection.progress_handler(STEPS_BETWEEN_LOOKS, Some(too_long))?;
            // Nothing is changed but the query's own table, which goes with the transaction.
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

/// The most that a history in memory takes: an hour of the minutes of 20,000 series.
pub(crate) const MEMORY_BYTES: u64 = 128 << 20;

/// Steps of SQLite's machine between two looks at the time: some tens of microseconds.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;
