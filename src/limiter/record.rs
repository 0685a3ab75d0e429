//! Counts a decided check in the usage.

use super::check::Descriptor;
use super::evaluation::Evaluation;
use super::in_force::InForce;
use super::outcome::Outcomes;
use super::plan::value_labels;
use super::resolve::{Limited, Resolved};
use super::series_key;
use crate::engine::Outcome;
use crate::rules::Entry;
use crate::store::CounterKeys;
use crate::usage::{Counts, Labels, Recorded, Series, Slot};

/// The governing limit of a descriptor, and its outcome.
type Governing<'a, 'v> = Option<(&'a Limited<'v>, &'a Outcome)>;

/// Counts every descriptor that a rule or an override matched. A check that was denied all or nothing (`rolled_back`) counts
/// only for the limits that denied it.
pub(super) fn count<'v>(
    evaluation: Evaluation<'v, '_, '_>,
    resolved: &[Resolved<'v>],
    keys: &CounterKeys,
    outcomes: &[Outcomes],
    rolled_back: bool,
) {
    let descriptors = evaluation.check.descriptors.iter().zip(resolved).zip(outcomes);
    for ((descriptor, resolved), outcomes) in descriptors {
        let governing = outcomes.governing(resolved.limits());
        let untouched = rolled_back
            && !descriptor.refund
            && !keeps_denied(resolved)
            && governing.is_none_or(|(_, outcome)| outcome.admitted());
        if !untouched {
            let series = series(evaluation, descriptor, resolved, keys, outcomes);
            Recorder { evaluation, descriptor, governing }.count(resolved, series);
        }
    }
}

/// The series of the descriptor's counter. Several limits of a rule are one counter for observers: that of the first limit
/// has the series.
fn series(
    evaluation: Evaluation<'_, '_, '_>,
    descriptor: &Descriptor<'_>,
    resolved: &Resolved<'_>,
    keys: &CounterKeys,
    outcomes: &Outcomes,
) -> Series {
    let (Some(limited), Some(charged)) = (resolved.limits().first(), outcomes.charged.first()) else {
        return Series(0);
    };
    charged.series_id.map_or_else(
        || {
            let series = series_key::series(evaluation, descriptor, resolved);
            evaluation.store.set_series(limited.limit(), keys.key(limited.key), series.0);
            series
        },
        Series,
    )
}

/// One decided descriptor that is being counted.
#[derive(Clone, Copy)]
struct Recorder<'s, 'v, 'c> {
    evaluation: Evaluation<'v, 's, 'c>,
    descriptor: &'s Descriptor<'c>,
    governing: Governing<'s, 'v>,
}

impl Recorder<'_, '_, '_> {
    fn count(self, resolved: &Resolved<'_>, series: Series) {
        let Self { evaluation: Evaluation { check, plan, usage, worker, .. }, descriptor, .. } = self;
        let (own, shadow) = (usage.slot(series), resolved.shadow_mode());
        match resolved {
            Resolved::Nothing => usage.count_unmatched(worker, 1),
            Resolved::Override(..) => {
                let shown = usage.for_values(&override_labels(&check.domain, descriptor));
                self.count_in(&shown.counts, shadow, None);
                if let Some(overrides) = plan.overrides(&check.domain) {
                    self.count_in(&overrides.counts, shadow, own);
                }
            }
            Resolved::Free(in_force) | Resolved::Rule(in_force, _) => {
                let InForce { rule, attached, .. } = in_force;
                if attached.metrics_by_value {
                    let shown = usage.for_values(&value_labels(rule, &descriptor.entries));
                    self.count_in(&shown.counts, shadow, None);
                }
                self.count_in(&attached.usage.counts, shadow, own);
            }
        }
    }

    fn count_in(self, counts: &Counts, shadow: bool, slot: Option<&Slot>) {
        let Self { evaluation: Evaluation { check, worker, now, settings, .. }, descriptor, governing } = self;
        let hits = check.hits(descriptor);
        match governing {
            _ if descriptor.refund => counts.record_refund(worker, hits),
            Some((limited, outcome)) => {
                let capacity = limited.limit().capacity();
                let near_limit_ratio = settings.near_limit_ratio;
                counts.record(Recorded { worker, now, slot, hits, outcome, capacity, near_limit_ratio, shadow });
            }
            None => counts.record_unlimited(worker, hits),
        }
    }
}

/// Whether a limit counts the hits of denied checks, whichever limit denies them.
fn keeps_denied(resolved: &Resolved<'_>) -> bool {
    resolved.limits().iter().any(|limited| limited.limit().keeps_denied())
}

/// The path of values of a request override.
fn override_labels(domain: &str, descriptor: &Descriptor<'_>) -> Labels {
    let level = |entry: &Entry<'_>| match &*entry.value {
        "" => entry.key.to_string(),
        value => format!("{}_{value}", entry.key),
    };
    let levels: Vec<_> = descriptor.entries.iter().map(level).collect();
    Labels::new(domain, &levels)
}
