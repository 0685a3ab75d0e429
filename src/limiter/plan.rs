//! What is in force: every rule with the ids of its limits and its statistics, and the settings over them.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use super::in_force::{Attached, Case, InForce};
use super::keys::{self, DecodedKey};
use super::overlay::PlanOverlay;
use crate::rules::{Domain, Entry, Level, Lifted, Overlay, Rule, RuleLimit, RuleSet, Switches};
use crate::store::{Fingerprint, LimitId, LimitIds, Memory, RuleDescription};
use crate::usage::{KeyUsage, Labels, RuleUsage, Usage};

/// What is in force: a configuration prepared for decisions, and the settings over it.
#[derive(Debug)]
pub struct Plan {
    prepared: Arc<Prepared>,
    /// `None` without settings, so that a check costs one branch.
    overlay: Option<PlanOverlay>,
}

/// A prepared configuration. It does not depend on settings.
#[derive(Debug)]
pub(super) struct Prepared {
    rules: Arc<RuleSet>,
    /// By the index of the rule.
    attached: Vec<Attached>,
    /// By domain: the statistics of request overrides.
    overrides: HashMap<String, Arc<RuleUsage>, ahash::RandomState>,
    /// By domain: the entry keys by which it counts requests, if any, in the order of the configuration.
    usage_by: HashMap<String, Vec<Arc<KeyUsage>>, ahash::RandomState>,
    /// By the id of a limit: the index of its rule, and its place in it.
    places: HashMap<LimitId, (usize, usize), ahash::RandomState>,
}

/// A rule as it is in force for checks without narrower settings.
#[derive(Clone, Copy, Debug)]
pub struct RuleInForce<'p> {
    /// The rule as configured.
    pub configured: &'p Rule,
    /// The rule with the values of settings; the configured one if nothing is set for it.
    pub rule: &'p Rule,
    /// False: its domain, or everything, is switched off.
    pub domain_enabled: bool,
    /// What is over its limits is admitted, apart from the shadow mode of the process.
    pub shadow_mode: bool,
    /// A setting says so, which is in force in place of the process's.
    pub shadow_is_set: bool,
}

/// The limit that is in force for a counter.
#[derive(Clone, Copy, Debug)]
pub(super) struct CounterLimit<'v> {
    pub(super) in_force: InForce<'v>,
    pub(super) limit: &'v RuleLimit,
    /// The rule has values of settings.
    pub(super) is_set: bool,
}

impl Prepared {
    /// Prepares `rules`. Cost: linear in the number of rules, and a pass over all counters of `store` if many limits have been
    /// removed from the configuration.
    fn new(rules: Arc<RuleSet>, limit_ids: &LimitIds, store: &Memory, usage: &Usage) -> Self {
        let attached = attach_all(rules.rules(), limit_ids, store, usage);
        let overrides =
            rules.domains().map(|domain| (domain.name.clone(), usage.for_overrides(&domain.name))).collect();
        let keys = |domain: &Domain| domain.usage_by.iter().map(|key| usage.for_entry_key(&domain.name, key)).collect();
        let counting = rules.domains().filter(|domain| !domain.usage_by.is_empty());
        let usage_by = counting.map(|domain| (domain.name.clone(), keys(domain))).collect();
        let numbered = rules.rules().iter().zip(&attached);
        let places = numbered.flat_map(|(rule, attached)| {
            let limits = attached.limit_ids.iter().zip(&rule.limits);
            limits.map(|(limit_id, limit)| (*limit_id, (rule.index, limit.place)))
        });
        let places = places.collect();
        Self { rules, attached, overrides, usage_by, places }
    }
}

impl Plan {
    /// Prepares `rules` with an overlay. What `before` has prepared is used again: all of it for the same rules, and the rules
    /// of an overlay that has not changed.
    ///
    /// Cost: linear in the number of rules unless they are those of `before`; then in the settings that changed, and by a small
    /// constant in the number of rules.
    pub(super) fn new(
        rules: Arc<RuleSet>,
        overlay: &Overlay,
        before: Option<&Self>,
        limit_ids: &LimitIds,
        store: &Memory,
        usage: &Usage,
    ) -> Self {
        let before = before.filter(|before| Arc::ptr_eq(&before.prepared.rules, &rules));
        let prepared = match before {
            Some(before) => Arc::clone(&before.prepared),
            None => Arc::new(Prepared::new(rules, limit_ids, store, usage)),
        };
        let overlay = (!overlay.is_empty()).then(|| {
            let known = before.and_then(|before| before.overlay.as_ref());
            PlanOverlay::new(overlay, prepared.rules.rules(), &prepared.attached, known, limit_ids)
        });
        Self { prepared, overlay }
    }

