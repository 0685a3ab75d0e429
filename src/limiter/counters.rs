//! Lists counters, a bounded part of the store at a time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::counter_changes::has_entries;
use super::counter_view::{CounterView, SeenCounter, queued, seen};
use super::keys::{DecodedKey, DecodedLimit, decode};
use super::plan::Plan;
use super::{Limiter, View};
use crate::engine::{Limit, Op};
use crate::hex::push_hex;
use crate::rules::RuleLimit;
use crate::store::{CounterState, ExportPosition, KeyPart, LimitDescription, LimitId, LimitTable};
use crate::units::Timestamp;
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
    /// Whether the state of a counter is as wanted. Cost: the outcome of a hit, if that is asked for.
    fn takes(&self, counter: &Glance<'_>) -> bool {
        (!self.denied || counter.denies())
            && (!self.banned || counter.state.banned_until(counter.limit, counter.now).is_some())
            && (!self.queued || queued(counter.limit, counter.used) > 0)
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
    /// Cost: about [`MAX_SEARCHED`] counters are copied, one shard locked at a time, and decoded outside of the locks; names are copied of
    /// those that are listed.
    pub fn list_counters(
        &self,
        now: Timestamp,
        filter: &CounterFilter,
        top: usize,
        position: ExportPosition,
    ) -> CounterPage {
        let view = self.view();
        let plan = view.as_ref().and_then(View::plan);
        let mut export = self.store.export_from(position).with_leased(self.engine_time(now));
        let mut found: BinaryHeap<Reverse<CounterView>> = BinaryHeap::with_capacity(top.min(1_000) + 1);
        let (mut matched, mut searched) = (0, 0);
        let mut ended = true;
        while let Some(counters) = export.next() {
            // Loaded after the keys, so that it has their limits.
            let limits = self.limits();
            let mut lister = Lister { plan, limits: &limits, filter, now, wanted: HashMap::new() };
            for counter in &counters {
                let full = found.len() >= top;
                let least = full.then(|| found.peek().map_or(u64::MAX, |Reverse(least)| least.used));
                let seen = match lister.view(counter.key(), &counter.state, least) {
                    Seen::Unwanted => continue,
                    Seen::Few => None,
                    Seen::Many(seen) => Some(seen),
                };
                matched += 1;
                if let Some(seen) = seen {
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

/// What is known of a counter before its names are copied.
struct Glance<'a> {
    key: &'a [u8],
    state: &'a CounterState,
    limit: &'a Limit,
    now: Timestamp,
    used: u64,
    /// Whether a denial of the limit is one of the check.
    counts: bool,
}

impl<'a> Glance<'a> {
    fn new(key: &'a [u8], state: &'a CounterState, limit: &'a Limit, now: Timestamp, counts: bool) -> Self {
        Self { key, state, limit, now, used: state.outcome(limit, now, Op::Charge(0)).before, counts }
    }

    fn denies(&self) -> bool {
        self.counts && !self.state.outcome(self.limit, self.now, Op::Charge(1)).admitted()
    }
}

/// A counter that was looked at.
enum Seen {
    /// The filter does not want it.
    Unwanted,
    /// The filter wants it, but it is less used than those that are listed already.
    Few,
    Many(CounterView),
}

impl Limiter {
    /// A counter with this key and state; `None`: it is fresh, or no limit is in force for it.
    pub(super) fn view_counter(&self, now: Timestamp, key: &[u8], state: &CounterState) -> Option<CounterView> {
        let (view, limits, filter) = (self.view()?, self.limits(), CounterFilter::default());
        let (plan, wanted) = (view.plan(), HashMap::new());
        match (Lister { plan, limits: &limits, filter: &filter, now, wanted }).view(key, state, None) {
            Seen::Many(view) => Some(view),
            Seen::Unwanted | Seen::Few => None,
        }
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
    /// The counter, if the filter wants it and it is used at least as much as the `least`. Counters of limits that are no longer in force have
    /// no meaning, and are left out.
    fn view(&mut self, key: &[u8], state: &CounterState, least: Option<u64>) -> Seen {
        self.wanted(key, state, least).unwrap_or(Seen::Unwanted)
    }

    /// `None`: it is not wanted.
    fn wanted(&mut self, key: &[u8], state: &CounterState, least: Option<u64>) -> Option<Seen> {
        if state.is_fresh(self.now) {
            return None;
        }
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
        let bytes = key;
        let key = decode(limits, bytes).ok()?;
        if !has_entries(&key, &filter.entries) {
            return None;
        }
        match key.limit {
            DecodedLimit::Rule(_) => {
                let limit = self.plan?.limit_of_counter(limit_id, &key)?;
                let in_force = limit.in_force;
                let is_on = in_force.enabled && limit.limit.enabled && !in_force.shadow_mode();
                let glance = Glance::new(bytes, state, &limit.limit.limit, self.now, is_on);
                self.named(&glance, least, || {
                    let name = (in_force.rule.domain.clone(), in_force.rule.path.clone());
                    let seen = view(name, &key, Some(limit.limit), &glance, limit.is_set);
                    CounterView { denied: seen.denied && is_on, ..seen }
                })
            }
            DecodedLimit::Override { ref domain, window } => {
                let domain = text(domain);
                let path = RuleName::for_overrides(&domain).path;
                let is_wanted = filter.domain.as_deref().is_none_or(|wanted| wanted == domain)
                    && filter.rule.as_deref().is_none_or(|wanted| wanted == path);
                if !is_wanted {
                    return None;
                }
                let limit = window.limit(u32::MAX);
                let glance = Glance::new(bytes, state, &limit, self.now, false);
                self.named(&glance, least, || view((domain, path), &key, None, &glance, false))
            }
        }
    }

    /// Calls `name`, which copies names, only for a counter that is to be listed.
    fn named(&self, glance: &Glance<'_>, least: Option<u64>, name: impl FnOnce() -> CounterView) -> Option<Seen> {
        if !self.filter.takes(glance) {
            return None;
        }
        Some(if least.is_some_and(|least| glance.used < least) { Seen::Few } else { Seen::Many(name()) })
    }
}

/// A counter as it is now. `limit` is the rule's.
fn view(
    (domain, rule): (String, String),
    key: &DecodedKey<'_>,
    limit: Option<&RuleLimit>,
    glance: &Glance<'_>,
    is_set: bool,
) -> CounterView {
    let entries = key.entries.iter().map(|(key, value)| (text(key), text(value))).collect();
    let Glance { key: bytes, state, limit: engine_limit, now, .. } = *glance;
    seen(SeenCounter { domain, rule, entries, limit, engine_limit, state, now, is_set, key: bytes })
}

/// A part of a key, as text.
fn text(part: &KeyPart<'_>) -> String {
    match part {
        KeyPart::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        KeyPart::Sha256(digest) => {
            let mut text = "sha256:".to_owned();
            push_hex(&mut text, *digest);
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
