//! The router of the admin port: HTTP/1 and gRPC on one port.

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

use super::operations::limits_page;
use crate::grpc::end_with;
use crate::http::{Probes, RenderMetrics, observing_router};
use crate::limiter::{Limiter, View};
use crate::rules::{Rule, RuleLimit, RuleSet};

/// The router of the admin port: `services` over gRPC, and the pages.
pub(crate) fn admin_router(limiter: Arc<Limiter>, probes: Probes, metrics: RenderMetrics, services: Routes) -> Router {
    let listed = Arc::clone(&limiter);
    let phases = probes.phases.clone();
    let end = move |response: Response| {
        let phases = phases.clone();
        async move { end_with(&phases, response.map(tonic::body::Body::new)) }
    };
    let services = services.into_axum_router().layer(map_response(end));
    let pages = services
        .route("/rlconfig", get(move || async move { rlconfig(&limiter) }))
        .route("/limits", get(move |query| limits_page(listed, query)));
    pages.merge(observing_router(probes, metrics)).fallback(unknown)
}

/// Unknown paths: a gRPC client receives a gRPC status, others a list of pages.
async fn unknown(headers: HeaderMap) -> Response {
    let content_type = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    if content_type.starts_with(b"application/grpc") {
        return tonic::Status::unimplemented("not a service of the admin port").into_http::<Body>().into_response();
    }
    (StatusCode::NOT_FOUND, "Pages: /rlconfig /limits /metrics /readyz /livez /healthcheck\n").into_response()
}

/// One line for each rule, in the order of the configuration and the format of envoyproxy/ratelimit.
fn rlconfig(limiter: &Limiter) -> String {
    let view = limiter.view();
    let rules = view.as_ref().and_then(View::rules);
    let mut text = String::new();
    for rule in rules.map(RuleSet::rules).unwrap_or_default() {
        let domain_enabled = rules.and_then(|rules| rules.domain(&rule.domain)).is_none_or(|domain| domain.enabled);
        write_rule(&mut text, rule, Off { domain: !domain_enabled, process: limiter.settings().shadow_mode });
    }
    text
}

/// What is switched off for a rule by its domain or the process. It is appended to the format of envoyproxy/ratelimit, only
/// where it applies.
#[derive(Clone, Copy)]
struct Off {
    /// The domain has `enabled: false`.
    domain: bool,
    /// The process is in shadow mode.
    process: bool,
}

fn write_rule(text: &mut String, rule: &Rule, off: Off) {
    let mut line = |limit: &str, is_enabled: bool| {
        let flags = format!("shadow_mode: {}, quota_mode: {}", rule.shadow_mode, rule.quota_mode);
        let disabled = match (off.domain, is_enabled) {
            (true, _) => ", enabled: false (by its domain)",
            (false, false) => ", enabled: false",
            (false, true) => "",
        };
        let shadow = if off.process { ", global_shadow_mode: true" } else { "" };
        // Writing to a String does not fail.
        let _written = writeln!(text, "{}: {limit}, {flags}{disabled}{shadow}", rule.path);
    };
    if rule.limits.is_empty() {
        return line("unlimited", true);
    }
    for limit in &rule.limits {
        line(&describe(limit), limit.enabled);
    }
}

fn describe(limit: &RuleLimit) -> String {
    let requests = limit.requests_per_unit;
    match limit.period.unit {
        Some(unit) if limit.period.multiplier == 1 => format!("unit={} requests_per_unit={requests}", unit.name()),
        _ => format!("period={} requests_per_unit={requests}", limit.period.length),
    }
}
