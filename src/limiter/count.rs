//! Counts a decided check in the usage.

use super::charge::{Outcomes, capacity, limits, speaking};
use super::plan::value_labels;
use super::resolve::Resolved;
use super::{Check, Descriptor};
use crate::engine::Outcome;
use crate::rules::Rule;
use crate::usage::{Count, Counts, Lane, Usage};

/// One decided check, about to be counted.
pub(super) struct Counting<'s, 'c> {
    pub(super) usage: &'s Usage,
    pub(super) lane: Lane,
    pub(super) check: &'s Check<'c>,
    /// It was denied all or nothing: it counts only where it was denied.
    pub(super) rolled_back: bool,
}

impl Counting<'_, '_> {
    /// Counts every descriptor that a rule or an override matched.
    pub(super) fn count(&self, resolved: &[Resolved<'_>], outcomes: &[Outcomes]) {
        for ((descriptor, one), outcomes) in self.check.descriptors.iter().zip(resolved).zip(outcomes) {
            let spoke = speaking(limits(one), outcomes);
            let untouched =
                self.rolled_back && !descriptor.refund && spoke.is_none_or(|(_, outcome)| outcome.admitted());
            if !untouched {
                let spoke = spoke.map(|(limited, outcome)| (outcome, capacity(limited.limit())));
                self.count_descriptor(descriptor, one, spoke);
            }
        }
    }

    fn count_descriptor(&self, descriptor: &Descriptor<'_>, one: &Resolved<'_>, spoke: Option<(&Outcome, u64)>) {
        match one {
            Resolved::Nothing => {}
            Resolved::Override(_) => {
                let levels: Vec<_> = descriptor.entries.iter().map(|e| format!("{}_{}", e.key, e.value)).collect();
                let series = self.usage.of_override(&self.check.domain, &levels);
                self.count_in(&series.counts, descriptor, None, spoke);
            }
            Resolved::Free(rule, attached) | Resolved::Rule(rule, attached, _) => {
                if attached.usage_by_value {
                    let series = self.usage.of_values(&value_labels(rule, &descriptor.entries));
                    self.count_in(&series.counts, descriptor, Some(rule), spoke);
                } else {
                    self.count_in(&attached.usage.counts, descriptor, Some(rule), spoke);
                }
            }
        }
    }

    fn count_in(
        &self,
        counts: &Counts,
        descriptor: &Descriptor<'_>,
        rule: Option<&Rule>,
        spoke: Option<(&Outcome, u64)>,
    ) {
        let hits = self.check.hits(descriptor);
        let shadow = rule.is_some_and(|rule| rule.shadow_mode);
        match spoke {
            _ if descriptor.refund => counts.add(self.lane, Count::Refunded, hits),
            Some((outcome, capacity)) => counts.record(self.lane, hits, outcome, capacity, shadow),
            None => {
                counts.add(self.lane, Count::Checks, 1);
                counts.add(self.lane, Count::WithinLimit, hits);
            }
        }
    }
}
