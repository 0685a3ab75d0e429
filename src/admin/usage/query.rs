//! `QueryUsage`: reads the request, queries the history on a thread that may block, and writes the response.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;
use tonic::Status;

use super::entry_keys::counted_by;
use crate::api::proto::tidegate::v1 as proto;
use crate::api::proto::tidegate::v1::query_usage_request::GroupBy;
use crate::api::usage::{self, BadQuestion, counts, read_filter, read_requests_by, time};
use crate::history::{Groups, History, Page, Query, QueryError, Row};
use crate::limiter::{Limiter, Sharing, View};
use crate::runtime::clock::Clock;
use crate::units::{Nanos, Timestamp};
use crate::usage::{Filter, RuleName};

/// Answers `QueryUsage`.
#[derive(Clone, Debug)]
pub(crate) struct Queries {
    history: Arc<History>,
    limiter: Arc<Limiter>,
    clock: Arc<Clock>,
    /// Bounds the number of queries that run.
    permits: Arc<Semaphore>,
}

/// Cancels a query when its caller has gone away.
struct Wanted(Arc<AtomicBool>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Queries {
    /// Queries this history; names of rules are also looked up in the limiter's configuration.
    pub(crate) fn new(history: Arc<History>, limiter: Arc<Limiter>, clock: Arc<Clock>) -> Self {
        Self { history, limiter, clock, permits: Arc::new(Semaphore::new(MAX_RUNNING)) }
    }

    /// Answers one request.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for an invalid request, RESOURCE_EXHAUSTED if it takes too long or too many queries run, UNAVAILABLE if
    /// the history cannot be read.
    pub(crate) async fn answer(&self, request: proto::QueryUsageRequest) -> Result<proto::QueryUsageResponse, Status> {
        let query = read(request)?;
        let Ok(permits) = Arc::clone(&self.permits).try_acquire_owned() else {
            return Err(Status::resource_exhausted(format!(
                "too many queries are running, at most {MAX_RUNNING} are allowed: try again later"
            )));
        };
        let now = self.clock.now();
        let known = self.is_configured(&query.filter);
        let uncounted = self.uncounted(&query);
        let history = Arc::clone(&self.history);
        let wanted = Wanted(Arc::default());
        let unwanted = Arc::clone(&wanted.0);
        let answer = tokio::task::spawn_blocking(move || {
            let _permit = permits;
            if !known
                && !history
                    .knows(query.filter.domain.as_deref(), query.filter.rule.as_deref())
                    .map_err(|error| status(&error))?
            {
                return Err(Status::invalid_argument(unknown(&query.filter)));
            }
            if let Some((key, bad)) = uncounted
                && !history.knows_entry_key(query.filter.domain.as_deref(), &key).map_err(|error| status(&error))?
            {
                return Err(bad.into());
            }
            history.query(&query, now, &unwanted).map_err(|error| status(&error))
        });
        let page = answer.await.map_err(|_| Status::internal("the query failed; see the log"))??;
        let replicas = self.limiter.sharing().map_or(0, Sharing::replicas);
        Ok(proto::QueryUsageResponse { replicas, ..write(page) })
    }

    /// The entry key of `requests_by`, if the configuration does not count requests by it.
    fn uncounted(&self, query: &Query) -> Option<(String, BadQuestion)> {
        let key = query.requests_by.clone()?;
        let known = counted_by(&self.limiter, query.filter.domain.as_deref(), &key).err()?;
        Some((key.clone(), BadQuestion::NotCounted { key, known }))
    }

    /// Whether the configuration has the domain and the rule of the filter, or the filter has neither.
    fn is_configured(&self, filter: &Filter) -> bool {
        let (domain, rule) = (filter.domain.as_deref(), filter.rule.as_deref());
        if domain.is_none() && rule.is_none() {
            return true;
        }
        let view = self.limiter.view();
        let Some(rules) = view.as_ref().and_then(View::rules) else { return false };
        let fits = |wanted: Option<&str>, name: &str| wanted.is_none_or(|wanted| wanted == name);
        let for_rule = rules.rules().iter().any(|known| fits(domain, &known.domain) && fits(rule, &known.path));
        // Request overrides may be in any domain.
        let for_overrides = |name: &str| rule.is_none_or(|rule| RuleName::for_overrides(name).path == rule);
        for_rule || rules.domains().any(|known| fits(domain, &known.name) && for_overrides(&known.name))
    }
}

fn unknown(filter: &Filter) -> String {
    let name = |what: &str, name: &Option<String>| name.as_ref().map(|name| format!("{what} {name:?}"));
    let names: Vec<_> = [name("rule", &filter.rule), name("domain", &filter.domain)].into_iter().flatten().collect();
    format!("neither the configuration nor the history has the {}", names.join(" in the "))
}

fn status(error: &QueryError) -> Status {
    match error {
        QueryError::EmptyRange | QueryError::Token => Status::invalid_argument(error.to_string()),
        QueryError::TooLong => Status::resource_exhausted(error.to_string()),
        QueryError::Unavailable(_) => Status::unavailable(error.to_string()),
    }
}

/// Reads a request, and checks all bounds on it.
///
/// # Errors
/// INVALID_ARGUMENT: what is wrong with it.
pub(crate) fn read(request: proto::QueryUsageRequest) -> Result<Query, Status> {
    let groups = read_groups(&request)?;
    let filter = read_filter(request.filter)?;
    let asked = Some(request.requests_by).filter(|key| !key.is_empty());
    let requests_by = read_requests_by(asked.into_iter().collect(), &filter)?.pop();
    group_requests(&groups, requests_by.as_deref())?;
    let from = request.from.map(|at| instant(at, "from")).transpose()?;
    let to = request.to.map(|at| instant(at, "to")).transpose()?;
    let page_size = match usize::try_from(request.page_size).unwrap_or(MAX_PAGE) {
        0 => USUAL_PAGE,
        size => size.min(MAX_PAGE),
    };
    Ok(Query { from, to, filter, requests_by, groups, page_size, page_token: request.page_token })
}

fn read_groups(request: &proto::QueryUsageRequest) -> Result<Groups, Status> {
    let mut groups = Groups::default();
    for group in &request.group_by {
        match GroupBy::try_from(*group) {
            Ok(GroupBy::Time) => groups.bucket_minutes = Some(bucket_minutes(request.bucket.as_ref())?),
            Ok(GroupBy::Domain) => groups.domain = true,
            Ok(GroupBy::Rule) => groups.rule = true,
            Ok(GroupBy::Entry) => match [&request.entry_key, &request.requests_by].map(String::as_str) {
                ["", ""] => return Err(Status::invalid_argument("ENTRY in group_by needs an entry_key")),
                ["", key] | [key, _] => groups.entry_key = Some(key.to_owned()),
            },
            Ok(GroupBy::Counter) => groups.counter = true,
            Ok(GroupBy::Unspecified) | Err(_) => {
                return Err(Status::invalid_argument(format!(
                    "{group} is not a valid group_by: use TIME, DOMAIN, RULE, ENTRY or COUNTER"
                )));
            }
        }
    }
    if groups.counter && (groups.entry_key.is_some() || !request.requests_by.is_empty()) {
        return Err(Status::invalid_argument("COUNTER in group_by cannot be combined with ENTRY or requests_by"));
    }
    for (given, used, what) in [
        (request.bucket.is_some(), groups.bucket_minutes.is_some(), "bucket needs TIME in group_by"),
        (!request.entry_key.is_empty(), groups.entry_key.is_some(), "entry_key needs ENTRY in group_by"),
    ] {
        if given && !used {
            return Err(Status::invalid_argument(what));
        }
    }
    Ok(groups)
}

/// Rejects groups that requests do not have: they have no rule, and only the values of one key.
fn group_requests(groups: &Groups, requests_by: Option<&str>) -> Result<(), Status> {
    let Some(key) = requests_by else { return Ok(()) };
    if groups.rule {
        return Err(Status::invalid_argument("requests_by: requests belong to no rule; leave RULE out of group_by"));
    }
    if groups.entry_key.as_deref().is_some_and(|grouped| grouped != key) {
        return Err(Status::invalid_argument(
            "requests_by: requests are counted by one key; entry_key must be the same",
        ));
    }
    Ok(())
}

fn bucket_minutes(bucket: Option<&prost_types::Duration>) -> Result<u32, Status> {
    let Some(bucket) = bucket else { return Ok(1) };
    let minutes = u32::try_from(bucket.seconds / 60).ok().filter(|minutes| (1..=MAX_BUCKET_MINUTES).contains(minutes));
    minutes.filter(|_| bucket.seconds % 60 == 0 && bucket.nanos == 0).ok_or_else(|| {
        Status::invalid_argument(format!("bucket must be a whole number of minutes, from 1 to {MAX_BUCKET_MINUTES}"))
    })
}

/// An instant; those before the epoch become the epoch.
fn instant(at: prost_types::Timestamp, what: &str) -> Result<Timestamp, Status> {
    let nanos = u64::try_from(at.nanos).ok().filter(|nanos| *nanos < 1_000_000_000);
    let nanos = nanos.ok_or_else(|| Status::invalid_argument(format!("{what}: nanos must be from 0 to 999999999")))?;
    let seconds = u64::try_from(at.seconds).ok();
    Ok(seconds.map_or(Timestamp::EPOCH, |seconds| {
        Timestamp::from_ns(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
    }))
}

/// Writes a page as the answer, of a process that shares nothing.
pub(crate) fn write(page: Page) -> proto::QueryUsageResponse {
    proto::QueryUsageResponse {
        rows: page.rows.into_iter().map(write_row).collect(),
        next_page_token: page.next_page_token,
        history_from: Some(time(page.history_from)),
        in_memory: page.in_memory,
        kept: page.kept.into_iter().map(kept).collect(),
        replicas: 0,
    }
}

fn kept((length, since): (Nanos, Timestamp)) -> proto::KeptRows {
    proto::KeptRows { length: Some(usage::length(length)), since: Some(time(since)) }
}

fn write_row(row: Row) -> proto::UsageRow {
    proto::UsageRow {
        time: row.time.map(time),
        domain: row.domain,
        rule: row.rule,
        entry_value: row.value,
        other: row.other,
        entries: usage::entries(&row.entries),
        counts: Some(counts(&row.counts)),
    }
}

/// The default number of rows of a page.
const USUAL_PAGE: usize = 100;
/// The maximum number of rows of a page: some hundred kilobytes with long names.
const MAX_PAGE: usize = 1_000;
/// Queries at the same time: each may use a core, and decisions need the cores.
const MAX_RUNNING: usize = 2;
/// A leap year.
const MAX_BUCKET_MINUTES: u32 = 366 * 24 * 60;

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    fn by_minutes_of(seconds: i64, nanos: i32) -> proto::QueryUsageRequest {
        let bucket = Some(prost_types::Duration { seconds, nanos });
        proto::QueryUsageRequest { group_by: vec![GroupBy::Time as i32], bucket, ..Default::default() }
    }

    #[test]
    fn what_cannot_be_asked_is_reported() {
        let request = proto::QueryUsageRequest::default;
        let entry = |key: &str| proto::EntryFilter { key: key.into(), value: "v".into() };
        let filter = |entries| Some(proto::UsageFilter { entries, ..Default::default() });
        let cases = [
            ("unspecified", proto::QueryUsageRequest { group_by: vec![0], ..request() }),
            ("unknown group", proto::QueryUsageRequest { group_by: vec![9], ..request() }),
            ("no entry_key", proto::QueryUsageRequest { group_by: vec![GroupBy::Entry as i32], ..request() }),
            (
                "counters and entries",
                proto::QueryUsageRequest {
                    group_by: vec![GroupBy::Counter as i32, GroupBy::Entry as i32],
                    entry_key: "k".into(),
                    ..request()
                },
            ),
            ("entry_key alone", proto::QueryUsageRequest { entry_key: "k".into(), ..request() }),
            ("bucket alone", proto::QueryUsageRequest { group_by: Vec::new(), ..by_minutes_of(60, 0) }),
            ("zero bucket", by_minutes_of(0, 0)),
            ("negative bucket", by_minutes_of(-60, 0)),
            ("half a minute", by_minutes_of(90, 0)),
            ("nanos", by_minutes_of(60, 1)),
            ("a century", by_minutes_of(1 << 32, 0)),
            ("an empty key", proto::QueryUsageRequest { filter: filter(vec![entry("")]), ..request() }),
            ("many entries", proto::QueryUsageRequest { filter: filter(vec![entry("k"); 17]), ..request() }),
            (
                "nanos of from",
                proto::QueryUsageRequest { from: Some(prost_types::Timestamp { seconds: 1, nanos: -1 }), ..request() },
            ),
        ];
        for (name, request) in cases {
            let status = read(request).unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{name}: {status}");
        }
    }

    #[test]
    fn defaults_and_bounds() {
        let of = |page_size| read(proto::QueryUsageRequest { page_size, ..Default::default() }).unwrap().page_size;
        assert_eq!([of(0), of(1), of(1_000), of(u32::MAX)], [100, 1, 1_000, 1_000]);
        let early = prost_types::Timestamp { seconds: -5, nanos: 7 };
        let late = prost_types::Timestamp { seconds: i64::MAX, nanos: 7 };
        assert_eq!(instant(early, "from").unwrap(), Timestamp::EPOCH);
        assert_eq!(instant(late, "to").unwrap(), Timestamp::MAX);
    }
}
