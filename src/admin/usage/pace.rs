//! When a stream of usage is due, and what it reads then.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::time::{Sleep, sleep};

use super::observers::{Observed, Reading};
use crate::units::Nanos;
use crate::usage::{ReportPosition, Schedule};

/// The pace of one stream. It is polled only when the stream can take a report; those that were missed until then are merged into
/// the next one.
pub(super) struct Pace {
    observed: Arc<Observed>,
    schedule: Schedule,
    /// When the stream began: the first report is of a reading since then, which it may share with other observers.
    asked: Nanos,
    sleep: Pin<Box<Sleep>>,
}

impl Pace {
    /// A report at once, then one every `interval`; `resumed` is the number of the last report, if it came from this server process.
    pub(super) fn new(observed: Arc<Observed>, interval: Nanos, resumed: Option<u64>) -> Self {
        let asked = observed.elapsed();
        Self { observed, schedule: Schedule::new(interval, resumed), asked, sleep: Box::pin(sleep(Nanos::ZERO.into())) }
    }

    pub(super) fn observed(&self) -> &Observed {
        &self.observed
    }

    /// The place of the next report and its reading, once it is due.
    pub(super) fn poll_reading(&mut self, cx: &mut Context<'_>) -> Poll<(ReportPosition, Reading)> {
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            let due = self.schedule.due();
            let place = self.schedule.next(self.observed.elapsed());
            let reading = place.map(|place| {
                let interval_begun = if due.is_zero() { self.asked } else { self.schedule.begun(place) };
                (place, self.observed.read(interval_begun))
            });
            let wait = self.schedule.due().as_ns().saturating_sub(self.observed.elapsed().as_ns());
            self.sleep = Box::pin(sleep(Nanos::from_ns(wait).into()));
            if let Some(reading) = reading {
                return Poll::Ready(reading);
            }
        }
    }
}
