//! Counts a decided check in the usage.

use super::charge::{Outcomes, limits, speaking};
use super::name::SeriesOf;
use super::plan::value_labels;
use super::resolve::{Limited, Resolved};
use super::{Check, Descriptor, Plan};
use crate::engine::{CountDenied, Outcome, Reason, Verdict};
use crate::rules::{Entry, Rule};
use crate::store::Tags;
use crate::units::Timestamp;
use crate::usage::{Counts, Denial, Labels, Lane, Recorded, RuleName, Series, Slot, Usage};

/// One decided check, about to be counted.
pub(super) struct Counting<'s, 'v, 'c> {
    pub(super) usage: &'s Usage,
    pub(super) plan: &'s Plan,
    pub(super) series: &'s SeriesOf<'s, 'v, 'c>,
    pub(super) lane: Lane,
    pub(super) check: &'s Check<'c>,
    pub(super) now: Timestamp,
    /// No check is denied, whatever its limits say.
    pub(super) global_shadow: bool,
    /// It was denied all or nothing: it counts only where it was denied.
    pub(super) rolled_back: bool,
}

/// The limit that speaks for a descriptor, and its answer.
type Spoke<'a, 'v> = Option<(&'a Limited<'v>, &'a Outcome)>;

impl Counting<'_, '_, '_> {
    /// Counts every descriptor that a rule or an override matched.
    pub(super) fn count(&self, resolved: &[Resolved<'_>], outcomes: &[Outcomes]) {
        let descriptors = self.check.descriptors.iter().zip(resolved).zip(outcomes);
        for (i, ((descriptor, one), outcomes)) in descriptors.enumerate() {
            let spoke = speaking(limits(one), outcomes);
            let untouched = self.rolled_back
                && !descriptor.refund
                && !keeps_denied(one)
                && spoke.is_none_or(|(_, outcome)| outcome.admitted());
            if !untouched {
                if let Some((limited, outcome)) = spoke
                    && let Verdict::Denied(reason) = outcome.verdict
                {
                    self.usage.denials().offer(|| self.denial(descriptor, one, limited, outcome, reason));
                }
                let first = limits(one).first().zip(outcomes.first());
                // A counter that does not exist, such as one that has expired, may still have a series.
                let series = first.map_or(0, |(_, charged)| charged.tag.unwrap_or_else(|| self.series.tag(i)));
                let series = Series(series);
                self.count_descriptor(descriptor, one, spoke, series);
            }
        }
    }

    /// The refusal as listeners are told it.
    #[cold]
    fn denial(
        &self,
        descriptor: &Descriptor<'_>,
        one: &Resolved<'_>,
        limited: &Limited<'_>,
        outcome: &Outcome,
        reason: Reason,
    ) -> Denial {
        let rule = match one {
            Resolved::Free(rule, _) | Resolved::Rule(rule, ..) => Some(*rule),
            Resolved::Nothing | Resolved::Override(_) => None,
        };
        let entries = descriptor.entries.iter().take(MAX_TOLD_ENTRIES);
        let entries = entries.map(|entry| (cut(&entry.key, MAX_TOLD_BYTES), cut(&entry.value, MAX_TOLD_BYTES)));
        Denial {
            at: self.now,
            domain: self.check.domain.to_string(),
            rule: rule.map_or_else(|| RuleName::of_overrides(&self.check.domain).path, |rule| rule.path.clone()),
            entries: entries.collect(),
            hits: self.check.hits(descriptor),
            requests_per_unit: limited.current().requests_per_unit,
            period: limited.current().length,
            reason,
            retry_after: outcome.reset,
            shadow: rule.is_some_and(|rule| rule.shadow_mode) || self.global_shadow,
        }
    }

    fn count_descriptor(&self, descriptor: &Descriptor<'_>, one: &Resolved<'_>, spoke: Spoke<'_, '_>, series: Series) {
        let own = self.usage.slot(series);
        match one {
            Resolved::Nothing => self.usage.count_unmatched(self.lane, 1),
            Resolved::Override(_) => {
                let shown = self.usage.of_values(&override_labels(&self.check.domain, descriptor));
                self.count_in(&shown.counts, descriptor, None, spoke, None);
                if let Some(usage) = self.plan.overrides(&self.check.domain) {
                    self.count_in(&usage.counts, descriptor, None, spoke, own);
                }
            }
            Resolved::Free(rule, attached) | Resolved::Rule(rule, attached, _) => {
                if attached.metrics_by_value {
                    let shown = self.usage.of_values(&value_labels(rule, &descriptor.entries));
                    self.count_in(&shown.counts, descriptor, Some(rule), spoke, None);
                }
                self.count_in(&attached.usage.counts, descriptor, Some(rule), spoke, own);
            }
        }
    }

    fn count_in(
        &self,
        counts: &Counts,
        descriptor: &Descriptor<'_>,
        rule: Option<&Rule>,
        spoke: Spoke<'_, '_>,
        slot: Option<&Slot>,
    ) {
        let (lane, hits) = (self.lane, self.check.hits(descriptor));
        let shadow = rule.is_some_and(|rule| rule.shadow_mode);
        match spoke {
            _ if descriptor.refund => counts.record_refund(lane, hits),
            Some((limited, outcome)) => {
                let capacity = limited.limit().capacity();
                counts.record(Recorded { lane, now: self.now, slot, hits, outcome, capacity, shadow });
            }
            None => counts.record_unlimited(lane, hits),
        }
    }
}

/// Whether a limit counts the hits of denied checks, whoever denies them.
fn keeps_denied(one: &Resolved<'_>) -> bool {
    limits(one).iter().any(|limited| limited.limit().count_denied == CountDenied::Always)
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

/// The text, its end left out where it is longer than that.
fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    format!("{}...", text.get(..text.floor_char_boundary(most)).unwrap_or_default())
}

/// Entries of a refused check that listeners are told; each costs up to twice [`MAX_TOLD_BYTES`] in their ring.
const MAX_TOLD_ENTRIES: usize = 16;
/// Bytes of a key or a value that listeners are told: enough to know it by.
const MAX_TOLD_BYTES: usize = 200;
