//! Buckets whose rate a new plan changes.

use std::collections::HashSet;

use super::keys::decode;
use super::plan::Plan;
use crate::engine::Algorithm;
use crate::store::{LimitId, LimitTable, Memory};
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
        let limit = after.limit_of_counter(limit_id, &decode(limits, key).ok()?)?.limit.limit;
        matches!(limit.algorithm, Algorithm::TokenBucket { .. }).then_some(limit)
    });
}