    /// The rules.
    pub fn rules(&self) -> &RuleSet {
        &self.prepared.rules
    }

    /// The settings over the rules.
    pub fn overlay(&self) -> Option<&Overlay> {
        self.overlay.as_ref().map(PlanOverlay::overlay)
    }

    /// All domains and rules whose limits are lifted.
    pub(super) fn lifted(&self) -> Vec<Lifted<'_>> {
        static NONE: LazyLock<Overlay> = LazyLock::new(Overlay::default);
        self.rules().lifted(self.overlay().unwrap_or(&NONE))
    }

    /// The rules as they are in force for checks without narrower settings, each with whether that is because of a setting.
    pub fn rules_in_force(&self) -> impl Iterator<Item = RuleInForce<'_>> {
        self.rules().rules().iter().filter_map(|configured| {
            let domain = self.domain(&configured.domain)?;
            let fixed = if self.overlay.is_some() { configured.fixed_entries() } else { Vec::new() };
            let in_force = self.in_force(domain, configured, &Entry::borrowed(&fixed))?;
            Some(RuleInForce {
                configured,
                rule: in_force.rule,
                domain_enabled: in_force.enabled,
                shadow_mode: in_force.shadow_mode(),
                shadow_is_set: in_force.shadow_setting.is_some(),
            })
        })
    }

    pub(super) fn domain(&self, name: &str) -> Option<&Domain> {
        self.prepared.rules.domain(name)
    }

    pub(super) fn overrides(&self, domain: &str) -> Option<&Arc<RuleUsage>> {
        self.prepared.overrides.get(domain)
    }

    /// The entry keys by which the domain counts requests.
    pub(super) fn usage_by(&self, domain: &str) -> &[Arc<KeyUsage>] {
        self.prepared.usage_by.get(domain).map(Vec::as_slice).unwrap_or_default()
    }

    /// The rule as it is in force for a descriptor with these entries. Without settings this costs one branch.
    pub(super) fn in_force<'v>(
        &'v self,
        domain: &Domain,
        rule: &'v Rule,
        entries: &[Entry<'_>],
    ) -> Option<InForce<'v>> {
        let attached = self.prepared.attached.get(rule.index)?;
        let configured = InForce { rule, attached, enabled: domain.enabled, shadow_setting: None };
        Some(match &self.overlay {
            None => configured,
            Some(overlay) => overlay.in_force(domain, configured, entries),
        })
    }

    /// What settings of the domain and of everything say about a descriptor with these entries, request overrides included.
    pub(super) fn switches(&self, domain: &Domain, entries: &[Entry<'_>]) -> Switches {
        self.overlay.as_ref().map_or_else(Switches::default, |overlay| overlay.overlay().switches(domain, entries))
    }

    /// Whether `shadow_mode` of everything is set, which is in force in place of the process's.
    pub(super) fn sets_shadow_mode(&self) -> bool {
        self.overlay.as_ref().is_some_and(|overlay| overlay.overlay().everything.shadow_mode.is_some())
    }

    /// The rule and the place of the limit with this id.
    pub(super) fn limit_place(&self, limit_id: LimitId) -> Option<(&Rule, usize)> {
        // Those of settings are not among those of the rules, and there is no index of them.
        let (rule, place) = match self.prepared.places.get(&limit_id) {
            Some(found) => *found,
            None => self.overlay.as_ref().and_then(|overlay| overlay.place(limit_id))?,
        };
        Some((self.prepared.rules.rules().get(rule)?, place))
    }

    /// The limit that is in force for a counter with this key; `None` if there is none.
    pub(super) fn limit_of_counter(&self, limit_id: LimitId, key: &DecodedKey<'_>) -> Option<CounterLimit<'_>> {
        let (rule, place) = self.limit_place(limit_id)?;
        let in_force = self.in_force(self.domain(&rule.domain)?, rule, &key.entries())?;
        let mut numbered = in_force.rule.limits.iter().zip(&in_force.attached.limit_ids);
        let (limit, _) = numbered.find(|(limit, id)| **id == limit_id && limit.place == place)?;
        Some(CounterLimit { in_force, limit, is_set: !std::ptr::eq(in_force.rule, rule) })
    }

    /// The rule as it is in force for a descriptor with these entries; `None`: it is not one of this plan.
    pub(super) fn in_force_for<'v>(&'v self, rule: &'v Rule, entries: &[Entry<'_>]) -> Option<InForce<'v>> {
        self.in_force(self.domain(&rule.domain)?, rule, entries)
    }

    /// What is in force for a rule: for all checks, and for those with certain entries.
    pub(super) fn cases<'v>(&'v self, rule: &'v Rule) -> Vec<Case<'v>> {
        let set = self.overlay.as_ref().and_then(|overlay| overlay.overlay().rule(rule.index));
        let whole = set.map_or(rule, |set| &set.whole().rule);
        let narrow = set.map(|set| set.cases()).unwrap_or_default();
        let narrow = narrow.iter().map(|case| Case { entries: &case.entries, rule: &case.rule });
        std::iter::once(Case { entries: &[], rule: whole }).chain(narrow).collect()
    }

    /// Whether both plans were prepared from the same rules.
    pub(super) fn has_rules_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.prepared, &other.prepared)
    }

    /// Whether both plans, of the same rules, have the same settings for a rule.
    pub(super) fn has_settings_of(&self, other: &Self, rule: &Rule) -> bool {
        let set =
            |plan: &Self| plan.overlay.as_ref().and_then(|overlay| overlay.overlay().rule(rule.index)).map(Arc::as_ptr);
        set(self) == set(other)
    }

    /// The fingerprint of a rule of this plan.
    pub(super) fn fingerprint(&self, rule: &Rule) -> Option<Fingerprint> {
        self.prepared.attached.get(rule.index).map(|attached| attached.fingerprint)
    }
}

