//! Counters over a restart and a crash: in the data directory, as a snapshot and journals of what has changed since.
//!
//! ```text
//! Memory --flusher--> records (fingerprint of the limit, parts of the key, state) --> counters.G.journal, counters.G.snapshot
//! snapshot, journals --read--> limits in force by their fingerprint --> Memory
//! ```
//!
//! A record names its limit by content, so it finds its counter again in another process, also with another number; those of
//! limits that are no longer configured, and those that are spent, are left out. See [`format`] for the files, and [`flusher`] for
//! when they are written.

mod files;
mod flusher;
mod format;
mod read;
mod record;
mod status;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use files::Directory;
use flusher::{Flushed, Flusher};
pub(crate) use read::Restored;
pub(crate) use status::StateStatus;

use crate::limiter::Limiter;
use crate::runtime::clock::{Clock, Stopwatch};
use crate::runtime::threads::{Wait, Worker};
use crate::units::{Nanos, Timestamp};

/// The counters in a data directory.
#[derive(Debug)]
pub(crate) struct State {
    limiter: Arc<Limiter>,
    clock: Arc<Clock>,
    directory: Directory,
    interval: Duration,
    restored: Restored,
    status: Arc<Mutex<StateStatus>>,
    thread: Option<Worker>,
}

impl State {
    /// Reads the counters of the last run. A damaged file is set aside, with a line in the log; what is whole before the damage is
    /// used. Nothing else may use the limiter meanwhile.
    pub(crate) fn restore(path: &Path, interval: Duration, limiter: &Arc<Limiter>, clock: &Arc<Clock>) -> Self {
        let (directory, now) = (Directory::new(path), clock.now());
        let restored = read::restore(&directory, limiter, now);
        let status = StateStatus::begin(path, &restored, now);
        Self {
            limiter: Arc::clone(limiter),
            clock: Arc::clone(clock),
            directory,
            interval,
            restored,
            status: Arc::new(Mutex::new(status)),
            thread: None,
        }
    }

    /// What was restored.
    pub(crate) fn restored(&self) -> &Restored {
        &self.restored
    }

    /// How writing goes.
    pub(crate) fn status(&self) -> Arc<Mutex<StateStatus>> {
        Arc::clone(&self.status)
    }

    /// Begins to write what changes. From then on a crash loses at most the interval.
    ///
    /// # Errors
    /// The directory cannot be written, or the system has no thread.
    pub(crate) fn start(&mut self) -> io::Result<()> {
        let (limiter, clock, status) = (Arc::clone(&self.limiter), Arc::clone(&self.clock), Arc::clone(&self.status));
        // A crash loses what was changed since the last flush that has ended began: the time between two flushes, and that of one.
        let pace = self.interval / 2;
        let horizon = Nanos::from_ns(u64::try_from(pace.as_nanos()).unwrap_or(u64::MAX));
        let budget = Nanos::from_ns(horizon.as_ns() / 2);
        // The first journal is begun here, so that a directory that cannot be written is noticed at the start.
        let mut flusher = Flusher::begin(self.directory.clone(), limiter, horizon, &self.restored)?;
        self.thread = Some(Worker::spawn("tidegate-state", move |stop| {
            let mut waits = Waits::new(pace);
            while stop.wait(waits.next()) != Wait::Stopped {
                let stopwatch = Stopwatch::start();
                let now = clock.now();
                // A snapshot may use half of the time, so that flushes come when they are due.
                let has_time = || stopwatch.elapsed() < budget;
                let mut pauses = Pauses::new(budget);
                let pause = |length| {
                    // A stop is noticed after the flush.
                    let _woken = stop.wait(length);
                };
                let outcome = flusher.flush(now, has_time, || pauses.offer(pause));
                let took = stopwatch.elapsed();
                waits.note(outcome.is_ok(), Duration::from_nanos(took.as_ns()));
                status.lock().note(outcome, clock.now(), took);
            }
            finish(flusher, &clock, &status);
        })?);
        Ok(())
    }

    /// Writes all counters, when the last check has been answered; returns when that is done.
    pub(crate) fn finish(&mut self) {
        self.thread = None;
    }
}

/// Pauses while a flush works, so that on one core a check waits for a short part of it, not for all. A flush with little to write has
/// none, and all together are bounded, so that it ends in time.
struct Pauses {
    worked: Stopwatch,
    left: u32,
}

impl Pauses {
    fn new(most: Nanos) -> Self {
        let left = Duration::from(most).as_nanos() / PAUSE.as_nanos();
        Self { worked: Stopwatch::start(), left: u32::try_from(left).unwrap_or(u32::MAX) }
    }

    /// Waits if there was enough work since the last pause.
    fn offer(&mut self, wait: impl FnOnce(Duration)) {
        if self.left > 0 && self.worked.elapsed() >= LONGEST_WORK {
            self.left -= 1;
            wait(PAUSE);
            self.worked = Stopwatch::start();
        }
    }
}

/// The waits between flushes: shorter ones after a long flush, so that flushes begin at an even pace, and longer ones while the disk
/// fails.
struct Waits {
    pace: Duration,
    next: Duration,
}

impl Waits {
    fn new(pace: Duration) -> Self {
        Self { pace, next: pace }
    }

    fn next(&self) -> Duration {
        self.next
    }

    fn note(&mut self, is_ok: bool, took: Duration) {
        self.next = if is_ok {
            self.pace.saturating_sub(took).max(self.pace / 8)
        } else {
            (self.next.max(self.pace) * 2).min(LONGEST_WAIT.max(self.pace))
        };
    }
}

fn finish(flusher: Flusher<Directory>, clock: &Clock, status: &Mutex<StateStatus>) {
    let stopwatch = Stopwatch::start();
    match flusher.finish(clock.now()) {
        Ok(Flushed { counters, bytes, .. }) => {
            let took = humantime::format_duration(Duration::from_millis(stopwatch.elapsed().as_millis_ceil()));
            tracing::info!(counters, bytes, %took, "counters kept for the next start");
        }
        Err(error) => status.lock().end(&error),
    }
}

/// Whether the clock of this run fits that of the last one, in words.
pub(crate) fn clock_note(latest: Timestamp, now: Timestamp) -> Option<String> {
    if latest > now.plus(CLOCK_STEP) {
        let back = latest.since(now);
        return Some(format!(
            "the clock is {back} behind that of the last run: windows that were used up stay so until their end by the clock of then"
        ));
    }
    let ahead = now.since(latest);
    (ahead > LONG_STOP)
        .then(|| format!("the counters were written {ahead} ago by the clock: what has ended meanwhile is dropped"))
}

/// The work of a flush between two pauses: some hundred counters, as long as some dozen checks take.
const LONGEST_WORK: Nanos = Nanos::from_ns(100_000);
/// One pause, in which those whose checks have come meanwhile are served. The system may make it longer.
const PAUSE: Duration = Duration::from_micros(300);
/// The longest wait while the disk fails.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Clocks of two runs differ by that much without a word.
const CLOCK_STEP: Nanos = Nanos::from_secs(1);
/// A stop of that length is worth a word, because a wrong clock looks the same.
const LONG_STOP: Nanos = Nanos::from_secs(86_400);

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
