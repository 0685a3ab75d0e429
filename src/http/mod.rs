//! Plain HTTP: the public port (`/json`, probes, metrics), and pages that the admin port has too.
//!
//! Nothing here runs on the threads that decide for Envoy.

mod json;
mod metrics_text;
mod probes;

use std::sync::Arc;

use axum::Router;
use axum::routing::{any, get};

pub(crate) use json::JsonChecks;
pub(crate) use metrics_text::{MetricsText, RenderMetrics};
pub(crate) use probes::Probes;

/// The router of a port without access control: probes, and the parts that it is given; the metrics at their path.
pub(crate) fn public_router(
    checks: Option<JsonChecks>,
    probes: Probes,
    metrics: Option<(&str, Arc<MetricsText>)>,
) -> Router {
    let mut router = probe_router(probes);
    if let Some((path, metrics)) = metrics {
        router = router.route(path, get(move || async move { metrics.page(None).await }));
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
