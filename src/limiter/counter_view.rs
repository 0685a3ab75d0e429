//! The state of one counter, for people.

use crate::engine::{Algorithm, Limit, Op};
use crate::rules::RuleLimit;
use crate::store::CounterState;
use crate::units::{Nanos, Timestamp};

/// The state of one counter, for people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CounterView {
    /// Hits that count now.
    pub used: u64,
    /// The domain.
    pub domain: String,
    /// The rule's path.
    pub rule: String,
    /// The entries; parts that the rule fixes have the configured text.
    pub entries: Vec<(String, String)>,
    /// The place of the limit in its rule, from 1.
    pub place: usize,
    /// Hits allowed per period; `None` for request overrides, whose requests have their own limit.
    pub limit: Option<u32>,
    /// The window's length; of a calendar that of the present one.
    pub period: Nanos,
    /// The calendar that windows follow, in words; empty: none.
    pub calendar: String,
    /// Hits that could be spent now.
    pub remaining: u64,
    /// Until it regains allowance; for one that denies, until it admits a hit.
    pub reset: Nanos,
    /// The end of the ban that runs.
    pub banned_until: Option<Timestamp>,
    /// It would deny one more hit.
    pub denied: bool,
    /// The limit has values of settings.
    pub is_set: bool,
    /// Of `used`, the hits that wait in the queue.
    pub queued: u64,
    /// Its key in the store in memory.
    pub key: Vec<u8>,
}

/// What is known about a counter.
pub(super) struct SeenCounter<'a> {
    pub(super) domain: String,
    pub(super) rule: String,
    pub(super) entries: Vec<(String, String)>,
    /// `None`: a request override.
    pub(super) limit: Option<&'a RuleLimit>,
    pub(super) engine_limit: &'a Limit,
    pub(super) state: &'a CounterState,
    pub(super) now: Timestamp,
    pub(super) is_set: bool,
    pub(super) key: &'a [u8],
}

/// A counter as it is now, which is not changed.
pub(super) fn seen(counter: SeenCounter<'_>) -> CounterView {
    let SeenCounter { domain, rule, entries, limit, engine_limit, state, now, is_set, key } = counter;
    let look = state.outcome(engine_limit, now, Op::Charge(0));
    let one_more = state.outcome(engine_limit, now, Op::Charge(1));
    let denied = limit.is_some() && !one_more.admitted();
    CounterView {
        used: look.before,
        domain,
        rule,
        entries,
        place: limit.map_or(1, |limit| limit.place),
        limit: limit.map(|limit| limit.requests_per_unit),
        period: engine_limit.window_at(now),
        calendar: engine_limit.calendar().map(ToString::to_string).unwrap_or_default(),
        remaining: if limit.is_some() { look.remaining } else { 0 },
        reset: if denied { one_more.reset } else { look.reset },
        banned_until: state.banned_until(engine_limit, now),
        denied,
        is_set,
        queued: queued(engine_limit, look.before),
        key: key.to_vec(),
    }
}

/// Hits beyond a full bucket and within its queue; what is beyond that is debt.
pub(super) fn queued(limit: &Limit, used: u64) -> u64 {
    match limit.algorithm {
        Algorithm::TokenBucket { burst, queue } => used.saturating_sub(u64::from(burst)).min(u64::from(queue.size)),
        _ => 0,
    }
}
