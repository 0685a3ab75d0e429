//! A configuration made ready: every rule with its counters' identities and its statistics.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::keys;
use crate::engine::{Algorithm, Limit};
use crate::rules::{Domain, Entry, Level, Rule, RuleSet};
use crate::store::{Fingerprint, LimitId, LimitIds, Memory, RuleDescription};
use crate::usage::{KeyUsage, Labels, RuleUsage, Usage};

/// A configuration made ready to decide by.
#[derive(Debug)]
pub struct Plan {
    rules: RuleSet,
    /// By rule index.
    attached: Vec<Attached>,
    /// By domain: the statistics of request overrides.
    overrides: HashMap<String, Arc<RuleUsage>, ahash::RandomState>,
    /// By domain, of those that count requests by entry keys: the keys, in the order of the configuration.
    usage_by: HashMap<String, Vec<Arc<KeyUsage>>, ahash::RandomState>,
}

/// What a rule needs beyond its own text.
#[derive(Debug)]
pub(super) struct Attached {
    /// One for each limit.
    pub(super) limit_ids: SmallVec<[LimitId; 1]>,
    /// The rule as a whole, for the keys of its counters' series.
    pub(super) fingerprint: Fingerprint,
    /// The rule's statistics.
    pub(super) usage: Arc<RuleUsage>,
    /// The metrics go by values, not by the rule's path.
    pub(super) metrics_by_value: bool,
}

impl Plan {
    /// Makes `rules` ready. Cost: linear in the number of rules, and a pass over all counters of `store` where many
    /// limits have left the configuration.
    pub(super) fn new(rules: RuleSet, limit_ids: &LimitIds, store: &Memory, usage: &Usage) -> Self {
        let attached = attach_all(rules.rules(), limit_ids, store, usage);
        let overrides =
            rules.domains().map(|domain| (domain.name.clone(), usage.for_overrides(&domain.name))).collect();
        let keys = |domain: &Domain| domain.usage_by.iter().map(|key| usage.for_entry_key(&domain.name, key)).collect();
        let counting = rules.domains().filter(|domain| !domain.usage_by.is_empty());
        let usage_by = counting.map(|domain| (domain.name.clone(), keys(domain))).collect();
        Self { rules, attached, overrides, usage_by }
    }

    /// The rules.
    pub fn rules(&self) -> &RuleSet {
        &self.rules
    }

    pub(super) fn domain(&self, name: &str) -> Option<&Domain> {
        self.rules.domain(name)
    }

    pub(super) fn overrides(&self, domain: &str) -> Option<&Arc<RuleUsage>> {
        self.overrides.get(domain)
    }

    /// Every limit that is a token bucket, with its identity.
    fn buckets(&self) -> impl Iterator<Item = (LimitId, Limit)> {
        let limits = self.rules.rules().iter().zip(&self.attached);
        let limits = limits.flat_map(|(rule, attached)| attached.limit_ids.iter().copied().zip(&rule.limits));
        limits
            .map(|(limit_id, limit)| (limit_id, limit.limit))
            .filter(|(_, limit)| matches!(limit.algorithm, Algorithm::TokenBucket { .. }))
    }

    /// The entry keys that the domain counts requests by.
    pub(super) fn usage_by(&self, domain: &str) -> &[Arc<KeyUsage>] {
        self.usage_by.get(domain).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn attached(&self, rule: &Rule) -> Option<&Attached> {
        self.attached.get(rule.index)
    }
}

/// What the rules need, by rule index.
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

/// The labels of a rule whose statistics go by value: the entries' own values where the rule asks for them, else the
/// configured text; a shared pattern always replaces its values.
pub(super) fn value_labels(rule: &Rule, entries: &[Entry<'_>]) -> Labels {
    let text = |(level, entry): (&Level, &Entry<'_>)| match (level.share_threshold, entry.value.is_empty()) {
        (false, false) if rule.detailed_metric || level.value_to_metric => format!("{}_{}", entry.key, entry.value),
        (false, true) if rule.detailed_metric || level.value_to_metric => entry.key.to_string(),
        _ => level.text(),
    };
    let levels: Vec<_> = rule.levels.iter().zip(entries).map(text).collect();
    Labels::new(&rule.domain, &levels)
}

/// The buckets of `new` whose rate is another than in `old`, by identity: those whose states are of another rate.
pub(super) fn changed_rates(old: &Plan, new: &Plan) -> HashMap<LimitId, Limit, ahash::RandomState> {
    let before: HashMap<_, _, ahash::RandomState> = old.buckets().collect();
    let rate = |limit: &Limit| (limit.max, limit.window);
    let changed =
        |(limit_id, limit): &(LimitId, Limit)| before.get(limit_id).is_some_and(|old| rate(old) != rate(limit));
    new.buckets().filter(changed).collect()
}
