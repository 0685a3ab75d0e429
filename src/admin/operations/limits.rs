//! The limits that apply to a caller, also as a page.

use std::sync::Arc;

use axum::extract::RawQuery;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use prost::Message;
use tonic::Status;

use super::messages::read_entries;
use crate::access::Principal;
use crate::admin::within::Within;
use crate::api::proto::tidegate::v1 as proto;
use crate::api::protojson;
use crate::api::usage::{length, time};
use crate::engine::{Algorithm, Queue};
use crate::limiter::{ApplicableLimit, Limiter};
use crate::rules::{LevelFor, RuleSet, unknown};
use crate::sanitize::sanitize_lines;
use crate::units::Timestamp;

pub(super) fn list(
    limiter: &Limiter,
    now: Timestamp,
    request: proto::ListLimitsRequest,
) -> Result<proto::ListLimitsResponse, Status> {
    let known = read_entries(request.entries)?;
    let view = limiter.view().ok_or_else(|| Status::failed_precondition("no configuration is in force"))?;
    let Some(limits) = view.applicable_limits(now, &request.domain, &known) else {
        let domains = view.rules().into_iter().flat_map(RuleSet::domains).map(|domain| &*domain.name);
        return Err(Status::invalid_argument(unknown("domain", &request.domain, domains)));
    };
    if limits.len() > MAX_LIMITS {
        return Err(Status::resource_exhausted(format!(
            "{} limits apply, at most {MAX_LIMITS} are listed: give more entries",
            limits.len()
        )));
    }
    Ok(proto::ListLimitsResponse { limits: limits.iter().map(write).collect() })
}

/// `GET /limits?domain=api&partner=acme`: the same as JSON.
pub(crate) async fn limits_page(
    limiter: Arc<Limiter>,
    now: Timestamp,
    caller: Arc<Principal>,
    RawQuery(query): RawQuery,
) -> Response {
    let mut request = proto::ListLimitsRequest::default();
    for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match &*key {
            "domain" => request.domain = value.into_owned(),
            _ => request.entries.push(proto::Entry { key: key.into_owned(), value: value.into_owned() }),
        }
    }
    if request.domain.is_empty() {
        let text = "give a domain and the entries that are known: /limits?domain=api&partner=acme\n";
        return (StatusCode::BAD_REQUEST, text).into_response();
    }
    if let Err(rejected) = Within::new(caller, Arc::clone(&limiter)).domain(&request.domain) {
        return (StatusCode::FORBIDDEN, format!("{}\n", rejected.message())).into_response();
    }
    match list(&limiter, now, request) {
        Ok(answer) => match protojson::to_complete_json("tidegate.v1.ListLimitsResponse", &answer.encode_to_vec()) {
            Ok(json) => ([(CONTENT_TYPE, "application/json")], json).into_response(),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error).into_response(),
        },
        Err(status) => (StatusCode::BAD_REQUEST, format!("{}\n", sanitize_lines(status.message()))).into_response(),
    }
}

fn write(applicable: &ApplicableLimit<'_>) -> proto::ApplicableLimit {
    let levels: Vec<_> = applicable.levels.iter().map(LevelFor::to_string).collect();
    let about = proto::ApplicableLimit {
        rule: applicable.rule.path.clone(),
        applies_to: levels.join(", "),
        enabled: applicable.enabled,
        shadow_mode: applicable.shadow_mode,
        set: applicable.is_set,
        ..proto::ApplicableLimit::default()
    };
    let Some(limit) = applicable.limit else {
        return proto::ApplicableLimit { words: "unlimited".to_owned(), unlimited: true, ..about };
    };
    let (algorithm, burst, queue) = match limit.limit.algorithm {
        Algorithm::FixedWindow { .. } => ("fixed_window", 0, 0),
        Algorithm::SlidingWindow => ("sliding_window", 0, 0),
        Algorithm::SlidingLog => ("sliding_log", 0, 0),
        Algorithm::TokenBucket { burst, queue: Queue { size, .. } } => ("token_bucket", burst, size),
    };
    let words = limit.sentence();
    proto::ApplicableLimit {
        words,
        requests_per_unit: limit.requests_per_unit,
        period: Some(length(limit.period.length)),
        algorithm: algorithm.to_owned(),
        burst,
        queue,
        ban: limit.limit.ban.map(|ban| length(ban.length)),
        banned_until: applicable.banned_until.map(time),
        name: limit.name.clone(),
        calendar: limit.period.calendar.map(ToString::to_string).unwrap_or_default(),
        ..about
    }
}

/// Limits of one answer: what a caller can read.
const MAX_LIMITS: usize = 10_000;
