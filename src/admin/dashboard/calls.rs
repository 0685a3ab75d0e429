//! Calls of the services, with the caller of the request.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use tonic::{Request, Status};

use super::Dashboard;
use super::answer::{answer, failed};
use super::parameters::Parameters;
use crate::access::Principal;
use crate::api::proto::tidegate::v1 as proto;
use crate::api::proto::tidegate::v1::admin_service_server::AdminService;
use crate::api::proto::tidegate::v1::query_usage_request::GroupBy;
use crate::api::usage_service::usage_service_server::UsageService;

type Caller = Extension<Arc<Principal>>;

/// `GET /api/v1/usage`: as `QueryUsage`.
pub(super) async fn usage(State(dashboard): State<Arc<Dashboard>>, caller: Caller, query: RawQuery) -> Response {
    match query_usage(query.0.as_deref()) {
        Ok(message) => {
            let answered = dashboard.usage.query_usage(of(caller, message)).await;
            answer("tidegate.v1.QueryUsageResponse", answered)
        }
        Err(status) => failed(&status),
    }
}

/// `GET /api/v1/settings`: as `ListSettings`.
pub(super) async fn settings(State(dashboard): State<Arc<Dashboard>>, caller: Caller, query: RawQuery) -> Response {
    match list_settings(query.0.as_deref()) {
        Ok(message) => {
            let answered = dashboard.admin.list_settings(of(caller, message)).await;
            answer("tidegate.v1.ListSettingsResponse", answered)
        }
        Err(status) => failed(&status),
    }
}

/// `GET /api/v1/counters`: as `ListCounters`.
pub(super) async fn counters(State(dashboard): State<Arc<Dashboard>>, caller: Caller, query: RawQuery) -> Response {
    match list_counters(query.0.as_deref()) {
        Ok(message) => {
            let answered = dashboard.admin.list_counters(of(caller, message)).await;
            answer("tidegate.v1.ListCountersResponse", answered)
        }
        Err(status) => failed(&status),
    }
}

/// `GET /api/v1/candidate`: as `GetCandidate`.
pub(super) async fn candidate(State(dashboard): State<Arc<Dashboard>>, caller: Caller, query: RawQuery) -> Response {
    match Parameters::read(query.0.as_deref(), &[]) {
        Ok(_) => {
            let answered = dashboard.admin.get_candidate(of(caller, proto::GetCandidateRequest {})).await;
            answer("tidegate.v1.CandidateStatus", answered)
        }
        Err(status) => failed(&status),
    }
}

/// The message as a request of this caller.
fn of<M>(Extension(caller): Caller, message: M) -> Request<M> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(caller);
    request
}

fn query_usage(query: Option<&str>) -> Result<proto::QueryUsageRequest, Status> {
    let given = Parameters::read(query, &USAGE)?;
    let filter = proto::UsageFilter {
        domain: given.text("domain"),
        rule: given.text("rule"),
        entries: given.entry_filters()?,
        only_denied: given.flag("only_denied")?,
    };
    let group_by = given.text("group_by");
    let group_by = group_by.split(',').filter(|name| !name.is_empty()).map(group).collect::<Result<_, _>>()?;
    Ok(proto::QueryUsageRequest {
        from: given.instant("from")?,
        to: given.instant("to")?,
        filter: Some(filter),
        group_by,
        bucket: given.length("bucket")?,
        entry_key: given.text("entry_key"),
        page_size: given.number("page_size")?,
        page_token: given.text("page_token"),
        requests_by: given.text("requests_by"),
    })
}

fn group(name: &str) -> Result<i32, Status> {
    match name {
        "time" => Ok(GroupBy::Time as i32),
        "domain" => Ok(GroupBy::Domain as i32),
        "rule" => Ok(GroupBy::Rule as i32),
        "entry" => Ok(GroupBy::Entry as i32),
        _ => Err(Status::invalid_argument("group_by: expected some of time, domain, rule, entry, with commas")),
    }
}

fn list_settings(query: Option<&str>) -> Result<proto::ListSettingsRequest, Status> {
    let given = Parameters::read(query, &["domain", "rule", "entry"])?;
    Ok(proto::ListSettingsRequest { rule: given.text("rule"), domain: given.text("domain"), entries: given.entries()? })
}

fn list_counters(query: Option<&str>) -> Result<proto::ListCountersRequest, Status> {
    let known = ["domain", "rule", "entry", "denied", "banned", "queued", "top", "page_token", "shared"];
    let given = Parameters::read(query, &known)?;
    Ok(proto::ListCountersRequest {
        domain: given.text("domain"),
        rule: given.text("rule"),
        entries: given.entries()?,
        denied: given.flag("denied")?,
        banned: given.flag("banned")?,
        queued: given.flag("queued")?,
        top: given.number("top")?,
        page_token: given.text("page_token"),
        shared: given.flag("shared")?,
    })
}

/// The parameters of `/api/v1/usage`.
const USAGE: [&str; 12] = [
    "from",
    "to",
    "domain",
    "rule",
    "entry",
    "only_denied",
    "group_by",
    "bucket",
    "entry_key",
    "requests_by",
    "page_size",
    "page_token",
];
