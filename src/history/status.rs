//! The status of recording, for `/readyz` and the metrics.

use parking_lot::Mutex;

use super::database::DatabaseError;
use super::writer::Size;
use crate::units::Timestamp;

/// The status of recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    /// Why the history cannot be written at present.
    pub failure: Option<String>,
    /// Rows in the history.
    pub rows: u64,
    /// The size of the history, on disk or in memory, without the write-ahead log.
    pub bytes: u64,
    /// Flushes that succeeded.
    pub flushes: u64,
    /// Flushes that failed.
    pub failures: u64,
    /// When a flush last succeeded; before the first one, when the history was opened.
    pub last_flush: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct Shared(Mutex<Status>);

impl Shared {
    pub(super) fn status(&self) -> Status {
        self.0.lock().clone()
    }

    pub(super) fn opened(&self, now: Timestamp, result: Result<Size, DatabaseError>) {
        let mut status = self.0.lock();
        status.last_flush = now;
        note(&mut status, result);
    }

    pub(super) fn flushed(&self, now: Timestamp, result: Result<Size, DatabaseError>) {
        let mut status = self.0.lock();
        if result.is_ok() {
            status.flushes += 1;
            status.last_flush = now;
        } else {
            status.failures += 1;
        }
        note(&mut status, result);
    }
}

/// Logs a failure when it begins, changes and ends.
fn note(status: &mut Status, result: Result<Size, DatabaseError>) {
    match result {
        Ok(size) => {
            (status.rows, status.bytes) = (size.rows, size.bytes);
            if status.failure.take().is_some() {
                tracing::info!("the history can be written again");
            }
        }
        Err(failure) => {
            let failure = failure.to_string();
            if status.failure.as_ref() != Some(&failure) {
                tracing::error!("the history cannot be written; decisions are not affected: {failure}");
            }
            status.failure = Some(failure);
        }
    }
}
