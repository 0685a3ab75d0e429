//! Counters.

use std::sync::Arc;

use tonic::Status;

use super::messages::{counter, read_entries, read_length};
use crate::api::proto::tidegate::v1 as proto;
use crate::api::usage::time;
use crate::limiter::{CounterFilter, CounterPage, Limiter};
use crate::operations::{Author, BadRequest, Operations};
use crate::sharing::Asker;
use crate::store::ExportPosition;

/// One page of counters.
pub(super) fn page(
    operations: &Operations,
    limiter: &Limiter,
    request: proto::ListCountersRequest,
) -> Result<CounterPage, Status> {
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    let filter = CounterFilter {
        domain: given(request.domain),
        rule: given(request.rule),
        entries: read_entries(request.entries)?,
        denied: request.denied,
        banned: request.banned,
        queued: request.queued,
    };
    let top = match usize::try_from(request.top).unwrap_or(MAX_TOP) {
        0 => USUAL_TOP,
        top => top.min(MAX_TOP),
    };
    let position = read_token(&request.page_token, limiter)?;
    operations.list_counters(&filter, top, position).map_err(bad)
}

/// The counters of a page as the store has them.
///
/// # Errors
/// It does not answer.
pub(super) async fn as_shared(asker: &Arc<Asker>, limiter: &Limiter, page: CounterPage) -> Result<CounterPage, Status> {
    let unavailable = || Status::unavailable("the store of shared counters does not answer");
    let mut looks = Vec::new();
    for counter in page.counters {
        if let Some(look) = limiter.shared_look(&counter) {
            looks.push((counter, asker.ask(Box::new(look)).map_err(|_| unavailable())?));
        }
    }
    asker.send();
    let mut counters = Vec::with_capacity(looks.len());
    for (counter, mut answer) in looks {
        let answer = answer.wait().await.map_err(|_| unavailable())?;
        counters.extend(limiter.as_shared(asker.now().local, &counter, &answer));
    }
    counters.sort_unstable_by(|a, b| b.cmp(a));
    Ok(CounterPage { counters, ..page })
}

/// A page as an answer.
pub(super) fn response(page: CounterPage, limiter: &Limiter) -> proto::ListCountersResponse {
    proto::ListCountersResponse {
        counters: page.counters.into_iter().map(counter).collect(),
        matched: page.matched,
        searched: page.searched,
        total: limiter.store().occupancy().counters as u64,
        progress: page.progress,
        next_page_token: page.next.map(|next| next.number().to_string()).unwrap_or_default(),
    }
}

pub(super) fn reset(
    operations: &Operations,
    request: proto::ResetCountersRequest,
    author: &Author,
) -> Result<proto::ResetCountersResponse, Status> {
    let rule = read_rule(request.rule)?;
    let entries = read_entries(request.entries)?;
    let (reset, warning) = operations.reset_counters(&rule, &entries, false, author).map_err(bad)?;
    Ok(proto::ResetCountersResponse { reset, warning: warning.unwrap_or_default() })
}

pub(super) fn ban(
    operations: &Operations,
    request: proto::BanCounterRequest,
    author: &Author,
) -> Result<proto::BanCounterResponse, Status> {
    let rule = read_rule(request.rule)?;
    let entries = read_entries(request.entries)?;
    let length = request.r#for.ok_or_else(|| Status::invalid_argument("for: a ban needs a length"))?;
    let (until, warning) = operations.ban_counter(&rule, &entries, read_length(length, "for")?, author).map_err(bad)?;
    Ok(proto::BanCounterResponse { until: Some(time(until)), warning: warning.unwrap_or_default() })
}

pub(super) fn unban(
    operations: &Operations,
    request: proto::UnbanCountersRequest,
    author: &Author,
) -> Result<proto::UnbanCountersResponse, Status> {
    let rule = read_rule(request.rule)?;
    let entries = read_entries(request.entries)?;
    let (unbanned, warning) = operations.reset_counters(&rule, &entries, true, author).map_err(bad)?;
    Ok(proto::UnbanCountersResponse { unbanned, warning: warning.unwrap_or_default() })
}

fn read_rule(rule: String) -> Result<String, Status> {
    if rule.is_empty() {
        Err(Status::invalid_argument("rule: give the path of a rule, as in /rlconfig"))
    } else {
        Ok(rule)
    }
}

/// The position of a page. Any number is one: beyond the end there are no counters.
fn read_token(token: &str, limiter: &Limiter) -> Result<ExportPosition, Status> {
    if token.is_empty() {
        return Ok(ExportPosition::default());
    }
    let number = token.parse().ok().filter(|number| *number <= limiter.store().export_steps());
    number
        .map(ExportPosition::from_number)
        .ok_or_else(|| Status::invalid_argument("page_token: not one of this server"))
}

#[allow(clippy::needless_pass_by_value)] // For `map_err`.
fn bad(error: BadRequest) -> Status {
    Status::invalid_argument(error.to_string())
}

/// Counters of a page if no number is given.
const USUAL_TOP: usize = 100;
/// Counters of a page: with long names some hundred kilobytes.
const MAX_TOP: usize = 1_000;
