//! WatchUsage: reports that are made when the stream can take one, so that nothing queues up for a slow observer.

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

/// The reports of one observer. hyper asks for the next one only when the observer has taken what was sent: what it
/// missed meanwhile is merged into that one.
pub(super) struct UsageReports {
    observed: Arc<Observed>,
    _permit: Permit,
    scope: Scope,
    schedule: Schedule,
    /// When the observer asked: its first report is of a reading since then, which it may share with others that ask.
    asked: Nanos,
    resumed: bool,
    sleep: Pin<Box<Sleep>>,
}

impl UsageReports {
    /// `scope.top` is bounded here, 0 is the bound; `resumed` is the number of the observer's last report, if it was one of
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

/// Counters in one report: what fits into 4 MiB, whatever their names, and more than a person reads.
const MAX_TOP: usize = 1_000;
