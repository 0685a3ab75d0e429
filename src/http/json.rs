//! `/json`: one check in protojson, with any method, answered as envoyproxy/ratelimit does.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};

use crate::api::rls::json as protojson;
use crate::limiter::{Limiter, WorkerSlot};
use crate::net::{MAX_MESSAGE_BYTES, PartialBytes};
use crate::runtime::clock::Clock;
use crate::runtime::lifecycle::Phases;
use crate::sanitize::sanitize;
use crate::service::{self, Answer, DelayedReplies};

/// Decides about checks that come as JSON.
#[derive(Clone, Debug)]
pub struct JsonChecks {
    /// Decides.
    pub limiter: Arc<Limiter>,
    /// Tells the time.
    pub clock: Arc<Clock>,
    /// The worker slot of all of them.
    pub worker: WorkerSlot,
    /// What incomplete bodies hold.
    pub partial: PartialBytes,
    /// The delayed replies.
    pub delayed: DelayedReplies,
    /// The phase of the process.
    pub phases: Phases,
}

/// 200 for OK, 429 for OVER_LIMIT, 400 for everything that was not decided. The first line of a 400 is the reference
/// service's, the second says why.
pub(super) async fn json(State(checks): State<JsonChecks>, body: Body) -> Response {
    match checks.answer(body).await {
        Ok(answer) => {
            let status = if answer.over_limit { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::OK };
            let json = protojson::response_to_json(answer.frame.message());
            (status, [(CONTENT_TYPE, "application/json")], json).into_response()
        }
        Err(reason) => {
            // It may repeat what the client sent: as long as a line, and no browser shall take it for a page.
            let reason = sanitize(&reason);
            tracing::debug!(reason, "/json rejected");
            let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
            (StatusCode::BAD_REQUEST, headers, format!("Bad Request\n{reason}\n")).into_response()
        }
    }
}

impl JsonChecks {
    async fn answer(&self, body: Body) -> Result<Answer, String> {
        let read = tokio::time::timeout(
            BODY_TIMEOUT,
            axum::body::to_bytes(Body::new(self.partial.bound(body)), MAX_MESSAGE_BYTES),
        );
        let body = read.await.map_err(|_| "the body took too long")?.map_err(|error| error.to_string())?;
        let answer = self.decide(&body)?;
        // An answer that waits does not hold its request, which may be large.
        drop(body);
        if !answer.delay.is_zero() {
            let delayed = self.delayed.delay(answer.delay, self.phases.clone()).await;
            delayed.map_err(|status| status.message().to_owned())?;
        }
        Ok(answer)
    }

    fn decide(&self, body: &[u8]) -> Result<Answer, String> {
        let request = protojson::request_from_json(body)?;
        // Plain HTTP tells no deadline; the bound on delayed replies holds all the same.
        let timeout = self.delayed.timeout(&http::HeaderMap::new());
        let answer = service::answer_within(&self.limiter, self.worker, self.clock.now(), &request, timeout);
        answer.map_err(|error| error.to_string())
    }
}

/// A check is small; who needs longer to send one only occupies a connection.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
