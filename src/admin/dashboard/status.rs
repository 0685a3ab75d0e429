//! `GET /api/v1/status`: who asks, which process this is, and which configuration is in force.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::answer::failed;
use super::parameters::Parameters;
use super::{Dashboard, json, sees, sees_all};
use crate::access::{Domains, Principal};
use crate::limiter::{Sharing, View};
use crate::rules::RuleSet;

/// The status as far as the caller may see it: of a token with some domains nothing that names or counts others.
pub(super) async fn status(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(caller): Extension<Arc<Principal>>,
    RawQuery(query): RawQuery,
) -> Response {
    if let Err(status) = Parameters::read(query.as_deref(), &[]) {
        return failed(&status);
    }
    let view = dashboard.limiter.view();
    let rules = view.as_ref().and_then(View::rules);
    let everything = sees_all(&caller).then(|| of_all_domains(&dashboard));
    let shown = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "host": dashboard.instance.host,
        "instance": dashboard.instance.id,
        "replicas": dashboard.limiter.sharing().map_or(0, Sharing::replicas),
        "phase": format!("{:?}", dashboard.phases.now()).to_lowercase(),
        "caller": who(&caller),
        "domains": rules.map(|rules| domains(rules, &caller)),
        "configuration": configuration(&dashboard, &caller, rules),
        "history_in_memory": dashboard.history.in_memory(),
        "shadow_mode": view.as_ref().is_some_and(View::in_global_shadow),
        "lifted": lifted(view.as_ref(), &caller),
        "process": everything,
    });
    json(StatusCode::OK, &shown)
}

fn who(caller: &Principal) -> Value {
    let domains = match &caller.domains {
        Domains::All => None,
        Domains::Only(domains) => Some(domains),
    };
    json!({"name": caller.name, "role": caller.role.name(), "domains": domains})
}

/// The domains in force, each with the keys by which it counts requests.
fn domains(rules: &RuleSet, caller: &Principal) -> Vec<Value> {
    let shown = rules.domains().filter(|domain| sees(caller, &domain.name)).take(MAX_DOMAINS);
    shown.map(|domain| json!({"name": domain.name, "usage_by": domain.usage_by})).collect()
}

fn configuration(dashboard: &Dashboard, caller: &Principal, rules: Option<&RuleSet>) -> Value {
    let status = dashboard.config.status();
    let seen = |domain: &str| sees(caller, domain);
    let rule_count = rules.map(|rules| rules.rules().iter().filter(|rule| seen(&rule.domain)).count());
    // Errors name files, rules and domains.
    let errors = status.last_error.as_ref().filter(|_| sees_all(caller));
    let errors = errors.map(|failed| failed.errors.iter().take(MAX_ERRORS).collect::<Vec<_>>());
    json!({
        "generation": status.generation,
        "rules": rule_count,
        "last_reload_failed": status.last_error.is_some(),
        "last_errors": errors,
    })
}

/// What denies nothing although it is configured, a line each.
fn lifted(view: Option<&View<'_>>, caller: &Principal) -> Vec<String> {
    let lifted = view.map(View::lifted).unwrap_or_default();
    lifted.iter().filter(|lifted| sees(caller, lifted.domain)).take(MAX_LIFTED).map(ToString::to_string).collect()
}

/// Numbers of the whole process.
fn of_all_domains(dashboard: &Dashboard) -> Value {
    let occupancy = dashboard.limiter.store().occupancy();
    let status = dashboard.config.status();
    json!({
        "counters": occupancy.counters,
        "counter_bytes": occupancy.bytes,
        "budget_bytes": occupancy.budget_bytes,
        "delayed_replies": (dashboard.delayed.0)(),
        "loads": status.successes,
        "loads_failed": status.failures,
        "history_failure": dashboard.history.status().failure,
    })
}

/// Domains of one answer: as many as a page can offer to choose from.
const MAX_DOMAINS: usize = 1_000;
/// Errors of a failed load: those of a large configuration that was cut off would fill the page.
const MAX_ERRORS: usize = 100;
/// Lines about lifted limits: more than a person reads; `/rlconfig` has all.
const MAX_LIFTED: usize = 100;
