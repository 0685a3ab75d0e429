//! Lists counters, a bounded part of the store at a time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fmt::Write;

use super::counter_changes::has_entries;
use super::counter_view::{CounterView, SeenCounter, seen};
use super::keys::{DecodedKey, DecodedLimit, decode};
use super::plan::Plan;
use super::{Limiter, View};
use crate::engine::{Algorithm, CountDenied, Limit, Starts};
use crate::rules::RuleLimit;
use crate::store::{CounterState, ExportPosition, KeyPart, LimitDescription, LimitId, LimitTable};
use crate::units::{Nanos, Timestamp};
use crate::usage::RuleName;

/// Which counters are wanted; all conditions must hold.
#[derive(Clone, Debug, Default)]
pub struct CounterFilter {
    /// Of this domain.
    pub domain: Option<String>,
    /// Of this rule.
    pub rule: Option<String>,
    /// With these entries.
    pub entries: Vec<(String, String)>,
    /// That would deny one more hit.
    pub denied: bool,
    /// That are banned.
    pub banned: bool,
    /// With hits that wait in their queue.
    pub queued: bool,
}

impl CounterFilter {
    fn takes(&self, counter: &CounterView) -> bool {
        (!self.denied || counter.denied)
            && (!self.banned || counter.banned_until.is_some())
            && (!self.queued || counter.queued > 0)
    }
}

/// The counters of one part of the store.
#[derive(Debug)]
pub struct CounterPage {
    /// The most used first.
    pub counters: Vec<CounterView>,
    /// Counters that match, including those beyond the top.
    pub matched: u64,
    /// Counters that were searched.
    pub searched: u64,
    /// Where to go on; `None`: this was the last part.
    pub next: Option<ExportPosition>,
    /// The share of the store that has been searched, from 0 to 1.
    pub progress: f64,
}

impl Limiter {
    /// The most used `top` counters of one part of the store, from `position` on.
    ///
    /// Cost: about [`MAX_SEARCHED`] counters are copied, one shard locked at a time, and decoded outside of the locks.
    pub fn list_counters(
        &self,
        now: Timestamp,
        filter: &CounterFilter,
        top: usize,
        position: ExportPosition,
    ) -> CounterPage {
        let view = self.view();
        let plan = view.as_ref().and_then(View::plan);
        let mut export = self.store.export_from(position);
        let mut found: BinaryHeap<Reverse<CounterView>> = BinaryHeap::with_capacity(top.min(1_000) + 1);
        let (mut matched, mut searched) = (0, 0);
        let mut ended = true;
        let engine_now = self.engine_time(now);
        loop {
            let step = export.position();
            let Some(mut counters) = export.next() else { break };
            counters.extend(self.store.leased(step, engine_now));
            // Loaded after the keys, so that it has their limits.
            let limits = self.limits();
            let mut lister = Lister { plan, limits: &limits, filter, now, wanted: HashMap::new() };
            for counter in &counters {
                let Some(seen) = lister.view(counter.key(), &counter.state) else { continue };
                matched += 1;
                if top > 0 && (found.len() < top || found.peek().is_some_and(|least| least.0 < seen)) {
                    found.push(Reverse(seen));
                    if found.len() > top {
                        found.pop();
                    }
                }
            }
            searched += counters.len() as u64;
            if searched >= MAX_SEARCHED {
                ended = export.position().number() >= self.store.export_steps();
                break;
            }
        }
        let at = export.position();
        CounterPage {
            counters: found.into_sorted_vec().into_iter().map(|Reverse(seen)| seen).collect(),
            matched,
            searched,
            next: (!ended).then_some(at),
            progress: share(at.number(), self.store.export_steps()),
        }
    }
}

impl Limiter {
    /// A counter with this key and state; `None`: it is fresh, or no limit is in force for it.
    pub(super) fn view_counter(&self, now: Timestamp, key: &[u8], state: &CounterState) -> Option<CounterView> {
        let (view, limits, filter) = (self.view()?, self.limits(), CounterFilter::default());
        let (plan, wanted) = (view.plan(), HashMap::new());
        Lister { plan, limits: &limits, filter: &filter, now, wanted }.view(key, state)
    }
}

