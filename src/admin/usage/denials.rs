//! `WatchDenials`: denied checks in batches, as fast as the observer reads them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Sleep, sleep};
use tokio_stream::Stream;
use tonic::Status;

use super::observers::{Observed, Permit};
use crate::api::proto::tidegate::v1::DenialReport;
use crate::api::usage::denial;
use crate::usage::{Filter, Listener};

/// The stream of denied checks for one observer.
pub(super) struct DenialReports {
    observed: Arc<Observed>,
    _permit: Permit,
    filter: Filter,
    listener: Listener,
    sleep: Pin<Box<Sleep>>,
    /// The observer may know how many checks of all domains were dropped; otherwise only that some were.
    counts_dropped: bool,
}

impl DenialReports {
    pub(super) fn new(observed: Arc<Observed>, permit: Permit, filter: Filter, counts_dropped: bool) -> Self {
        let listener = observed.listen();
        Self { observed, _permit: permit, filter, listener, sleep: Box::pin(sleep(PAUSE)), counts_dropped }
    }
}

impl Stream for DenialReports {
    type Item = Result<DenialReport, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            ready!(this.sleep.as_mut().poll(cx));
            let (taken, num_dropped) = this.listener.poll(MAX_BATCH);
            this.sleep = Box::pin(sleep(if taken.len() < MAX_BATCH { PAUSE } else { Duration::ZERO }));
            let denials: Vec<_> = taken.iter().filter(|taken| this.filter.takes_denial(taken)).map(denial).collect();
            let num_dropped = if this.counts_dropped { num_dropped } else { num_dropped.min(1) };
            if !denials.is_empty() || num_dropped > 0 {
                let instance = Some(this.observed.instance().clone());
                return Poll::Ready(Some(Ok(DenialReport { instance, denials, num_dropped })));
            }
        }
    }
}

/// Between two batches: short enough to look live.
const PAUSE: Duration = Duration::from_millis(50);
/// Denied checks in one message, about 200 bytes each.
const MAX_BATCH: usize = 1_000;
