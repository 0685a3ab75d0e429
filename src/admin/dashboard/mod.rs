//! The dashboard: a page for people, and what it reads, as JSON and as a stream of events.
//!
//! Each call is the one of gRPC, with the same caller: what `UsageService` and `AdminService` keep back from a token, they keep back
//! here. The files of the page contain no data, and load without a token.

mod alerts;
mod answer;
mod calls;
mod events;
mod files;
mod parameters;
mod status;
mod while_read;

use std::sync::Arc;

use axum::Router;
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderValue, StatusCode};

use super::operations::Admin;
use super::usage::Usage;
use crate::access::{Domains, Principal};
use crate::alerts::{Instance, Recent};
use crate::config::Publisher;
use crate::history::History;
use crate::limiter::Limiter;
use crate::runtime::lifecycle::Phases;

/// What the dashboard reads.
#[derive(Clone, Debug)]
pub(crate) struct Dashboard {
    pub(crate) usage: Usage,
    pub(crate) admin: Admin,
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) config: Arc<Publisher>,
    pub(crate) history: Arc<History>,
    /// The latest notifications of alerts.
    pub(crate) notifications: Arc<Recent>,
    /// Reads the number of replies that wait in queues.
    pub(crate) delayed: DelayedCount,
    pub(crate) phases: Phases,
    pub(crate) instance: Instance,
}

/// Reads a number.
#[derive(Clone)]
pub(crate) struct DelayedCount(pub(crate) Arc<dyn Fn() -> usize + Send + Sync>);

impl std::fmt::Debug for DelayedCount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("DelayedCount").field(&(self.0)()).finish()
    }
}

/// The routes of the page and of its data. `asks_for_tokens`: the port has a file of tokens, so the page shows a field for one.
pub(super) fn routes(dashboard: Dashboard, asks_for_tokens: bool) -> Router {
    let data = Router::new()
        .route("/api/v1/status", get(status::status))
        .route("/api/v1/usage/events", get(events::usage_events))
        .route("/api/v1/usage", get(calls::usage))
        .route("/api/v1/alerts", get(alerts::alerts))
        .route("/api/v1/settings", get(calls::settings))
        .route("/api/v1/counters", get(calls::counters))
        .route("/api/v1/candidate", get(calls::candidate))
        .with_state(Arc::new(dashboard));
    let index = files::index(asks_for_tokens);
    data.route("/", get(move || async move { files::page(&index) }))
        .route("/dashboard/{file}", get(files::file))
        .layer(map_response(protected))
}

/// Headers that keep a browser from loading, running or framing anything else.
async fn protected(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether a caller may see what belongs to a domain.
fn sees(caller: &Principal, domain: &str) -> bool {
    caller.domains.contain(domain)
}

/// Whether a caller may see what concerns all domains.
fn sees_all(caller: &Principal) -> bool {
    caller.domains == Domains::All
}

/// A JSON object, or an error that is one.
fn json(status: StatusCode, value: &serde_json::Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

/// The policy has no inline script and no inline style; the page connects to this port only.
const HEADERS: [(HeaderName, &str); 7] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (CACHE_CONTROL, "no-store"),
];
