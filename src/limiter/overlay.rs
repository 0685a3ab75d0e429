//! Settings over the rules, with the ids of their limits.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::in_force::{Attached, InForce};
use super::keys;
use crate::rules::{Domain, Entry, Overlay, Rule, RuleCase, RuleLimit, RuleOverlay};
use crate::store::{LimitDescription, LimitId, LimitIds, LimitKind};

/// An overlay prepared for decisions.
#[derive(Debug)]
pub(super) struct PlanOverlay {
    overlay: Overlay,
    /// By the index of the rule.
    rules: Vec<Option<Arc<AttachedOverlay>>>,
    /// The rule and the place of each limit that only settings have.
    places: HashMap<LimitId, (usize, usize), ahash::RandomState>,
}

/// What is set for a rule, with what its cases need in addition.
#[derive(Debug)]
struct AttachedOverlay {
    source: Arc<RuleOverlay>,
    whole: Attached,
    cases: Vec<Attached>,
    /// Limits that only settings have, with their places.
    places: Vec<(LimitId, usize)>,
}

impl PlanOverlay {
    /// Prepares an overlay of `rules`, which need `attached` in addition. `before` is an overlay of the same rules: what it has
    /// prepared is used again.
    pub(super) fn new(
        overlay: &Overlay,
        rules: &[Rule],
        attached: &[Attached],
        before: Option<&Self>,
        limit_ids: &LimitIds,
    ) -> Self {
        let mut prepared = vec![None; rules.len()];
        for (index, source) in overlay.rules() {
            let known = before.and_then(|before| before.rules.get(index)?.as_ref());
            let known = known.filter(|known| Arc::ptr_eq(&known.source, source));
            let (Some(slot), Some(rule), Some(base)) = (prepared.get_mut(index), rules.get(index), attached.get(index))
            else {
                continue;
            };
            *slot =
                Some(known.map_or_else(|| Arc::new(AttachedOverlay::new(source, rule, base, limit_ids)), Arc::clone));
        }
        let numbered = prepared.iter().enumerate().filter_map(|(index, rule)| Some((index, rule.as_ref()?)));
        let of_rule = |(index, rule): (usize, &Arc<AttachedOverlay>)| {
            rule.places.iter().map(|(limit_id, place)| (*limit_id, (index, *place))).collect::<Vec<_>>()
        };
        let places = numbered.flat_map(of_rule).collect();
        Self { overlay: overlay.clone(), rules: prepared, places }
    }

    pub(super) fn overlay(&self) -> &Overlay {
        &self.overlay
    }

    /// The rule as it is in force for a descriptor. The narrower scope wins, except that what is off stays off.
    pub(super) fn in_force<'v>(
        &'v self,
        domain: &Domain,
        configured: InForce<'v>,
        entries: &[Entry<'_>],
    ) -> InForce<'v> {
        let switches = self.overlay.switches(domain, entries);
        let mut in_force = configured;
        let mut shadow_mode = None;
        if let Some(Some(overlay)) = self.rules.get(configured.rule.index)
            && let Some((case, attached)) = overlay.find(entries)
        {
            (in_force.rule, in_force.attached, shadow_mode) = (&case.rule, attached, case.shadow_mode);
        }
        in_force.enabled = switches.enabled.unwrap_or(configured.enabled);
        in_force.shadow_setting = shadow_mode.or(switches.shadow_mode);
        in_force
    }

    /// The index of the rule and the place of a limit that only settings have.
    pub(super) fn place(&self, limit_id: LimitId) -> Option<(usize, usize)> {
        self.places.get(&limit_id).copied()
    }
}

impl AttachedOverlay {
    fn new(source: &Arc<RuleOverlay>, rule: &Rule, base: &Attached, limit_ids: &LimitIds) -> Self {
        let mut places = HashSet::new();
        let mut attach = |case: &RuleCase| {
            let attached = attach(&case.rule, rule, base, limit_ids);
            let ids = attached.limit_ids.iter().zip(&case.rule.limits).map(|(id, limit)| (*id, limit.place));
            places.extend(ids.filter(|(id, _)| !base.limit_ids.contains(id)));
            attached
        };
        let whole = attach(source.whole());
        let cases = source.cases().iter().map(|case| attach(case)).collect();
        Self { source: Arc::clone(source), whole, cases, places: places.into_iter().collect() }
    }

    /// The case for a descriptor; `None` if nothing is set for it.
    fn find(&self, entries: &[Entry<'_>]) -> Option<(&RuleCase, &Attached)> {
        let found = self
            .source
            .find(entries)
            .and_then(|index| Some((&**self.source.cases().get(index)?, self.cases.get(index)?)));
        found.or_else(|| self.source.whole().has_settings().then_some((self.source.whole(), &self.whole)))
    }
}

/// What a rule with values of settings needs. Its limits have the ids of the configured ones, unless the meaning of their
/// counters has changed.
fn attach(set: &Rule, configured: &Rule, base: &Attached, limit_ids: &LimitIds) -> Attached {
    let same = |place: usize, kind: LimitKind| {
        let mut limits = configured.limits.iter().zip(&base.limit_ids);
        limits.find(|(limit, _)| limit.place == place && LimitKind::from(&limit.limit) == kind).map(|(_, id)| *id)
    };
    let known: Option<_> = set.limits.iter().map(|limit| same(limit.place, LimitKind::from(&limit.limit))).collect();
    let limit_ids = known.unwrap_or_else(|| {
        let described = describe(set, configured);
        let ids = limit_ids.add(&described);
        let limits = set.limits.iter().zip(ids);
        limits.map(|(limit, id)| same(limit.place, LimitKind::from(&limit.limit)).unwrap_or(id)).collect()
    });
    Attached { limit_ids, ..base.clone() }
}

/// Descriptions of the limits. Of those whose kind the configuration does not have at their place, each has the lowest ordinal
/// that no other limit of the rule has.
fn describe(set: &Rule, configured: &Rule) -> Vec<LimitDescription> {
    let description = keys::describe(configured);
    let known = keys::describe_limits(configured, &description);
    let mut taken: HashMap<(LimitKind, u32), usize> =
        known.iter().zip(&configured.limits).map(|(limit, at)| ((limit.kind, limit.ordinal), at.place)).collect();
    let describe = |limit: &RuleLimit| {
        let kind = LimitKind::from(&limit.limit);
        let is_free = |ordinal: &u32| taken.get(&(kind, *ordinal)).is_none_or(|place| *place == limit.place);
        let ordinal = (1..=u32::MAX).find(is_free).unwrap_or(u32::MAX);
        taken.insert((kind, ordinal), limit.place);
        LimitDescription { rule: Arc::clone(&description), kind, ordinal }
    };
    set.limits.iter().map(describe).collect()
}
