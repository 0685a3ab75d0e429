//! Records a check as a whole after its decision, however many descriptors it has.

use super::check::Check;
use super::decision::Code;
use super::evaluation::Evaluation;
use crate::rules::Entry;

/// Counts the check by the value of each entry key that its domain configures.
///
/// Cost: one branch for a domain without such keys; else a look-up in the usage for each key that the check has. A check with
/// only refunds is not a request.
pub(super) fn count(evaluation: Evaluation<'_, '_, '_>, code: Code) {
    let Evaluation { check, plan, domain, usage, worker, .. } = evaluation;
    if domain.usage_by.is_empty() {
        return;
    }
    let Some(hits) = hits(check) else { return };
    for key in plan.usage_by(&domain.name) {
        if let Some(value) = value(check, key.key()) {
            usage.count_by_entry(worker, key, value, hits, code == Code::OverLimit);
        }
    }
}

/// The largest number of hits of a descriptor; `None` if all of them are refunds.
fn hits(check: &Check<'_>) -> Option<u64> {
    let asking = check.descriptors.iter().filter(|descriptor| !descriptor.refund);
    asking.map(|descriptor| check.hits(descriptor)).max()
}

/// The first value of the key, in the order of descriptors and entries.
fn value<'c>(check: &'c Check<'_>, key: &str) -> Option<&'c str> {
    let mut entries = check.descriptors.iter().flat_map(|descriptor| &descriptor.entries);
    entries.find(|entry: &&Entry<'_>| entry.key == key).map(|entry| &*entry.value)
}
