//! The series in which the usage of a single counter is counted.

use super::check::Descriptor;
use super::evaluation::Evaluation;
use super::resolve::{Resolved, rule_key};
use crate::rules::{Entry, Level, Rule, Varies};
use crate::store::{CounterKey, CounterKeys, LimitId};
use crate::usage::Series;

/// The series of the counter of a descriptor. For a counter that has not been given it yet: it looks the series up by key.
#[cold]
pub(super) fn series(
    evaluation: Evaluation<'_, '_, '_>,
    descriptor: &Descriptor<'_>,
    resolved: &Resolved<'_>,
) -> Series {
    let Evaluation { check, plan, usage, .. } = evaluation;
    match resolved {
        Resolved::Rule(rule, attached, _) => {
            // Without the window that is part of a counter's own key: usage goes on when a limit changes.
            let mut keys = CounterKeys::default();
            let key = rule_key(&mut keys, attached.limit_id, rule, &descriptor.entries);
            usage.series(&attached.usage, keys.key(key), || rule_entries(rule, descriptor))
        }
        Resolved::Override(_) => {
            let Some(overrides) = plan.overrides(&check.domain) else { return Series(0) };
            let key = override_key(&check.domain, descriptor);
            usage.series(overrides, key.as_bytes(), || entries(descriptor))
        }
        Resolved::Nothing | Resolved::Free(..) => Series(0),
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
    let entry = |(level, entry): (&Level, &Entry<'_>)| match level.varies {
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
