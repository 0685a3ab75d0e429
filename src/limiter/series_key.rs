//! The series of a single counter in the usage.

use super::check::Descriptor;
use super::evaluation::Evaluation;
use super::in_force::InForce;
use super::keys;
use super::resolve::Resolved;
use crate::rules::{Entry, Level, Rule};
use crate::store::CounterKeys;
use crate::usage::Series;

/// The series of the counter of a descriptor, looked up by its key. Called once for a new counter.
#[cold]
pub(super) fn series(
    evaluation: Evaluation<'_, '_, '_>,
    descriptor: &Descriptor<'_>,
    resolved: &Resolved<'_>,
) -> Series {
    let Evaluation { check, plan, usage, .. } = evaluation;
    let mut keys = CounterKeys::default();
    match resolved {
        Resolved::Rule(InForce { rule, attached, .. }, _) => {
            let key = keys::add_rule_series(&mut keys, attached.fingerprint, rule, &descriptor.entries);
            usage.series(&attached.usage, keys.key(key), || rule_entries(rule, descriptor))
        }
        Resolved::Override(..) => {
            let Some(overrides) = plan.overrides(&check.domain) else { return Series(0) };
            let key = keys::add_override_series(&mut keys, &check.domain, &descriptor.entries);
            usage.series(overrides, keys.key(key), || entries(descriptor))
        }
        Resolved::Nothing | Resolved::Free(..) => Series(0),
    }
}

/// The entries of a counter: parts that the rule fixes as configured, the rest as sent.
fn rule_entries(rule: &Rule, descriptor: &Descriptor<'_>) -> Vec<(String, String)> {
    let sent = rule.levels.iter().zip(&descriptor.entries);
    let part = |varies: bool, sent: &str, configured: &str| if varies { sent } else { configured }.to_owned();
    let entry = |(level, entry): (&Level, &Entry<'_>)| {
        let key = part(level.varies.key(), &entry.key, &level.key);
        (key, part(level.varies.value(), &entry.value, &level.value))
    };
    sent.map(entry).collect()
}

fn entries(descriptor: &Descriptor<'_>) -> Vec<(String, String)> {
    descriptor.entries.iter().map(|entry| (entry.key.to_string(), entry.value.to_string())).collect()
}
