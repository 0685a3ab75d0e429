//! Plain HTTP: the public port (`/json`, probes, metrics), and pages that the admin port has too.
//!
//! Nothing here runs on the threads that decide for Envoy.

mod json;
mod probes;

use std::sync::Arc;

use axum::Router;
use axum::routing::{any, get};

pub(crate) use json::JsonChecks;
pub(crate) use probes::Probes;

/// Writes the metrics in the Prometheus text format.
pub(crate) type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// The router of the public port.
pub(crate) fn public_router(checks: JsonChecks, probes: Probes, metrics: RenderMetrics) -> Router {
    Router::new().route("/json", any(json::json).with_state(checks)).merge(observing_router(probes, metrics))
}

/// Probes and metrics, the same on both ports.
pub(crate) fn observing_router(probes: Probes, metrics: RenderMetrics) -> Router {
    let probes = Router::new()
        .route("/healthcheck", any(probes::healthcheck))
        .route("/livez", get(probes::livez))
        .route("/readyz", get(probes::readyz))
        .with_state(probes);
    let content_type = [("content-type", "text/plain; version=0.0.4; charset=utf-8")];
    let render = move || async move { (content_type, metrics()) };
    probes.route("/metrics", get(render))
}
