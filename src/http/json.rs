//! `/json`: one check in protojson, with any method, answered as by envoyproxy/ratelimit.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, ORIGIN, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, StatusCode};

use crate::api::rls::{ResponseFrame, json as protojson};
use crate::limiter::Code;
use crate::net::{MAX_MESSAGE_BYTES, PartialBytes};
use crate::sanitize::sanitize;
use crate::service::{Answer, Call, Service, Settled};

/// Decides checks in JSON.
#[derive(Clone, Debug)]
pub(crate) struct JsonChecks {
    /// The service that decides.
    pub service: Arc<Service>,
    /// The bound on incomplete bodies.
    pub partial: PartialBytes,
}

/// 200 for OK, 429 for OVER_LIMIT, 400 for checks that were not decided. The first line of a 400 is that of the reference
/// service, the second one is the reason.
///
/// A page in a browser must not spend limits, which it could by a simple request in `text/plain`: browsers say where such a
/// request comes from, and no other client does.
pub(super) async fn json(State(checks): State<JsonChecks>, headers: HeaderMap, body: Body) -> Response {
    if headers.contains_key(ORIGIN) || headers.contains_key(SEC_FETCH_SITE) {
        return (StatusCode::FORBIDDEN, "/json does not answer pages in browsers (origin, sec-fetch-site)\n")
            .into_response();
    }
    match checks.answer(body).await {
        Ok((code, frame)) => {
            let status = match code {
                Code::Ok => StatusCode::OK,
                Code::OverLimit => StatusCode::TOO_MANY_REQUESTS,
            };
            let json = protojson::response_to_json(frame.message());
            (status, [(CONTENT_TYPE, "application/json")], json).into_response()
        }
        Err(reason) => {
            // The reason may quote the client: it is limited to a line, and a browser must not interpret it as a page.
            let reason = sanitize(&reason);
            tracing::debug!(reason, "/json rejected");
            let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
            (StatusCode::BAD_REQUEST, headers, format!("Bad Request\n{reason}\n")).into_response()
        }
    }
}

impl JsonChecks {
    async fn answer(&self, body: Body) -> Result<(Code, ResponseFrame), String> {
        let read = tokio::time::timeout(
            BODY_TIMEOUT,
            axum::body::to_bytes(Body::new(self.partial.bound(body)), MAX_MESSAGE_BYTES),
        );
        let body = read.await.map_err(|_| "the body took too long")?.map_err(|error| error.to_string())?;
        let answer = self.decide(&body)?;
        // A delayed reply does not keep its request in memory, which may be large.
        drop(body);
        let Settled { code, frame } = self.service.settle(answer).await.map_err(|error| error.to_string())?;
        Ok((code, frame))
    }

    /// Plain HTTP has no header for a deadline, so there is none.
    fn decide(&self, body: &[u8]) -> Result<Answer, String> {
        let request = protojson::request_from_json(body)?;
        self.service.batch().answer(Call::default(), &request).map_err(|error| error.to_string())
    }
}

/// Fetch Metadata Request Headers, W3C: where a browser's request comes from.
const SEC_FETCH_SITE: &str = "sec-fetch-site";
/// A check is small; a client that needs longer to send one only occupies a connection.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
