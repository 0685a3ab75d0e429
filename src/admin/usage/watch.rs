//! `WatchUsage`: a report is made only when the stream can take one, so that nothing queues up for a slow observer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio_stream::Stream;
use tonic::Status;

use super::observers::{Observed, Permit};
use super::pace::Pace;
use crate::api::usage::{EncodedReport, report};
use crate::units::Nanos;
use crate::usage::Scope;

/// The stream of reports for one observer. hyper polls it only when the observer has read what was sent.
pub(super) struct UsageReports {
    _permit: Permit,
    scope: Scope,
    pace: Pace,
    resumed: bool,
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
        Self { _permit: permit, scope, pace: Pace::new(observed, interval, resumed), resumed: resumed.is_some() }
    }
}

impl Stream for UsageReports {
    type Item = Result<EncodedReport, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        this.pace.poll_reading(cx).map(|(place, reading)| {
            let body = reading.body(&this.scope);
            let resumed = std::mem::take(&mut this.resumed);
            Some(Ok(report(this.pace.observed().instance(), place, resumed, reading.at, body)))
        })
    }
}

/// Counters in one report: they fit in 4 MiB, whatever their names, and are more than a person reads.
const MAX_TOP: usize = 1_000;
