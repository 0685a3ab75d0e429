//! `WatchUsage`: a report is made only when the stream can take one, so that nothing queues up for a slow observer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::time::{Sleep, sleep};
use tokio_stream::Stream;
use tonic::Status;

use super::observers::{Observed, Permit};
use crate::api::usage::{EncodedReport, report};
use crate::units::Nanos;
use crate::usage::{Schedule, Scope};

/// The stream of reports for one observer. hyper polls it only when the observer has read what was sent; reports that were
/// missed until then are merged into the next one.
pub(super) struct UsageReports {
    observed: Arc<Observed>,
    _permit: Permit,
    scope: Scope,
    schedule: Schedule,
    /// When the stream began: the first report is of a reading since then, which it may share with other observers.
    asked: Nanos,
    resumed: bool,
    sleep: Pin<Box<Sleep>>,
}

impl UsageReports {
    /// `scope.top` is bounded here, and 0 means the bound; `resumed` is the number of the observer's last report, if it came from
    /// this server process.
    pub(super) fn new(
        observed: Arc<Observed>,
        permit: Permit,
        scope: Scope,
        interval: Nanos,
        resumed: Option<u64>,
    ) -> Self {
        let top = Some(scope.top).filter(|top| (1..=MAX_TOP).contains(top)).unwrap_or(MAX_TOP);
        let scope = Scope { top, ..scope };
        let (schedule, sleep) = (Schedule::new(interval, resumed), Box::pin(sleep(Nanos::ZERO.into())));
        let asked = observed.elapsed();
        Self { observed, _permit: permit, scope, schedule, asked, resumed: resumed.is_some(), sleep }
    }

    /// The next report, if one is due.
    fn report(&mut self) -> Option<EncodedReport> {
        let due = self.schedule.due();
        let elapsed = self.observed.elapsed();
        let place = self.schedule.next(elapsed)?;
        let interval_begun = if due.is_zero() { self.asked } else { self.schedule.begun(place) };
        let reading = self.observed.read(interval_begun);
        let body = reading.body(&self.scope);
        let resumed = std::mem::take(&mut self.resumed);
        Some(report(self.observed.instance(), place, resumed, reading.at, body))
    }
}

impl Stream for UsageReports {
    type Item = Result<EncodedReport, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            ready!(this.sleep.as_mut().poll(cx));
            let report = this.report();
            let wait = this.schedule.due().as_ns().saturating_sub(this.observed.elapsed().as_ns());
            this.sleep = Box::pin(sleep(Nanos::from_ns(wait).into()));
            if let Some(report) = report {
                return Poll::Ready(Some(Ok(report)));
            }
        }
    }
}

/// Counters in one report: they fit in 4 MiB, whatever their names, and are more than a person reads.
const MAX_TOP: usize = 1_000;
