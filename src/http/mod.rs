//! Plain HTTP: the public port (`/json`, probes, metrics), and pages that the admin port has too.
//!
//! Nothing here runs on the threads that decide for Envoy.

mod json;
mod probes;

use std::sync::Arc;

use axum::Router;
use axum::routing::{any, get};
use http::header::CONTENT_TYPE;

pub(crate) use json::JsonChecks;
pub(crate) use probes::Probes;

/// Writes the metrics in the Prometheus text format: all, or only the series of some domains, which are sorted.
pub(crate) type RenderMetrics = Arc<dyn Fn(Option<&[String]>) -> String + Send + Sync>;

/// The router of a port without access control: probes, and the parts that it is given.
pub(crate) fn public_router(checks: Option<JsonChecks>, probes: Probes, metrics: Option<RenderMetrics>) -> Router {
    let mut router = probe_router(probes);
    if let Some(metrics) = metrics {
        let render = move || async move { ([(CONTENT_TYPE, METRICS_TYPE)], metrics(None)) };
        router = router.route("/metrics", get(render));
    }
    match checks {
        Some(checks) => router.route("/json", any(json::json).with_state(checks)),
        None => router,
    }
}

/// Probes, the same on both ports.
pub(crate) fn probe_router(probes: Probes) -> Router {
    Router::new()
        .route("/healthcheck", any(probes::healthcheck))
        .route("/livez", get(probes::livez))
        .route("/readyz", get(probes::readyz))
        .with_state(probes)
}

/// The type of Prometheus' text format.
pub(crate) const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
