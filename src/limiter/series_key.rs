//! Names the counters that a check makes, for the usage of single counters.

use super::resolve::{Resolved, rule_key};
use super::{Check, Descriptor, Plan};
use crate::rules::{Level, Rule, Varies};
use crate::store::{CounterKey, CounterKeys, LimitId, SeriesIds};
use crate::usage::Usage;

/// Gives the counters of one check their series.
///
/// A rule's several limits are one counter for an observer: the first limit's counter has the series.
#[derive(Debug)]
pub(super) struct SeriesKeys<'s, 'v, 'c> {
    pub(super) usage: &'s Usage,
    pub(super) plan: &'v Plan,
    pub(super) check: &'s Check<'c>,
    pub(super) resolved: &'s [Resolved<'v>],
    /// The names of the counters.
    pub(super) keys: &'s CounterKeys,
}

impl SeriesIds for SeriesKeys<'_, '_, '_> {
    #[cold]
    fn series_id(&self, index: usize) -> u32 {
        let found = self.check.descriptors.get(index).zip(self.resolved.get(index));
        found.map_or(0, |(descriptor, one)| self.series(descriptor, one))
    }
}

impl SeriesKeys<'_, '_, '_> {
    fn series(&self, descriptor: &Descriptor<'_>, one: &Resolved<'_>) -> u32 {
        let series = match one {
            Resolved::Rule(rule, attached, _) => {
                // Without the window that is part of a counter's own key: usage goes on when a limit changes.
                let mut keys = CounterKeys::default();
                let key = rule_key(&mut keys, attached.limit_id, rule, &descriptor.entries);
                self.usage.series(&attached.usage, keys.key(key), || rule_entries(rule, descriptor))
            }
            Resolved::Override(_) => {
                let Some(usage) = self.plan.overrides(&self.check.domain) else { return 0 };
                let key = override_key(&self.check.domain, descriptor);
                self.usage.series(usage, key.as_bytes(), || entries(descriptor))
            }
            Resolved::Nothing | Resolved::Free(..) => return 0,
        };
        series.0
    }
}

fn override_key(domain: &str, descriptor: &Descriptor<'_>) -> CounterKey {
    let mut key = CounterKey::new(LimitId::OVERRIDE);
    key.push(domain.as_bytes());
    for entry in &descriptor.entries {
        key.push(entry.key.as_bytes());
        key.push(entry.value.as_bytes());
    }
    key
}

/// The entries of a counter: what the rule fixes as it is configured, the rest as it was sent.
fn rule_entries(rule: &Rule, descriptor: &Descriptor<'_>) -> Vec<(String, String)> {
    let sent = rule.levels.iter().zip(&descriptor.entries);
    let entry = |(level, entry): (&Level, &crate::rules::Entry<'_>)| match level.varies {
        Varies::Nothing => (level.key.clone(), level.value.clone()),
        Varies::Key => (entry.key.to_string(), level.value.clone()),
        Varies::Value => (level.key.clone(), entry.value.to_string()),
        Varies::KeyAndValue => (entry.key.to_string(), entry.value.to_string()),
    };
    sent.map(entry).collect()
}

fn entries(descriptor: &Descriptor<'_>) -> Vec<(String, String)> {
    descriptor.entries.iter().map(|entry| (entry.key.to_string(), entry.value.to_string())).collect()
}
