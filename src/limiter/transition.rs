//! From one plan to the next: what counters need when other limits are in force for the same checks.
//!
//! The state of a bucket has the rate at which it fills, so a bucket without checks would go on to fill at its old rate. And a
//! counter belongs to a limit by its id: where a limit with another meaning takes the place of one, counting starts over, but a ban
//! by an operator holds for the caller, not for a way of counting.

use std::collections::{HashMap, HashSet};

use super::in_force::{Attached, Case, InForce};
use super::keys::{DecodedKey, decode};
use super::plan::Plan;
use crate::engine::Algorithm;
use crate::rules::{Entry, Rule, RuleLimit};
use crate::store::{Fingerprint, LimitId, LimitKind, LimitTable, Memory};
use crate::units::Timestamp;

/// What differs between two plans.
pub(super) struct Transition<'p> {
    before: &'p Plan,
    after: &'p Plan,
    /// Buckets whose rate has changed for some checks.
    rates: HashSet<LimitId>,
    /// Limits in whose place another one is in force for some checks.
    replaced: HashSet<LimitId>,
}

/// A ban by an operator that has been copied to the limit that is now in force.
pub(super) struct FormerBan {
    kind: LimitKind,
    key: Vec<u8>,
}

impl<'p> Transition<'p> {
    /// Compares two plans. Cost: linear in the number of rules; for the same rules, in the settings of those for which something has
    /// changed.
    pub(super) fn new(before: &'p Plan, after: &'p Plan) -> Self {
        let mut transition = Self { before, after, rates: HashSet::new(), replaced: HashSet::new() };
        for (former, rule) in changed_rules(before, after) {
            transition.compare(former, rule);
        }
        transition
    }

    /// Compares what is in force for one rule: for all checks, and for those with the entries of any setting that has changed.
    fn compare(&mut self, former: &Rule, rule: &Rule) {
        let (old, new) = (self.before.cases(former), self.after.cases(rule));
        let place = |case: &Case<'_>| std::ptr::from_ref(case.rule);
        let (known, kept): (HashSet<_>, HashSet<_>) =
            (old.iter().map(place).collect(), new.iter().map(place).collect());
        let only_old = old.iter().filter(|case| !kept.contains(&place(case)));
        let only_new = new.iter().filter(|case| !known.contains(&place(case)));
        self.compare_for(former, rule, &[]);
        for case in only_old.chain(only_new) {
            self.compare_for(former, rule, &Entry::borrowed(case.entries));
        }
    }

    fn compare_for(&mut self, former: &Rule, rule: &Rule, entries: &[Entry<'_>]) {
        let old = self.before.in_force_for(former, entries);
        let new = self.after.in_force_for(rule, entries);
        let (Some(old), Some(new)) = (old, new) else { return };
        for (limit, limit_id) in limits(&old) {
            match limit_at(&new, limit.place) {
                Some((now, id)) if id == limit_id => {
                    let is_bucket = matches!(now.limit.algorithm, Algorithm::TokenBucket { .. });
                    if is_bucket && (now.limit.max, now.limit.window) != (limit.limit.max, limit.limit.window) {
                        self.rates.insert(id);
                    }
                }
                Some(_) => {
                    self.replaced.insert(limit_id);
                }
                None => {}
            }
        }
    }

    /// Brings buckets with another rate up to date. Call it when the new plan is in force. Cost: a pass over all counters, if there
    /// are any.
    pub(super) fn bring_up_to_date(&self, store: &Memory, now: Timestamp, table: &LimitTable) {
        if self.rates.is_empty() {
            return;
        }
        store.bring_up_to_date(now, |limit_id, key| {
            if !self.rates.contains(&limit_id) {
                return None;
            }
            let limit = self.after.limit_of_counter(limit_id, &decode(table, key).ok()?)?.limit.limit;
            matches!(limit.algorithm, Algorithm::TokenBucket { .. }).then_some(limit)
        });
    }

    /// Copies the running bans by operators to the limits of the new plan. Call it before that is in force. One for which there is no
    /// memory stays where it is. Cost: a pass over all counters, if any limit is replaced.
    pub(super) fn copy_bans(&self, store: &Memory, now: Timestamp, table: &LimitTable) -> Vec<FormerBan> {
        if self.replaced.is_empty() {
            return Vec::new();
        }
        let rules = by_fingerprint(self.after);
        let mut former = Vec::new();
        for (key, until) in store.operator_bans(now, |limit_id| self.replaced.contains(&limit_id)) {
            let copied = decode(table, &key).ok().zip(LimitId::of_key(&key)).and_then(|(decoded, limit_id)| {
                let (kind, id) = self.replacement(&rules, limit_id, &decoded)?;
                let new_key = [&id.number().to_le_bytes()[..], key.get(size_of::<u32>()..)?].concat();
                store.ban(kind, &new_key, until).then(|| table.limit(limit_id).map(|limit| limit.kind))?
            });
            former.extend(copied.map(|kind| FormerBan { kind, key }));
        }
        former
    }

    /// The limit that is in force in the place of another one for a counter with this key.
    fn replacement(
        &self,
        rules: &HashMap<Fingerprint, &Rule>,
        limit_id: LimitId,
        key: &DecodedKey<'_>,
    ) -> Option<(LimitKind, LimitId)> {
        let (former, place) = self.before.limit_place(limit_id)?;
        let rule = rules.get(&self.before.fingerprint(former)?)?;
        let new = self.after.in_force_for(rule, &key.entries())?;
        let (limit, id) = limit_at(&new, place)?;
        (id != limit_id).then(|| (LimitKind::from(&limit.limit), id))
    }
}

impl FormerBan {
    /// Lifts the ban of the limit that is not in force any more, which would otherwise be found again with it.
    pub(super) fn lift(&self, store: &Memory, now: Timestamp) {
        store.unban(now, self.kind, &self.key);
    }
}

/// The rules that both plans have, and for which something may have changed.
fn changed_rules<'p>(before: &'p Plan, after: &'p Plan) -> Vec<(&'p Rule, &'p Rule)> {
    if before.has_rules_of(after) {
        let rules = after.rules().rules().iter();
        return rules.filter(|rule| !before.has_settings_of(after, rule)).map(|rule| (rule, rule)).collect();
    }
    let rules = by_fingerprint(after);
    let pair = |former| Some((former, *rules.get(&before.fingerprint(former)?)?));
    before.rules().rules().iter().filter_map(pair).collect()
}

fn by_fingerprint(plan: &Plan) -> HashMap<Fingerprint, &Rule> {
    plan.rules().rules().iter().filter_map(|rule| Some((plan.fingerprint(rule)?, rule))).collect()
}

fn limits<'p>(in_force: &InForce<'p>) -> impl Iterator<Item = (&'p RuleLimit, LimitId)> {
    let Attached { limit_ids, .. }: &Attached = in_force.attached;
    in_force.rule.limits.iter().zip(limit_ids.iter().copied())
}

fn limit_at<'p>(in_force: &InForce<'p>, place: usize) -> Option<(&'p RuleLimit, LimitId)> {
    limits(in_force).find(|(limit, _)| limit.place == place)
}
