//! The usage for pages, as server-sent events: made of the same readings as `WatchUsage`, each event only when the page can take one.

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use serde::Serialize;
use tokio_stream::Stream;
use tonic::Status;

use super::observers::{Observed, PagePermit, Reading, Sent};
use super::pace::Pace;
use crate::api::proto::tidegate::v1::ServerInstance;
use crate::units::{Nanos, Timestamp};
use crate::usage::{Filter, ReportPosition};

/// The stream of events for one page. The first one has every rule, the others have the rules that have changed since; one that comes
/// late has every rule again.
pub(crate) struct UsageEvents {
    _permit: PagePermit,
    filter: Filter,
    pace: Pace,
    /// The last event's reading; gone if the page is late.
    sent: Weak<Sent>,
}

/// The fields of an event that are not rows.
#[derive(Serialize)]
struct Head<'e> {
    /// The server process; it changes with every start, with which the counts start from 0.
    instance: &'e str,
    started_ms: u64,
    sequence: u64,
    time_ms: u64,
    /// Reports that this one replaces.
    merged: u64,
    /// Every rule is included.
    complete: bool,
}

impl UsageEvents {
    /// An event at once, then one every `interval`.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED: there are too many pages or observers.
    pub(super) fn new(observed: Arc<Observed>, filter: Filter, interval: Nanos) -> Result<Self, Status> {
        let permit = observed.page_permit()?;
        Ok(Self { _permit: permit, filter, pace: Pace::new(observed, interval, None), sent: Weak::new() })
    }

    fn event(&mut self, place: ReportPosition, reading: Reading) -> Bytes {
        let last = self.sent.upgrade();
        let rows = reading.page_rows(&self.filter, last.as_deref());
        let instance = self.pace.observed().instance();
        let head = Head {
            instance: &instance.id,
            started_ms: started_ms(&instance),
            sequence: place.sequence,
            time_ms: reading.at.since(Timestamp::EPOCH).as_ns() / Nanos::MILLISECOND.as_ns(),
            merged: place.merged,
            complete: last.is_none(),
        };
        self.sent = self.pace.observed().keep_sent(reading);
        // Strings and numbers can always be written.
        let head = serde_json::to_string(&head).unwrap_or_default();
        let head = head.strip_suffix('}').unwrap_or_default();
        // JSON in one line has no line ends, which would end the event.
        [format!("event: usage\nid: {}\ndata: {head},", place.sequence).as_bytes(), &rows, b"}\n\n"].concat().into()
    }
}

impl Stream for UsageEvents {
    type Item = Bytes;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let this = self.get_mut();
        this.pace.poll_reading(cx).map(|(place, reading)| Some(this.event(place, reading)))
    }
}

impl Drop for UsageEvents {
    fn drop(&mut self) {
        self.pace.observed().page_ends();
    }
}

fn started_ms(instance: &ServerInstance) -> u64 {
    let started = instance.started.unwrap_or_default();
    let part = |part: i64| u64::try_from(part).unwrap_or(0);
    part(started.seconds).saturating_mul(1_000).saturating_add(part(i64::from(started.nanos)) / 1_000_000)
}
