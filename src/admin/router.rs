//! The router of the admin port: HTTP/1 and gRPC on one port.

use std::fmt::Write;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::RawQuery;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use tonic::service::Routes;

use super::dashboard::{self, Dashboard};
use super::guard::Guard;
use super::operations::limits_page;
use crate::access::{Domains, Principal};
use crate::grpc::end_with;
use crate::http::{MetricsText, Probes, probe_router};
use crate::limiter::{Limiter, RuleInForce, View};
use crate::rules::{Overlay, Rule, RuleLimit, Switches};
use crate::sanitize::sanitize;
use crate::units::Timestamp;
use crate::xds::XdsStatus;

/// The router of the admin port: `services` over gRPC, the pages, and the dashboard.
pub(crate) fn admin_router(
    limiter: Arc<Limiter>,
    probes: Probes,
    metrics: Arc<MetricsText>,
    services: Routes,
    dashboard: Dashboard,
    xds: Option<Arc<XdsStatus>>,
    guard: Arc<Guard>,
) -> Router {
    let (listed, clock) = (Arc::clone(&limiter), Arc::clone(&guard.clock));
    let phases = probes.phases.clone();
    let end = move |response: Response| {
        let phases = phases.clone();
        async move { end_with(&phases, response.map(tonic::body::Body::new)) }
    };
    let services = services.into_axum_router().layer(map_response(end));
    let pages = services
        .route("/rlconfig", get(move |Extension(caller): Caller| async move { rlconfig(&limiter, &caller.domains) }))
        .route("/limits", get(move |caller: Caller, query| limits_page(listed, clock.now(), caller.0, query)))
        .route("/metrics", get(move |caller: Caller| async move { metrics_page(&metrics, &caller.0).await }));
    let dashboard = dashboard::routes(dashboard, guard.tokens.is_some());
    let clock = Arc::clone(&guard.clock);
    let pages =
        match xds {
            Some(xds) => pages.route(
                "/xds",
                get(move |Extension(caller): Caller, query| async move {
                    received(&xds, clock.now(), &caller.domains, query)
                }),
            ),
            None => pages,
        };
    let router = pages.merge(probe_router(probes)).merge(dashboard).fallback(unknown);
    router.layer(from_fn_with_state(guard, super::guard::guard))
}

/// The router of the port that only shows: the rules, and the text of `stats`. The paths are those of the reference.
pub(crate) fn debug_router(
    limiter: Arc<Limiter>,
    stats: impl Fn() -> String + Clone + Send + Sync + 'static,
) -> Router {
    Router::new()
        .route(
            "/",
            get(|| async { "/rlconfig: print out the currently loaded configuration\n/stats: print out stats\n" }),
        )
        .route("/rlconfig", get(move || async move { rlconfig(&limiter, &Domains::All) }))
        .route("/stats", get(move || async move { stats() }))
}

/// Unknown paths: a gRPC client receives a gRPC status, others a list of pages.
async fn unknown(headers: HeaderMap) -> Response {
    let content_type = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    if content_type.starts_with(b"application/grpc") {
        return tonic::Status::unimplemented("not a service of the admin port").into_http::<Body>().into_response();
    }
    (StatusCode::NOT_FOUND, "Pages: / /rlconfig /limits /metrics /xds /readyz /livez /healthcheck\n").into_response()
}

/// The caller, whom the guard has put among the extensions of the request.
type Caller = Extension<Arc<Principal>>;

/// All metrics; of a caller with some domains, the series that name one of these.
async fn metrics_page(metrics: &Arc<MetricsText>, caller: &Principal) -> Response {
    match &caller.domains {
        Domains::All => metrics.page(None).await,
        Domains::Only(domains) => metrics.page(Some(domains)).await,
    }
}

/// The set that the control plane has sent last, or one domain of it (`?domain=NAME`): rules files as YAML documents.
fn received(xds: &XdsStatus, now: Timestamp, shown_domains: &Domains, RawQuery(query): RawQuery) -> String {
    let query = query.unwrap_or_default();
    let named = form_urlencoded::parse(query.as_bytes()).find_map(|(key, value)| (key == "domain").then_some(value));
    xds.dump(now, |domain| shown_domains.contain(domain) && named.as_ref().is_none_or(|named| named == domain))
}