/// Reads exported counters.
struct Lister<'a> {
    plan: Option<&'a Plan>,
    limits: &'a LimitTable,
    filter: &'a CounterFilter,
    now: Timestamp,
    /// Whether the filter wants counters of the limit.
    wanted: HashMap<LimitId, bool>,
}

impl Lister<'_> {
    /// The counter, if the filter wants it. Counters of limits that are no longer in force have no meaning, and are left out.
    fn view(&mut self, key: &[u8], state: &CounterState) -> Option<CounterView> {
        if state.is_fresh(self.now) {
            return None;
        }
        let bytes = key;
        let limit_id = LimitId::of_key(key)?;
        let (filter, limits) = (self.filter, self.limits);
        if limit_id != LimitId::OVERRIDE {
            let plan = self.plan?;
            let wants = |limit: &LimitDescription| {
                let path = || plan.limit_place(limit_id).map(|(rule, _)| &*rule.path);
                filter.domain.as_deref().is_none_or(|domain| *limit.rule.domain == *domain)
                    && filter.rule.as_deref().is_none_or(|rule| path() == Some(rule))
            };
            let wanted = self.wanted.entry(limit_id).or_insert_with(|| limits.limit(limit_id).is_some_and(wants));
            if !*wanted {
                return None;
            }
        }
        let key = decode(limits, key).ok()?;
        if !has_entries(&key, &filter.entries) {
            return None;
        }
        let seen = match key.limit {
            DecodedLimit::Rule(_) => {
                let limit = self.plan?.limit_of_counter(limit_id, &key)?;
                let rule = limit.in_force.rule;
                let name = (rule.domain.clone(), rule.path.clone());
                let in_force = limit.in_force;
                let is_on = in_force.enabled && limit.limit.enabled && !in_force.shadow_mode();
                let seen = view(name, &key, Some(limit.limit), &limit.limit.limit, state, self.now, limit.is_set);
                CounterView { denied: seen.denied && is_on, ..seen }
            }
            DecodedLimit::Override { domain, window } => {
                let domain = text(&domain);
                let path = RuleName::for_overrides(&domain).path;
                let is_wanted = filter.domain.as_deref().is_none_or(|wanted| wanted == domain)
                    && filter.rule.as_deref().is_none_or(|wanted| wanted == path);
                if !is_wanted {
                    return None;
                }
                view((domain, path), &key, None, &any_window(window), state, self.now, false)
            }
        };
        let seen = CounterView { key: bytes.to_vec(), ..seen };
        filter.takes(&seen).then_some(seen)
    }
}

/// A counter as it is now. `limit` is the rule's, `engine_limit` what its state means.
fn view(
    (domain, rule): (String, String),
    key: &DecodedKey<'_>,
    limit: Option<&RuleLimit>,
    engine_limit: &Limit,
    state: &CounterState,
    now: Timestamp,
    is_set: bool,
) -> CounterView {
    let entries = key.entries.iter().map(|(key, value)| (text(key), text(value))).collect();
    seen(SeenCounter { domain, rule, entries, limit, engine_limit, state, now, is_set, key: &[] })
}

/// The limit of a request override, of which only the window is known.
fn any_window(window: Nanos) -> Limit {
    let algorithm = Algorithm::FixedWindow { starts: Starts::Clock };
    Limit { max: u32::MAX, window, algorithm, ban: None, count_denied: CountDenied::Alone }
}

/// A part of a key, as text.
fn text(part: &KeyPart<'_>) -> String {
    match part {
        KeyPart::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        KeyPart::Sha256(digest) => {
            let mut text = "sha256:".to_owned();
            for byte in *digest {
                // Writing to a String does not fail.
                let _written = write!(text, "{byte:02x}");
            }
            text
        }
    }
}

#[allow(clippy::cast_precision_loss)] // There are 1,024 steps.
fn share(done: usize, all: usize) -> f64 {
    if all == 0 { 1.0 } else { done as f64 / all as f64 }
}

/// Counters that are searched for one page: some hundred milliseconds.
const MAX_SEARCHED: u64 = 200_000;
