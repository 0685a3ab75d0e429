//! `/json`: one check in protojson, with any method, answered as envoyproxy/ratelimit does.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use prost::Message;

use crate::clock::Clock;
use crate::grpc::{Held, MAX_MESSAGE_BYTES, PartialBytes};
use crate::limiter::{Lane, Limiter};
use crate::shutdown::Phases;
use crate::wire::proto::envoy::service::ratelimit::v3::RateLimitResponse;
use crate::wire::proto::envoy::service::ratelimit::v3::rate_limit_response::Code;
use crate::wire::{self, json as protojson};

/// Decides about checks that come as JSON.
#[derive(Clone, Debug)]
pub struct JsonChecks {
    /// Decides.
    pub limiter: Arc<Limiter>,
    /// Tells the time.
    pub clock: Arc<Clock>,
    /// The lane of all of them.
    pub lane: Lane,
    /// What incomplete bodies hold.
    pub partial: PartialBytes,
    /// The answers that are held.
    pub held: Held,
    /// The phase of the process.
    pub phases: Phases,
}

/// 200 for OK, 429 for OVER_LIMIT, 500 for an overall code that is neither, 400 for everything that was not decided.
pub(super) async fn json(State(checks): State<JsonChecks>, body: Body) -> Response {
    match checks.answer(body).await {
        Ok(frame) => {
            (status(&frame), [(CONTENT_TYPE, "application/json")], protojson::response_to_json(&frame)).into_response()
        }
        Err(reason) => {
            tracing::debug!(reason, "/json refused");
            (StatusCode::BAD_REQUEST, "Bad Request\n").into_response()
        }
    }
}

impl JsonChecks {
    async fn answer(&self, body: Body) -> Result<Vec<u8>, String> {
        let read = tokio::time::timeout(
            BODY_PATIENCE,
            axum::body::to_bytes(Body::new(self.partial.bound(body)), MAX_MESSAGE_BYTES),
        );
        let body = read.await.map_err(|_| "the body took too long")?.map_err(|error| error.to_string())?;
        let request = protojson::request_from_json(&body)?;
        // Plain HTTP tells no deadline; the bound on held answers holds all the same.
        let patience = self.held.patience(&http::HeaderMap::new());
        let answer = wire::answer_within(&self.limiter, self.lane, self.clock.now(), &request, patience);
        let answer = answer.map_err(|refusal| refusal.to_string())?;
        if !answer.hold.is_zero() {
            let held = self.held.hold(answer.hold, self.phases.clone()).await;
            held.map_err(|status| status.message().to_owned())?;
        }
        Ok(answer.frame.message().to_vec())
    }
}

fn status(frame: &[u8]) -> StatusCode {
    match RateLimitResponse::decode(frame).map(|answer| answer.overall_code()) {
        Ok(Code::Ok) => StatusCode::OK,
        Ok(Code::OverLimit) => StatusCode::TOO_MANY_REQUESTS,
        Ok(Code::Unknown) | Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A check is small; who needs longer to send one only occupies a connection.
const BODY_PATIENCE: Duration = Duration::from_secs(10);
