//! The admin port: what operators ask, HTTP/1 and gRPC on one port.

use std::fmt::Write;
use std::sync::Arc;

use axum::Router;
use axum::middleware::map_response;
use axum::routing::get;
use tonic::service::Routes;

use super::{Probes, RenderMetrics, observing_router};
use crate::grpc::end_with;
use crate::limiter::{Limiter, View};
use crate::rules::{Rule, RuleLimit, RuleSet};

/// What the admin port serves: `services` over gRPC, and the pages.
pub fn admin_router(limiter: Arc<Limiter>, probes: Probes, metrics: RenderMetrics, services: Routes) -> Router {
    let phases = probes.phases.clone();
    let end = move |response: axum::response::Response| {
        let phases = phases.clone();
        async move { end_with(&phases, response.map(tonic::body::Body::new)) }
    };
    let services = services.into_axum_router().layer(map_response(end));
    services.route("/rlconfig", get(move || async move { rlconfig(&limiter) })).merge(observing_router(probes, metrics))
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
