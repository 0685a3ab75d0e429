//! Pushes statistics to a statsd: those of the reference service by its names, and over DogStatsD Tidegate's own, too.
//!
//! ```text
//! Snapshot --Formatter--> lines --Transport--> UDP datagrams, or a TCP connection
//!     ^                     '-- Sent: the totals that have arrived there, of which the next flush sends the difference
//! ```
//! All of it is done by one thread with a low priority, once per interval. It costs a decision nothing, whether it is received or not: what is sent
//! is read from the sums that are kept anyway.

mod format;
mod transport;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Snapshot;
use super::statsd_values::StatsdValues;
use crate::runtime::clock::Stopwatch;
use crate::runtime::threads::{Wait, Worker};
use crate::settings::{StatsdFormat, StatsdRename, StatsdUrl};
use crate::units::Nanos;
use format::{Formatter, Line};
use transport::Transport;

/// What is sent where.
#[derive(Clone, Debug)]
pub(crate) struct StatsdTarget {
    /// Where to.
    pub(crate) url: StatsdUrl,
    /// How tags are written.
    pub(crate) format: StatsdFormat,
    /// The time between two flushes.
    pub(crate) interval: Duration,
    /// Tags of every statistic.
    pub(crate) tags: Vec<(String, String)>,
    /// Other names for statistics: the first that matches counts. For DogStatsD.
    pub(crate) renames: Vec<StatsdRename>,
}

/// How pushing goes.
#[derive(Debug, Default)]
pub(crate) struct StatsdStatus {
    flushes: AtomicU64,
    failures: AtomicU64,
}

/// The thread that pushes. Dropped, it flushes once more, for at most [`LAST_FLUSH`].
#[derive(Debug)]
pub(crate) struct Statsd(Worker);

/// The totals of counters that have been sent, by their line's name.
type Sent = HashMap<String, u64>;

impl StatsdStatus {
    /// The values for the metrics.
    pub(crate) fn values(&self) -> StatsdValues {
        let [flushes, failures] = [&self.flushes, &self.failures].map(|count| count.load(Ordering::Relaxed));
        StatsdValues { flushes, failures }
    }
}

impl Statsd {
    /// Starts to push what `snapshot` returns.
    ///
    /// # Errors
    /// The system cannot start another thread.
    pub(crate) fn start(
        target: StatsdTarget,
        status: Arc<StatsdStatus>,
        snapshot: impl Fn() -> Snapshot + Send + 'static,
    ) -> io::Result<Self> {
        let worker = Worker::spawn("tidegate-statsd", move |stop| {
            let interval = target.interval;
            let mut pusher = Pusher::new(target, status);
            loop {
                let wait = stop.wait(interval);
                pusher.flush(&snapshot());
                if wait == Wait::Stopped {
                    return;
                }
            }
        })?;
        Ok(Self(worker))
    }
}

impl Drop for Statsd {
    fn drop(&mut self) {
        if !self.0.stop_within(LAST_FLUSH) {
            tracing::warn!("the last statistics could not be sent to statsd in {LAST_FLUSH:?}");
        }
    }
}

/// What the thread works with.
struct Pusher {
    url: StatsdUrl,
    formatter: Formatter,
    transport: Transport,
    sent: Sent,
    status: Arc<StatsdStatus>,
    log: Log,
    /// That there are too many counters.
    has_warned: bool,
}

impl Pusher {
    fn new(target: StatsdTarget, status: Arc<StatsdStatus>) -> Self {
        let StatsdTarget { url, format, tags, renames, .. } = target;
        let transport = Transport::new(&url);
        let formatter = Formatter::new(format, &tags, renames);
        Self { url, formatter, transport, sent: Sent::new(), status, log: Log::default(), has_warned: false }
    }

    /// Sends what has changed since the last flush, and all gauges.
    fn flush(&mut self, snapshot: &Snapshot) {
        let (lines, left_out) = self.formatter.lines(snapshot, &self.sent);
        if left_out > 0 && !std::mem::replace(&mut self.has_warned, true) {
            tracing::warn!("statsd: {left_out} counters are left out, because there are {MAX_COUNTERS} others");
        }
        let texts = lines.iter().map(|line| &*line.text);
        let (sent, outcome) = self.transport.send(texts);
        self.sent.extend(lines.into_iter().take(sent).filter_map(|Line { counter, .. }| counter));
        let count = if outcome.is_ok() { &self.status.flushes } else { &self.status.failures };
        count.fetch_add(1, Ordering::Relaxed);
        self.log.note(&self.url, outcome);
    }
}

/// Says once a minute that a statsd does not receive, and once that it does again.
#[derive(Debug, Default)]
struct Log {
    /// Since a failure was logged; `None`: the last flush was sent.
    failing: Option<Stopwatch>,
}

impl Log {
    fn note(&mut self, url: &impl fmt::Display, outcome: io::Result<()>) {
        match outcome {
            Ok(()) => {
                if self.failing.take().is_some() {
                    tracing::info!("statsd at {url} receives again");
                }
            }
            Err(error) => {
                if self.failing.is_none_or(|since| since.elapsed() >= Nanos::from(REMINDER)) {
                    tracing::warn!(%error, "statsd at {url} does not receive; decisions go on, and so do attempts");
                    self.failing = Some(Stopwatch::start());
                }
            }
        }
    }
}

/// Time between two lines of the log about a statsd that does not receive.
const REMINDER: Duration = Duration::from_mins(1);
/// How long the process waits for the last flush when it ends.
const LAST_FLUSH: Duration = Duration::from_secs(2);
/// More than the rules and values that are tracked individually by default; the name of each is kept.
const MAX_COUNTERS: usize = 200_000;

#[cfg(test)]
mod tests;
