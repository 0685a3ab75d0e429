//! Explains what a check would get, and lists the limits that apply to a caller. Charges nothing.

use super::counter_view::{SeenCounter, seen};
use super::in_force::InForce;
use super::keys;
use super::{CounterView, View};
use crate::engine::Op;
use crate::rules::{Entry, Explanation, LevelFor, Rule, RuleLimit};
use crate::store::{CounterKeys, CounterState, LimitId, LimitKind};
use crate::units::{Nanos, Timestamp};

/// What a check with one descriptor would get, and why.
#[derive(Debug)]
pub struct Explained<'v> {
    /// How the entries were matched.
    pub explanation: Explanation<'v>,
    /// The rule as it is in force for the entries.
    pub rule: Option<&'v Rule>,
    /// Its limits, with their counters.
    pub limits: Vec<ExplainedLimit>,
    /// False: the domain, or everything, is switched off for these entries.
    pub enabled: bool,
    /// What is over its limits is admitted.
    pub shadow_mode: bool,
    /// The check would be denied.
    pub over_limit: bool,
}

/// One limit, and what it would say.
#[derive(Clone, Debug)]
pub struct ExplainedLimit {
    /// In words.
    pub words: String,
    /// Its counter now.
    pub counter: CounterView,
    /// False: it is switched off.
    pub enabled: bool,
    /// Whether it would admit the check.
    pub admits: bool,
    /// How long the check would wait in its queue.
    pub delay: Nanos,
}

/// A limit that applies to a caller.
#[derive(Clone, Debug)]
pub struct ApplicableLimit<'v> {
    /// The rule as it is in force.
    pub rule: &'v Rule,
    /// What its counters are for at each level.
    pub levels: Vec<LevelFor<'v>>,
    /// The limit; `None`: the rule is unlimited.
    pub limit: Option<&'v RuleLimit>,
    /// False: it is switched off.
    pub enabled: bool,
    /// What is over it is admitted.
    pub shadow_mode: bool,
    /// The rule has values of settings.
    pub is_set: bool,
    /// The end of a ban that runs, if the known entries name one counter.
    pub banned_until: Option<Timestamp>,
}

impl View<'_> {
    /// Explains what a check of that many hits would get; `None` if the domain does not exist.
    ///
    /// Cost: linear in the number of rules, and a look-up for each limit. Nothing is changed.
    pub fn explain(&self, now: Timestamp, domain: &str, entries: &[Entry<'_>], hits: u64) -> Option<Explained<'_>> {
        let plan = self.plan()?;
        let domain = plan.domain(domain)?;
        let explanation = domain.explain(plan.rules().rules(), entries);
        let found = explanation.rule.and_then(|rule| Some((rule, plan.in_force(domain, rule, entries)?)));
        let Some((configured, in_force)) = found else {
            let (rule, limits) = (None, Vec::new());
            let explained =
                Explained { explanation, rule, limits, enabled: domain.enabled, shadow_mode: false, over_limit: false };
            return Some(explained);
        };
        let InForce { rule, attached, enabled, shadow_setting } = in_force;
        let shadow_mode = in_force.shadow_mode();
        let is_set = !std::ptr::eq(rule, configured);
        let explain = |(limit, limit_id): (&RuleLimit, LimitId)| {
            let mut keys = CounterKeys::default();
            let key = keys::add_rule(&mut keys, limit_id, rule, entries);
            let (limiter, kind) = (self.limiter, LimitKind::from(&limit.limit));
            let state = limiter.store.state_or_heard(kind, keys.key(key), limiter.engine_time(now));
            let state = state.unwrap_or_else(|| CounterState::fresh(&limit.limit));
            explain_limit(rule, limit, entries, &state, now, hits, is_set)
        };
        let numbered = rule.limits.iter().zip(attached.limit_ids.iter().copied());
        let limits: Vec<ExplainedLimit> = numbered.map(explain).collect();
        let denies = limits.iter().any(|limit| limit.enabled && !limit.admits);
        let in_process_shadow = self.limiter.settings.shadow_mode && shadow_setting.is_none();
        let over_limit = denies && enabled && !shadow_mode && !in_process_shadow;
        Some(Explained { explanation, rule: Some(rule), limits, enabled, shadow_mode, over_limit })
    }

    /// Every limit that applies to checks of a caller of whom these entries are known; `None` if the domain does not exist.
    ///
    /// Cost: linear in the nodes of the domain.
    pub fn applicable_limits<'v>(
        &'v self,
        now: Timestamp,
        domain: &str,
        known: &'v [(String, String)],
    ) -> Option<Vec<ApplicableLimit<'v>>> {
        let plan = self.plan()?;
        let domain = plan.domain(domain)?;
        let mut found = Vec::new();
        for applicable in domain.applicable(plan.rules().rules(), known) {
            let entries: Vec<_> = applicable.levels.iter().filter_map(LevelFor::entry).collect();
            let Some(in_force) = plan.in_force(domain, applicable.rule, &entries) else { continue };
            let InForce { rule, attached, enabled, .. } = in_force;
            let shadow_mode = in_force.shadow_mode();
            let is_complete = entries.len() == rule.levels.len();
            let banned_until = |limit: &RuleLimit| {
                let place = rule.limits.iter().position(|known| std::ptr::eq(known, limit))?;
                let limit_id = *attached.limit_ids.get(place).filter(|_| is_complete)?;
                let mut keys = CounterKeys::default();
                let key = keys::add_rule(&mut keys, limit_id, rule, &entries);
                let state = self.limiter.store.state(LimitKind::from(&limit.limit), keys.key(key))?;
                state.banned_until(&limit.limit, now)
            };
            let one = |limit: Option<&'v RuleLimit>| ApplicableLimit {
                rule,
                levels: applicable.levels.clone(),
                limit,
                enabled: enabled && limit.is_none_or(|limit| limit.enabled),
                shadow_mode,
                is_set: !std::ptr::eq(rule, applicable.rule),
                banned_until: limit.and_then(&banned_until),
            };
            if rule.limits.is_empty() {
                found.push(one(None));
            }
            found.extend(rule.limits.iter().map(|limit| one(Some(limit))));
        }
        Some(found)
    }
}

fn explain_limit(
    rule: &Rule,
    limit: &RuleLimit,
    entries: &[Entry<'_>],
    state: &CounterState,
    now: Timestamp,
    hits: u64,
    is_set: bool,
) -> ExplainedLimit {
    let outcome = state.outcome(&limit.limit, now, Op::Charge(hits));
    let counter = seen(SeenCounter {
        domain: rule.domain.clone(),
        rule: rule.path.clone(),
        entries: entries.iter().map(|entry| (entry.key.to_string(), entry.value.to_string())).collect(),
        limit: Some(limit),
        engine_limit: &limit.limit,
        state,
        now,
        is_set,
        key: &[],
    });
    ExplainedLimit {
        words: limit.words(),
        counter,
        enabled: limit.enabled,
        admits: outcome.admitted(),
        delay: outcome.delay(),
    }
}
