//! `GET /api/v1/alerts`: the alerts in force, and their latest notifications.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::answer::failed;
use super::parameters::Parameters;
use super::{Dashboard, json, sees};
use crate::access::Principal;
use crate::alerts::{Notification, Subject};
use crate::limiter::View;
use crate::rules::{Alert, Domain, Per, RuleSet};
use crate::units::{Nanos, Timestamp};

/// Those of the domains of the caller, or of one of them. Receivers are not shown: their addresses may be secrets.
pub(super) async fn alerts(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(caller): Extension<Arc<Principal>>,
    RawQuery(query): RawQuery,
) -> Response {
    let wanted = match Parameters::read(query.as_deref(), &["domain"]) {
        Ok(given) => given.text("domain"),
        Err(status) => return failed(&status),
    };
    let is_shown = |domain: &str| sees(&caller, domain) && (wanted.is_empty() || wanted == domain);
    let view = dashboard.limiter.view();
    let domains = view.as_ref().and_then(View::rules).into_iter().flat_map(RuleSet::domains);
    let shown = domains.filter(|domain| is_shown(&domain.name));
    let configured: Vec<_> = shown.flat_map(in_force).take(MAX_LISTED).collect();
    let notifications = dashboard.notifications.list();
    let notifications = notifications.iter().filter(|notification| is_shown(&notification.domain));
    let notifications: Vec<_> = notifications.map(|notification| notified(notification)).collect();
    json(StatusCode::OK, &json!({"alerts": configured, "notifications": notifications}))
}

fn in_force(domain: &Domain) -> impl Iterator<Item = Value> {
    domain.alerts.iter().map(|alert| {
        let Alert { name, rule, per, denials, window, repeat_interval, .. } = alert;
        let per = match per {
            Per::Rule => "rule",
            Per::Entry(key) => key,
        };
        json!({
            "domain": domain.name,
            "alert": name,
            "rule": rule,
            "per": per,
            "denials": denials,
            "window_ms": millis(*window),
            "repeat_interval_ms": millis(*repeat_interval),
        })
    })
}

fn notified(notification: &Notification) -> Value {
    let Notification { at, domain, alert, subject, denials, since_last, suppressed } = notification;
    let (rule, value) = match subject {
        Subject::Rule(path) => (Some(path.as_str()), None),
        Subject::Value(value) => (alert.rule.as_deref(), Some(value.as_str())),
        Subject::Other => (alert.rule.as_deref(), None),
    };
    let key = match &alert.per {
        Per::Rule => None,
        Per::Entry(key) => Some(key),
    };
    json!({
        "time_ms": millis(at.since(Timestamp::EPOCH)),
        "domain": domain,
        "alert": alert.name,
        "rule": rule,
        "key": key,
        "value": value,
        "denials": denials,
        "threshold": alert.denials,
        "window_ms": millis(alert.window),
        "repeat_interval_ms": millis(alert.repeat_interval),
        "denials_since_last": since_last,
        "suppressed": suppressed,
    })
}

fn millis(length: Nanos) -> u64 {
    length.as_ns() / Nanos::MILLISECOND.as_ns()
}

/// Alerts of one answer: some for each of a hundred domains.
const MAX_LISTED: usize = 1_000;
