//! Counts a decided check in the usage.

use super::charge::{Outcomes, governing, limits};
use super::plan::value_labels;
use super::resolve::{Limited, Resolved};
use super::series_key::SeriesKeys;
use super::{Check, Descriptor, Plan};
use crate::engine::Outcome;
use crate::rules::{Entry, Rule};
use crate::store::SeriesIds;
use crate::units::Timestamp;
use crate::usage::{Counts, Labels, Recorded, Series, Slot, Usage, WorkerSlot};

/// One decided check, about to be counted.
pub(super) struct Recorder<'s, 'v, 'c> {
    pub(super) usage: &'s Usage,
    pub(super) plan: &'s Plan,
    pub(super) series: &'s SeriesKeys<'s, 'v, 'c>,
    pub(super) worker: WorkerSlot,
    pub(super) check: &'s Check<'c>,
    pub(super) now: Timestamp,
    /// It was denied all or nothing: it counts only where it was denied.
    pub(super) rolled_back: bool,
}

/// The governing limit for a descriptor, and its answer.
type Governing<'a, 'v> = Option<(&'a Limited<'v>, &'a Outcome)>;

impl Recorder<'_, '_, '_> {
    /// Counts every descriptor that a rule or an override matched.
    pub(super) fn count(&self, resolved: &[Resolved<'_>], outcomes: &[Outcomes]) {
        let descriptors = self.check.descriptors.iter().zip(resolved).zip(outcomes);
        for (i, ((descriptor, one), outcomes)) in descriptors.enumerate() {
            let governing = governing(limits(one), outcomes);
            let untouched = self.rolled_back
                && !descriptor.refund
                && !keeps_denied(one)
                && governing.is_none_or(|(_, outcome)| outcome.admitted());
            if !untouched {
                let first = limits(one).first().zip(outcomes.first());
                // A counter that does not exist, such as one that has expired, may still have a series.
                let series =
                    first.map_or(0, |(_, charged)| charged.series_id.unwrap_or_else(|| self.series.series_id(i)));
                let series = Series(series);
                self.count_descriptor(descriptor, one, governing, series);
            }
        }
    }

    fn count_descriptor(
        &self,
        descriptor: &Descriptor<'_>,
        one: &Resolved<'_>,
        governing: Governing<'_, '_>,
        series: Series,
    ) {
        let own = self.usage.slot(series);
        match one {
            Resolved::Nothing => self.usage.count_unmatched(self.worker, 1),
            Resolved::Override(_) => {
                let shown = self.usage.for_values(&override_labels(&self.check.domain, descriptor));
                self.count_in(&shown.counts, descriptor, None, governing, None);
                if let Some(usage) = self.plan.overrides(&self.check.domain) {
                    self.count_in(&usage.counts, descriptor, None, governing, own);
                }
            }
            Resolved::Free(rule, attached) | Resolved::Rule(rule, attached, _) => {
                if attached.metrics_by_value {
                    let shown = self.usage.for_values(&value_labels(rule, &descriptor.entries));
                    self.count_in(&shown.counts, descriptor, Some(rule), governing, None);
                }
                self.count_in(&attached.usage.counts, descriptor, Some(rule), governing, own);
            }
        }
    }

    fn count_in(
        &self,
        counts: &Counts,
        descriptor: &Descriptor<'_>,
        rule: Option<&Rule>,
        governing: Governing<'_, '_>,
        slot: Option<&Slot>,
    ) {
        let (worker, hits) = (self.worker, self.check.hits(descriptor));
        let shadow = rule.is_some_and(|rule| rule.shadow_mode);
        match governing {
            _ if descriptor.refund => counts.record_refund(worker, hits),
            Some((limited, outcome)) => {
                let capacity = limited.limit().capacity();
                counts.record(Recorded { worker, now: self.now, slot, hits, outcome, capacity, shadow });
            }
            None => counts.record_unlimited(worker, hits),
        }
    }
}

/// Whether a limit counts the hits of denied checks, whoever denies them.
fn keeps_denied(one: &Resolved<'_>) -> bool {
    limits(one).iter().any(|limited| limited.limit().keeps_denied())
}

/// The path of values of a limit that the request brought along.
fn override_labels(domain: &str, descriptor: &Descriptor<'_>) -> Labels {
    let level = |entry: &Entry<'_>| match &*entry.value {
        "" => entry.key.to_string(),
        value => format!("{}_{value}", entry.key),
    };
    let levels: Vec<_> = descriptor.entries.iter().map(level).collect();
    Labels::new(domain, &levels)
}
