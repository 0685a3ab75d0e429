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

/// Counts the request until its answer is sent, and rejects it beyond the bound. A call of gRPC that is not answered in time ends.
pub(super) async fn count(State(counted): State<OnConnection>, request: Request, next: Next) -> Response {
    let content_type = request.headers().get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let is_grpc = content_type.starts_with(b"application/grpc");
    let OnConnection { all, slot } = counted;
    let Ok(permit) = all.try_acquire_owned() else {
        return rejected(is_grpc, Status::resource_exhausted("too many requests at the same time"));
    };
    let counted = Counted::new(permit, slot);
    let response = if is_grpc {
        match tokio::time::timeout(ANSWER_TIMEOUT, next.run(request)).await {
            Ok(response) => response,
            Err(_) => return rejected(is_grpc, Status::deadline_exceeded("the request did not arrive in time")),
        }
    } else {
        // Only `/json` reads a body, with a limit of its own; its answer may wait in a queue.
        next.run(request).await
    };
    response.map(|body| Body::new(Answer { body, _counted: counted }))
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

/// Some 20 KiB each: operators and scrapers have a few, clients of `/json` one for each of their threads, or some that wait in queues.
const MAX_REQUESTS: usize = 4_096;

/// The longest time until the answer to a call begins: the longest queries take 20 s.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::middleware::from_fn_with_state;
    use axum::routing::any;
    use http_body_util::BodyExt;
    use tonic::codegen::Service;

    use super::*;

    fn request(path: &str, content_type: &str) -> Request {
        Request::post(path).header(CONTENT_TYPE, content_type).body(Body::empty()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_counted_until_their_answers_are_sent() {
        let in_flight = InFlight(Arc::new(Semaphore::new(2)));
        let slot = Slot::alone();
        let mut router: Router = Router::new()
            .route("/now", any(|| async { "now" }))
            .route("/never", any(std::future::pending::<()>))
            .layer(from_fn_with_state(in_flight.on(Arc::clone(&slot)), count));
        let unsent = router.call(request("/now", "text/plain")).await.unwrap();
        let pending = tokio::spawn(router.call(request("/never", "application/grpc")));
        tokio::task::yield_now().await;
        assert_eq!(in_flight.0.available_permits(), 0);
        let page = router.call(request("/now", "text/plain")).await.unwrap();
        assert_eq!((page.status(), page.headers().contains_key(RETRY_AFTER)), (StatusCode::SERVICE_UNAVAILABLE, true));
        let call = router.call(request("/now", "application/grpc")).await.unwrap();
        assert_eq!(call.headers().get("grpc-status").unwrap(), "8");
        // Sent, and given up.
        assert_eq!(unsent.into_body().collect().await.unwrap().to_bytes(), "now");
        assert_eq!(pending.await.unwrap().unwrap().headers().get("grpc-status").unwrap(), "4");
        assert_eq!(in_flight.0.available_permits(), 2);
    }
}