/// What the rules need in addition, by the index of the rule.
fn attach_all(rules: &[Rule], limit_ids: &LimitIds, store: &Memory, usage: &Usage) -> Vec<Attached> {
    let described: Vec<_> = rules.iter().map(|rule| (rule, keys::describe(rule))).collect();
    let limits: Vec<_> = described.iter().flat_map(|(rule, whole)| keys::describe_limits(rule, whole)).collect();
    let mut ids = limit_ids.assign(&limits, || store.limits_in_use()).into_iter();
    let attach = |(rule, description): (&Rule, Arc<RuleDescription>)| {
        let metrics_by_value = rule.detailed_metric || rule.levels.iter().any(|level| level.value_to_metric);
        let labels = labels(rule);
        let shown = usage.for_rule(&labels);
        Attached {
            limit_ids: ids.by_ref().take(rule.limits.len()).collect(),
            fingerprint: description.fingerprint(),
            usage: if metrics_by_value { usage.for_rule_by_value(&labels) } else { shown },
            metrics_by_value,
        }
    };
    described.into_iter().map(attach).collect()
}

fn labels(rule: &Rule) -> Labels {
    let levels: Vec<_> = rule.levels.iter().map(Level::text).collect();
    Labels::new(&rule.domain, &levels)
}

/// The labels of a rule whose statistics are by value: the values of the entries where the rule configures it, else the
/// configured text. A shared pattern is always the configured text.
pub(super) fn value_labels(rule: &Rule, entries: &[Entry<'_>]) -> Labels {
    let text = |(level, entry): (&Level, &Entry<'_>)| match (level.share_threshold, entry.value.is_empty()) {
        (false, false) if rule.detailed_metric || level.value_to_metric => format!("{}_{}", entry.key, entry.value),
        (false, true) if rule.detailed_metric || level.value_to_metric => entry.key.to_string(),
        _ => level.text(),
    };
    let levels: Vec<_> = rule.levels.iter().zip(entries).map(text).collect();
    Labels::new(&rule.domain, &levels)
}
