//! The thread that reads the usage every few seconds and writes what is new.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::ReadUsage;
use super::database::{DatabaseError, OpenOptions, set_aside};
use super::pending::Pending;
use super::resolution::{Resolution, second};
use super::retention::Retention;
use super::status::Shared;
use super::writer::{Size, Writer};
use crate::runtime::clock::Clock;
use crate::runtime::threads::{Stop, Wait, Worker};
use crate::units::{Nanos, Timestamp};

/// Records until it is dropped, and a last time then.
#[derive(Debug)]
pub(crate) struct Recorder {
    _worker: Worker,
}

/// The state of the thread. The time is an argument of its methods.
pub(super) struct RecorderState {
    pub(super) read: ReadUsage,
    pub(super) options: OpenOptions,
    pub(super) retention: Retention,
    pub(super) shared: Arc<Shared>,
    pub(super) writer: Option<Writer>,
    pub(super) pending: Pending,
    /// The time of the last reading: usage since then belongs to its minute.
    pub(super) before: Timestamp,
}

impl Recorder {
    pub(super) fn start(mut state: RecorderState, clock: Arc<Clock>, interval: Duration) -> io::Result<Self> {
        let run = move |stop: &Stop| {
            while rest(stop, interval, clock.now()) {
                state.flush(clock.now());
            }
            state.flush(clock.now());
        };
        Ok(Self { _worker: Worker::spawn("tidegate-history", run)? })
    }
}

impl RecorderState {
    /// Reads the usage, and writes what is new. A failure is logged once, and usage that could not be written is kept for the
    /// next flush.
    pub(super) fn flush(&mut self, now: Timestamp) {
        self.pending.add(second(self.before), &mut self.read);
        self.before = now;
        let written = self.write_or_set_aside(second(now));
        if written.is_ok() {
            self.pending.written();
        } else if self.options.path.is_some() {
            // The next flush reads the state from disk.
            self.writer = None;
        }
        self.shared.flushed(now, written);
    }

    /// Opens the database, so that it can be queried before the first flush.
    pub(super) fn open(&mut self, now: Timestamp) {
        let opened = self.write_or_set_aside(second(now));
        self.shared.opened(now, opened);
    }

    fn write_or_set_aside(&mut self, now: i64) -> Result<Size, DatabaseError> {
        let written = self.write(now);
        let (Err(failure), Some(path)) = (&written, &self.options.path) else { return written };
        if !failure.is_corrupt() {
            return written;
        }
        self.writer = None;
        let aside = set_aside(path, now)?;
        tracing::error!(
            "the history {} is corrupt ({failure}): it was renamed to {}, and a new one is started",
            path.display(),
            aside.display()
        );
        self.write(now)
    }

    fn write(&mut self, now: i64) -> Result<Size, DatabaseError> {
        if self.writer.is_some() && self.options.path.as_deref().is_some_and(is_gone) {
            tracing::warn!("the history file was removed: a new one is started");
            self.writer = None;
        }
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(Writer::open(&self.options, now)?),
        };
        writer.trim(self.retention, now)?;
        writer.write(&self.pending)?;
        Ok(writer.size()?)
    }
}

fn is_gone(path: &Path) -> bool {
    matches!(path.try_exists(), Ok(false))
}

/// Waits for the next flush, at most until the end of the minute. Returns whether to go on.
fn rest(stop: &Stop, interval: Duration, now: Timestamp) -> bool {
    let minute = Nanos::from_secs(Resolution::Minute.seconds().cast_unsigned()).as_ns();
    let left = Duration::from_nanos(minute - now.as_ns() % minute);
    stop.wait(interval.min(left)) != Wait::Stopped
}
