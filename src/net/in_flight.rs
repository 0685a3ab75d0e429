//! A bound on the requests of an HTTP port that are not answered yet.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use super::slots::Slot;

/// The requests of one port.
#[derive(Clone, Debug)]
pub(super) struct InFlight(Arc<Semaphore>);

impl Default for InFlight {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_REQUESTS)))
    }
}

impl InFlight {
    /// Those of one connection.
    pub(super) fn on(&self, slot: Arc<Slot>) -> OnConnection {
        OnConnection { all: Arc::clone(&self.0), slot }
    }
}

/// Where requests of one connection are counted.
#[derive(Clone, Debug)]
pub(super) struct OnConnection {
    all: Arc<Semaphore>,
    slot: Arc<Slot>,
}

/// Counts the request until its answer is sent, rejects it beyond the bound, and ends it when nothing is answered in time.
pub(super) async fn count(State(counted): State<OnConnection>, request: Request, next: Next) -> Response {
    let content_type = request.headers().get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let is_grpc = content_type.starts_with(b"application/grpc");
    let OnConnection { all, slot } = counted;
    let Ok(permit) = all.try_acquire_owned() else {
        return rejected(is_grpc, Status::resource_exhausted("too many requests at the same time"));
    };
    let counted = Counted::new(permit, slot);
    match tokio::time::timeout(ANSWER_TIMEOUT, next.run(request)).await {
        Ok(response) => response.map(|body| Body::new(Answer { body, _counted: counted })),
        Err(_) => rejected(is_grpc, Status::deadline_exceeded("the request did not arrive in time")),
    }
}

fn rejected(is_grpc: bool, status: Status) -> Response {
    if is_grpc {
        return status.into_http::<Body>();
    }
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")], format!("{}\n", status.message())).into_response()
}

/// One request, on its connection and on its port.
struct Counted {
    slot: Arc<Slot>,
    _permit: OwnedSemaphorePermit,
}

impl Counted {
    fn new(permit: OwnedSemaphorePermit, slot: Arc<Slot>) -> Self {
        slot.opened();
        Self { slot, _permit: permit }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.slot.answered();
    }
}

/// The body of an answer; the request is counted until it is dropped.
struct Answer {
    body: Body,
    _counted: Counted,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Some 20 KiB each: operators and scrapers have a few, clients of `/json` one for each of their threads.
const MAX_REQUESTS: usize = 1_024;

/// The longest time until an answer begins: the longest queries take 20 s.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);
