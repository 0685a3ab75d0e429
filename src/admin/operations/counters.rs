//! Counters.

use std::collections::HashSet;
use std::sync::Arc;

use tonic::Status;

use super::messages::{counter, joined, read_entries, read_length};
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
    let shared = page.counters.into_iter().filter_map(|counter| Some((limiter.shared_look(&counter)?, counter)));
    let (looks, shared): (Vec<_>, Vec<_>) = shared.unzip();
    let mut counters = Vec::with_capacity(shared.len());
    for (answer, counter) in asker.ask_all(looks).await.into_iter().zip(shared) {
        let answer = answer.map_err(|_| Status::unavailable("the store of shared counters does not answer"))?;
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

/// The counters of a rule that an operator makes fresh, and who it is.
#[derive(Clone, Debug)]
pub(super) struct Fresh {
    rule: String,
    entries: Vec<(String, String)>,
    author: Author,
    /// Only those that are banned.
    pub(super) only_banned: bool,
}

/// Counters that were made fresh on the store of shared counters.
#[derive(Debug, Default)]
pub(super) struct FreshThere {
    /// By key.
    keys: HashSet<Box<[u8]>>,
    /// Why there are not more, in words.
    warning: String,
}

impl Fresh {
    pub(super) fn read(
        rule: String,
        entries: Vec<proto::Entry>,
        author: Author,
        only_banned: bool,
    ) -> Result<Self, Status> {
        Ok(Self { rule: read_rule(rule)?, entries: read_entries(entries)?, author, only_banned })
    }

    /// The keys of those that replicas may share.
    pub(super) fn shared_keys(&self, operations: &Operations) -> Result<Vec<Box<[u8]>>, Status> {
        operations.shared_keys(&self.rule, &self.entries, &self.author).map_err(bad)
    }

    /// Makes them fresh here. Returns how many were changed here or there, and what the operator should know.
    pub(super) fn here(self, operations: &Operations, there: FreshThere) -> Result<(u64, String), Status> {
        let Self { rule, entries, author, only_banned } = self;
        let FreshThere { keys, warning } = there;
        let (count, not_shared) =
            operations.reset_counters((&rule, &entries), only_banned, keys, &author).map_err(bad)?;
        Ok((count, joined([warning, not_shared.unwrap_or_default()])))
    }
}

impl FreshThere {
    /// Makes the counters with these keys fresh, as far as replicas share them.
    pub(super) async fn reset(asker: &Arc<Asker>, limiter: &Limiter, keys: Vec<Box<[u8]>>, only_banned: bool) -> Self {
        let (mut fresh, mut foreign) = (Self::default(), 0_usize);
        let shared = keys.into_iter().filter_map(|key| Some((limiter.shared_reset(&key, only_banned)?, key)));
        let mut shared = shared.peekable();
        while shared.peek().is_some() {
            let (resets, keys): (Vec<_>, Vec<_>) = shared.by_ref().take(AT_ONCE).unzip();
            let mut silent = 0_usize;
            for (outcome, key) in asker.ask_all(resets).await.into_iter().zip(keys) {
                match outcome {
                    Ok(outcome) if outcome.counters.contains(&None) => foreign += 1,
                    Ok(outcome) if outcome.admitted => drop(fresh.keys.insert(key)),
                    Ok(_) => {}
                    Err(_) => silent += 1,
                }
            }
            if silent > 0 {
                let left = silent + shared.count();
                fresh.warning = format!(
                    "the store of shared counters did not answer for {left} of them, which stay as they are there; repeat the \
                     command when it answers"
                );
                return fresh;
            }
        }
        if foreign > 0 {
            fresh.warning = format!("the store has values that are not ours under the keys of {foreign} of them");
        }
        fresh
    }
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

/// Counters that the store is asked to make fresh in one request.
const AT_ONCE: usize = 256;
/// Counters of a page if no number is given.
const USUAL_TOP: usize = 100;
/// Counters of a page: with long names some hundred kilobytes.
const MAX_TOP: usize = 1_000;
