//! The admin port: what operators ask, HTTP/1 and gRPC on one port.

use std::fmt::Write;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use tonic::service::Routes;

use super::{Probes, RenderMetrics, observing_router};
use crate::grpc::end_with;
use crate::limiter::{Limiter, View};
use crate::rules::{Rule, RuleLimit, RuleSet};

/// What the admin port serves: `services` over gRPC, and the pages.
pub fn admin_router(limiter: Arc<Limiter>, probes: Probes, metrics: RenderMetrics, services: Routes) -> Router {
    let phases = probes.phases.clone();
    let end = move |response: Response| {
        let phases = phases.clone();
        async move { end_with(&phases, response.map(tonic::body::Body::new)) }
    };
    let services = services.into_axum_router().layer(map_response(end));
    let pages = services.route("/rlconfig", get(move || async move { rlconfig(&limiter) }));
    pages.merge(observing_router(probes, metrics)).fallback(unknown)
}

/// A gRPC client is told in its own terms, a person is shown the way.
async fn unknown(headers: HeaderMap) -> Response {
    let content_type = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    if content_type.starts_with(b"application/grpc") {
        return tonic::Status::unimplemented("not a service of the admin port").into_http::<Body>().into_response();
    }
    (StatusCode::NOT_FOUND, "Pages: /rlconfig /metrics /readyz /livez /healthcheck\n").into_response()
}

/// One line for each rule, in the order of the configuration, as envoyproxy/ratelimit writes them.
fn rlconfig(limiter: &Limiter) -> String {
    let view = limiter.view();
    let rules = view.iter().filter_map(View::rules).flat_map(RuleSet::rules);
    rules.fold(String::new(), |mut text, rule| {
        write_rule(&mut text, rule);
        text
    })
}

fn write_rule(text: &mut String, rule: &Rule) {
    let mut line = |limit: &str| {
        let flags = format!("shadow_mode: {}, quota_mode: {}", rule.shadow_mode, rule.quota_mode);
        // Writing to a String does not fail.
        let _written = writeln!(text, "{}: {limit}, {flags}", rule.path);
    };
    if rule.limits.is_empty() {
        return line("unlimited");
    }
    for limit in &rule.limits {
        line(&describe(limit));
    }
}

fn describe(limit: &RuleLimit) -> String {
    let requests = limit.requests_per_unit;
    match limit.period.unit {
        Some(unit) if limit.period.multiplier == 1 => format!("unit={} requests_per_unit={requests}", unit.name()),
        _ => format!("period={} requests_per_unit={requests}", limit.period.length),
    }
}
