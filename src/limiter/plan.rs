//! A configuration made ready: every rule with its counters' identities and its statistics.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use crate::engine::{Algorithm, Limit, Starts};
use crate::rules::{Domain, Entry, Level, Rule, RuleSet};
use crate::store::{LimitId, LimitIds};
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
    /// The rule itself, for the names of its counters' series.
    pub(super) limit_id: LimitId,
    /// The rule's statistics.
    pub(super) usage: Arc<RuleUsage>,
    /// The metrics go by values, not by the rule's path.
    pub(super) metrics_by_value: bool,
}

impl Plan {
    /// Makes `rules` ready. Cost: linear in the number of rules.
    pub(super) fn new(rules: RuleSet, limit_ids: &LimitIds, usage: &Usage) -> Self {
        let attach = |rule: &Rule| {
            let metrics_by_value = rule.detailed_metric || rule.levels.iter().any(|level| level.value_to_metric);
            let labels = labels(rule);
            let shown = usage.for_rule(&labels);
            Attached {
                limit_ids: limit_ids_of(rule, limit_ids),
                limit_id: limit_ids.intern(path(rule)),
                usage: if metrics_by_value { usage.for_rule_by_value(&labels) } else { shown },
                metrics_by_value,
            }
        };
        let attached = rules.rules().iter().map(attach).collect();
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

fn labels(rule: &Rule) -> Labels {
    let levels: Vec<_> = rule.levels.iter().map(Level::text).collect();
    Labels::new(&rule.domain, &levels)
}

/// The labels of a rule whose statistics go by value: the entries' own values where the rule asks for them, else the
/// configured text; a shared pattern always stands for its values.
pub(super) fn value_labels(rule: &Rule, entries: &[Entry<'_>]) -> Labels {
    let text = |(level, entry): (&Level, &Entry<'_>)| match (level.share_threshold, entry.value.is_empty()) {
        (false, false) if rule.detailed_metric || level.value_to_metric => format!("{}_{}", entry.key, entry.value),
        (false, true) if rule.detailed_metric || level.value_to_metric => entry.key.to_string(),
        _ => level.text(),
    };
    let levels: Vec<_> = rule.levels.iter().zip(entries).map(text).collect();
    Labels::new(&rule.domain, &levels)
}

/// The identities of a rule's limits: what they are, not where they stand, so that reordering a list loses no count.
///
/// A count of one window means nothing in another, so the window is part of the identity. A bucket's missing hits mean
/// the same at any rate: of a rule's buckets the one with the longest period stays itself, then the next.
fn limit_ids_of(rule: &Rule, limit_ids: &LimitIds) -> SmallVec<[LimitId; 1]> {
    let kind = |limit: &Limit| match limit.algorithm {
        Algorithm::TokenBucket { .. } => algorithm(limit).to_owned(),
        _ => format!("{}/{}", algorithm(limit), limit.window.as_ns()),
    };
    let mut order: SmallVec<[usize; 4]> = (0..rule.limits.len()).collect();
    // Stable: those of one window stay in the order of the list.
    order.sort_by_key(|i| rule.limits.get(*i).map(|limit| Reverse(limit.limit.window)));
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut found: SmallVec<[LimitId; 1]> = smallvec![LimitId::OVERRIDE; rule.limits.len()];
    for i in order {
        if let (Some(limit), Some(slot)) = (rule.limits.get(i), found.get_mut(i)) {
            let kind = kind(&limit.limit);
            let again = seen.entry(kind.clone()).or_insert(0);
            *again += 1;
            *slot = limit_ids.intern(format!("{}\u{1f}{kind}/{again}", path(rule)));
        }
    }
    found
}

/// The buckets of `new` whose rate is another than in `old`, by identity: those whose states are of another rate.
pub(super) fn changed_rates(old: &Plan, new: &Plan) -> HashMap<LimitId, Limit, ahash::RandomState> {
    let before: HashMap<_, _, ahash::RandomState> = old.buckets().collect();
    let rate = |limit: &Limit| (limit.max, limit.window);
    let changed =
        |(limit_id, limit): &(LimitId, Limit)| before.get(limit_id).is_some_and(|old| rate(old) != rate(limit));
    new.buckets().filter(changed).collect()
}

/// A rule's path with every part told apart, whatever characters they hold.
fn path(rule: &Rule) -> String {
    let mut path = format!("{}:{}", rule.domain.len(), rule.domain);
    for level in &rule.levels {
        let _ = write!(path, "/{}:{}={}:{}", level.key.len(), level.key, level.value.len(), level.value);
    }
    path
}

fn algorithm(limit: &Limit) -> &'static str {
    match limit.algorithm {
        Algorithm::FixedWindow { starts: Starts::Clock } => "fixed_window",
        Algorithm::FixedWindow { starts: Starts::FirstRequest } => "first_request",
        Algorithm::SlidingWindow => "sliding_window",
        Algorithm::SlidingLog => "sliding_log",
        Algorithm::TokenBucket { .. } => "token_bucket",
    }
}
