//! `WatchDenials`: denied checks in batches, as fast as the observer reads them; at first, if asked for, those that are still kept.

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
use crate::usage::{Denial, Filter, Listener};

/// The stream of denied checks for one observer.
pub(super) struct DenialReports {
    observed: Arc<Observed>,
    _permit: Permit,
    filter: Filter,
    listener: Listener,
    /// The first message, if it is to be sent at once: earlier denials.
    first: Option<Vec<Arc<Denial>>>,
    sleep: Pin<Box<Sleep>>,
    /// The observer may know how many checks of all domains were dropped; otherwise only that some were.
    counts_dropped: bool,
}

impl DenialReports {
    /// `recent` is the maximum number of earlier denials, which is bounded here.
    pub(super) fn new(
        observed: Arc<Observed>,
        permit: Permit,
        filter: Filter,
        recent: usize,
        counts_dropped: bool,
    ) -> Self {
        let (listener, first) = if recent == 0 {
            (observed.listen(), None)
        } else {
            let mut listener = observed.listen_to_kept();
            let (mut kept, _) = listener.poll(usize::MAX);
            kept.retain(|denial| filter.takes_denial(denial));
            let latest = kept.split_off(kept.len().saturating_sub(recent.min(MAX_BATCH)));
            (listener, Some(latest))
        };
        Self { observed, _permit: permit, filter, listener, first, sleep: Box::pin(sleep(PAUSE)), counts_dropped }
    }

    fn report(&self, denials: &[Arc<Denial>], num_dropped: u64) -> DenialReport {
        let denials = denials.iter().map(denial).collect();
        DenialReport { instance: Some(self.observed.instance()), denials, num_dropped }
    }
}

impl Stream for DenialReports {
    type Item = Result<DenialReport, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Ok(this.report(&first, 0))));
        }
        loop {
            ready!(this.sleep.as_mut().poll(cx));
            let (mut taken, num_dropped) = this.listener.poll(MAX_BATCH);
            this.sleep = Box::pin(sleep(if taken.len() < MAX_BATCH { PAUSE } else { Duration::ZERO }));
            taken.retain(|denial| this.filter.takes_denial(denial));
            let num_dropped = if this.counts_dropped { num_dropped } else { num_dropped.min(1) };
            if !taken.is_empty() || num_dropped > 0 {
                return Poll::Ready(Some(Ok(this.report(&taken, num_dropped))));
            }
        }
    }
}

/// Between two batches: short enough to look live.
const PAUSE: Duration = Duration::from_millis(50);
/// Denied checks in one message, about 200 bytes each.
const MAX_BATCH: usize = 1_000;
