//! Buckets whose rate a new plan changes.

use std::collections::HashSet;

use super::keys::{DecodedKey, decode};
use super::plan::Plan;
use crate::engine::{Algorithm, Limit};
use crate::rules::Entry;
use crate::store::{KeyPart, LimitId, LimitTable, Memory};
use crate::units::Timestamp;

/// Updates the counters of buckets whose rate differs between two plans, because their states have the old rate: otherwise one
/// without checks would continue to fill at it. Cost: a pass over all counters if there is such a bucket.
pub(super) fn bring_up_to_date(store: &Memory, now: Timestamp, limits: &LimitTable, before: &Plan, after: &Plan) {
    let (before, rates) = (before.bucket_rates(), after.bucket_rates());
    let known: HashSet<LimitId> = before.iter().map(|(limit_id, ..)| *limit_id).collect();
    let changed: HashSet<LimitId> = rates
        .symmetric_difference(&before)
        .map(|(limit_id, ..)| *limit_id)
        .filter(|limit_id| known.contains(limit_id))
        .collect();
    if changed.is_empty() {
        return;
    }
    store.bring_up_to_date(now, |limit_id, key| {
        if !changed.contains(&limit_id) {
            return None;
        }
        let (limit, _) = limit_in_force(after, limit_id, &decode(limits, key).ok()?)?;
        matches!(limit.algorithm, Algorithm::TokenBucket { .. }).then_some(limit)
    });
}

/// The limit of a rule that is in force for a counter, and whether it differs from the configured one because of a setting.
pub(super) fn limit_in_force(plan: &Plan, limit_id: LimitId, key: &DecodedKey<'_>) -> Option<(Limit, bool)> {
    let (rule, place) = plan.limit_place(limit_id)?;
    let domain = plan.domain(&rule.domain)?;
    let entries = entries(key)?;
    let in_force = plan.in_force(domain, rule, &entries)?;
    let numbered = in_force.rule.limits.iter().zip(&in_force.attached.limit_ids);
    let limit = numbered.filter(|(_, id)| **id == limit_id).map(|(limit, _)| limit).find(|limit| limit.place == place)?;
    Some((limit.limit, !std::ptr::eq(in_force.rule, rule)))
}

/// The entries of a counter; a value that is only known by its hash is empty, which no setting has.
fn entries<'k>(key: &DecodedKey<'k>) -> Option<Vec<Entry<'k>>> {
    let text = |part: &KeyPart<'k>| match part {
        KeyPart::Bytes(bytes) => String::from_utf8_lossy(bytes),
        KeyPart::Sha256(_) => "".into(),
    };
    Some(key.entries.iter().map(|(key, value)| Entry { key: text(key), value: text(value) }).collect())
}
