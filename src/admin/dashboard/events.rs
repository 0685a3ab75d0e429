//! `GET /api/v1/usage/events`: the usage as server-sent events.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use tokio_stream::Stream;
use tonic::Status;

use super::Dashboard;
use super::answer::failed;
use super::parameters::Parameters;
use super::while_read::WhileRead;
use crate::access::Principal;
use crate::api::usage::read_interval;
use crate::runtime::lifecycle::Phases;
use crate::units::Nanos;

/// The events of the caller's domains, or of one of them; the interval is 1 s unless the query has another.
pub(super) async fn usage_events(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(caller): Extension<Arc<Principal>>,
    RawQuery(query): RawQuery,
) -> Response {
    let (domain, interval) = match read(query.as_deref()) {
        Ok(read) => read,
        Err(status) => return failed(&status),
    };
    match dashboard.usage.events(caller, domain, interval) {
        Ok(events) => {
            let body = Body::from_stream(Ending::new(WhileRead::new(events), dashboard.phases.clone()));
            ([(CONTENT_TYPE, "text/event-stream")], body).into_response()
        }
        Err(status) => failed(&status),
    }
}

fn read(query: Option<&str>) -> Result<(String, Nanos), Status> {
    let given = Parameters::read(query, &["domain", "interval"])?;
    let interval = read_interval(given.length("interval")?)?;
    if interval > LONGEST_INTERVAL {
        return Err(Status::invalid_argument("interval: must be from 100 ms to 5 s"));
    }
    Ok((given.text("domain"), interval))
}

/// A stream that ends when the process stops.
struct Ending<S> {
    stream: S,
    stopping: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl<S> Ending<S> {
    fn new(stream: S, mut phases: Phases) -> Self {
        Self { stream, stopping: Box::pin(async move { phases.stopping().await }) }
    }
}

impl<S: Stream<Item = Result<Bytes, &'static str>> + Unpin> Stream for Ending<S> {
    type Item = Result<Bytes, &'static str>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.stopping.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        Pin::new(&mut this.stream).poll_next(cx)
    }
}

/// Shorter than the time after which a page that does not read is dropped.
const LONGEST_INTERVAL: Nanos = Nanos::from_secs(5);
