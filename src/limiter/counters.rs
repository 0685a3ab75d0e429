//! Lists counters, makes them fresh, and bans them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fmt::Write;

use super::keys::{self, DecodedKey, DecodedLimit, decode};
use super::plan::Plan;
use super::{Limiter, View};
use crate::engine::{Algorithm, CountDenied, Limit, Op, Reason, Starts, Verdict};
use crate::rules::{Rule, RuleLimit};
use crate::store::{
    CounterKeys, CounterState, ExportPosition, KeyPart, LimitDescription, LimitId, LimitKind, LimitTable,
};
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
}

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
    /// The window's length.
    pub period: Nanos,
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
        while let Some(counters) = export.next() {
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

    /// Makes the counters of every rule with this path fresh, or only those that are banned, and of those only the ones with
    /// these entries. Returns how many.
    ///
    /// Cost: a pass over all counters, unless the entries name one counter.
    pub fn reset_counters(&self, now: Timestamp, path: &str, entries: &[(String, String)], only_banned: bool) -> u64 {
        let Some(view) = self.view() else { return 0 };
        let Some(plan) = view.plan() else { return 0 };
        let reset = |kind: LimitKind, key: &[u8]| {
            if only_banned { self.store.unban(now, kind, key) } else { self.store.reset(now, kind, key) }
        };
        let mut count = 0;
        let rules: Vec<&Rule> = plan.rules().rules().iter().filter(|rule| rule.path == path).collect();
        if let Some(counters) =
            rules.iter().map(|rule| counters_of(plan, rule, entries).ok()).collect::<Option<Vec<_>>>()
        {
            for Named { kind, keys, key } in counters.iter().flatten() {
                count += u64::from(reset(*kind, keys.key(*key)));
            }
            return count;
        }
        for counters in self.store.export() {
            let limits = self.limits();
            for counter in counters {
                let Ok(key) = decode(&limits, counter.key()) else { continue };
                let DecodedLimit::Rule(limit) = key.limit else { continue };
                let is_ours = LimitId::of_key(counter.key())
                    .and_then(|limit_id| plan.limit_place(limit_id))
                    .is_some_and(|(rule, _)| rule.path == path);
                if is_ours && has_entries(&key, entries) {
                    count += u64::from(reset(limit.kind, counter.key()));
                }
            }
        }
        count
    }

    /// Bans the counter that the entries name, of every rule with this path, until then.
    ///
    /// # Errors
    /// The entries do not name one counter, or there is no capacity for it; in words.
    pub fn ban_counter(&self, path: &str, entries: &[(String, String)], until: Timestamp) -> Result<(), String> {
        let view = self.view().ok_or("no configuration is in force")?;
        let plan = view.plan().ok_or("no configuration is in force")?;
        let rules = plan.rules().rules().iter().filter(|rule| rule.path == path);
        let counters = rules.map(|rule| counters_of(plan, rule, entries)).collect::<Result<Vec<_>, _>>()?;
        let counters: Vec<Named> = counters.into_iter().flatten().collect();
        if counters.is_empty() {
            return Err(format!("rule '{path}' has no limit, and so no counter that can be banned"));
        }
        for Named { kind, keys, key } in counters {
            if !self.store.ban(kind, keys.key(key), until) {
                return Err("the memory budget of the counters is used up: the counter cannot be created".to_owned());
            }
        }
        Ok(())
    }
}

/// A counter that entries name.
struct Named {
    kind: LimitKind,
    keys: CounterKeys,
    key: crate::store::KeyLocation,
}

/// The counters of a rule that these entries name, one for each limit.
fn counters_of(plan: &Plan, rule: &Rule, entries: &[(String, String)]) -> Result<Vec<Named>, String> {
    let entries = rule.entries_of_counter(entries)?;
    let Some(domain) = plan.domain(&rule.domain) else { return Ok(Vec::new()) };
    let Some(in_force) = plan.in_force(domain, rule, &entries) else { return Ok(Vec::new()) };
    let limits = in_force.rule.limits.iter().zip(&in_force.attached.limit_ids);
    let named = limits.map(|(limit, limit_id)| {
        let mut keys = CounterKeys::default();
        let key = keys::add_rule(&mut keys, *limit_id, rule, &entries);
        Named { kind: LimitKind::from(&limit.limit), keys, key }
    });
    Ok(named.collect())
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
                view(name, &key, Some(limit.limit), &limit.limit.limit, state, self.now, limit.is_set)
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
        (!filter.denied || seen.denied).then_some(seen)
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
    seen(SeenCounter { domain, rule, entries, limit, engine_limit, state, now, is_set })
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
}

/// A counter as it is now, which is not changed.
pub(super) fn seen(counter: SeenCounter<'_>) -> CounterView {
    let SeenCounter { domain, rule, entries, limit, engine_limit, state, now, is_set } = counter;
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
        period: engine_limit.window,
        remaining: if limit.is_some() { look.remaining } else { 0 },
        reset: if denied { one_more.reset } else { look.reset },
        banned_until: (look.verdict == Verdict::Denied(Reason::Banned)).then(|| now.plus(look.reset)),
        denied,
        is_set,
    }
}

/// The limit of a request override, of which only the window is known.
fn any_window(window: Nanos) -> Limit {
    let algorithm = Algorithm::FixedWindow { starts: Starts::Clock };
    Limit { max: u32::MAX, window, algorithm, ban: None, count_denied: CountDenied::Alone }
}

fn has_entries(key: &DecodedKey<'_>, wanted: &[(String, String)]) -> bool {
    wanted.iter().all(|(name, value)| key.entries.iter().any(|(key, own)| key.is(name) && own.is(value)))
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