/// One line for each limit in force, in the order of the configuration and the format of envoyproxy/ratelimit; and one for each
/// limit that settings change for checks with certain entries.
fn rlconfig(limiter: &Limiter, shown_domains: &Domains) -> String {
    let view = limiter.view();
    let process = view.as_ref().is_some_and(View::in_global_shadow);
    let mut text = String::new();
    let Some(plan) = view.as_ref().and_then(View::plan) else { return text };
    for RuleInForce { configured, rule, domain_enabled, shadow_mode, shadow_is_set } in plan.rules_in_force() {
        if !shown_domains.contain(&configured.domain) {
            continue;
        }
        let overlay = plan.overlay().and_then(|overlay| overlay.rule(configured.index));
        let off = Off { domain: !domain_enabled, process: process && !shadow_is_set };
        let is_set = overlay.is_some_and(|overlay| overlay.whole().has_settings());
        let calendar_months = plan.rules().has_calendar_months();
        let line = Line { rule, shadow_mode, off, entries: &[], is_set, calendar_months };
        line.write(&mut text);
        for case in overlay.map(|overlay| overlay.cases()).unwrap_or_default() {
            let shadow_mode = case.shadow_mode.unwrap_or(shadow_mode);
            let off = Off { process: off.process && case.shadow_mode.is_none(), ..off };
            let (rule, entries) = (&case.rule, &case.entries);
            Line { rule, shadow_mode, off, entries, is_set: true, calendar_months }.write(&mut text);
        }
    }
    let mut domains: Vec<_> = plan.overlay().into_iter().flat_map(Overlay::domains).collect();
    domains.sort_unstable_by_key(|(name, _)| *name);
    for (name, domain) in domains.into_iter().filter(|(name, _)| shown_domains.contain(name)) {
        for (entries, Switches { enabled, shadow_mode }) in domain.narrow() {
            let switches = [("enabled", enabled), ("shadow_mode", shadow_mode)];
            for (switch, value) in switches.into_iter().filter_map(|(switch, value)| Some((switch, value?))) {
                // Writing to a String does not fail.
                let _written = writeln!(text, "domain {name}{}: {switch}: {value}, setting: true", shown(entries));
            }
        }
    }
    text
}

fn shown(entries: &[(String, String)]) -> String {
    let mut text = String::new();
    for (key, value) in entries {
        // Writing to a String does not fail.
        let _written = write!(text, " {}={}", sanitize(key), sanitize(value));
    }
    text
}

/// What is switched off for a rule by its domain or the process. It is appended to the format of envoyproxy/ratelimit, only
/// where it applies.
#[derive(Clone, Copy)]
struct Off {
    /// The domain, or everything, has `enabled: false`.
    domain: bool,
    /// The process is in shadow mode.
    process: bool,
}

/// The lines of a rule, for all checks or those with certain entries.
struct Line<'r> {
    rule: &'r Rule,
    shadow_mode: bool,
    off: Off,
    entries: &'r [(String, String)],
    /// The rule has values of settings.
    is_set: bool,
    /// A month of a unit is one of the calendar, so that it need not be said.
    calendar_months: bool,
}

impl Line<'_> {
    fn write(&self, text: &mut String) {
        if self.rule.limits.is_empty() {
            return self.limit(text, "unlimited", true, "");
        }
        for limit in &self.rule.limits {
            let sharing = self.rule.sharing_words(limit).map(|words| format!(", sharing: {words}")).unwrap_or_default();
            self.limit(text, &describe(limit, self.calendar_months), limit.enabled, &sharing);
        }
    }

    fn limit(&self, text: &mut String, limit: &str, is_enabled: bool, sharing: &str) {
        let Self { rule, shadow_mode, off, entries, is_set, .. } = self;
        let entries = shown(entries);
        let flags = format!("shadow_mode: {shadow_mode}, quota_mode: {}", rule.quota_mode);
        let disabled = match (off.domain, is_enabled) {
            (true, _) => ", enabled: false (by its domain)",
            (false, false) => ", enabled: false",
            (false, true) => "",
        };
        let shadow = if off.process { ", global_shadow_mode: true" } else { "" };
        let set = if *is_set { ", setting: true" } else { "" };
        // Writing to a String does not fail.
        let _written = writeln!(text, "{}{entries}: {limit}, {flags}{disabled}{shadow}{set}{sharing}", rule.path);
    }
}

fn describe(limit: &RuleLimit, calendar_months: bool) -> String {
    let requests = limit.requests_per_unit;
    let calendar = limit.period.calendar.filter(|_| !(calendar_months && limit.period.is_month_of_utc()));
    match (calendar, limit.period.unit) {
        (Some(calendar), _) => format!("period={calendar} requests_per_unit={requests}"),
        (None, Some(unit)) if limit.period.multiplier == 1 => {
            format!("unit={} requests_per_unit={requests}", unit.name())
        }
        (None, _) => format!("period={} requests_per_unit={requests}", limit.period.length),
    }
}
