//! Charges the counters of a check's limits.

use smallvec::SmallVec;

use super::charges::{Charging, charge, charges_of, groups_of};
use super::check::Descriptor;
use super::evaluation::Evaluation;
use super::outcome::Outcomes;
use super::resolve::Resolved;
use crate::store::{Charged, CounterKeys};

/// Charges each descriptor on its own.
pub(super) fn each(
    evaluation: Evaluation<'_, '_, '_>,
    resolved: &[Resolved<'_>],
    keys: &CounterKeys,
) -> SmallVec<[Outcomes; 2]> {
    let descriptors = evaluation.check.descriptors.iter().zip(resolved);
    descriptors.map(|(descriptor, resolved)| descriptor_alone(evaluation, descriptor, resolved, keys)).collect()
}

/// Charges one descriptor; several limits of its rule are charged all or nothing.
pub(super) fn descriptor_alone(
    evaluation: Evaluation<'_, '_, '_>,
    descriptor: &Descriptor<'_>,
    resolved: &Resolved<'_>,
    keys: &CounterKeys,
) -> Outcomes {
    let Evaluation { store, now, .. } = evaluation;
    let (limits, op) = (resolved.limits(), evaluation.op(descriptor));
    let charged = match limits {
        [] => SmallVec::new(),
        [limited] => SmallVec::from_buf([store.charge(now, &charge(limited, keys, op))]),
        _ => {
            let charges = charges_of(resolved, keys, op);
            let mut answers = Vec::with_capacity(charges.len());
            store.charge_all(now, &charges, &mut answers);
            answers.into()
        }
    };
    Outcomes::new(limits, charged)
}

/// Charges all descriptors in one step, all or nothing. Returns whether the check is admitted.
///
/// A descriptor in shadow mode denies nothing, and one in quota mode denies the check only together with all others.
pub(super) fn all_or_nothing(
    evaluation: Evaluation<'_, '_, '_>,
    resolved: &[Resolved<'_>],
    keys: &CounterKeys,
) -> (SmallVec<[Outcomes; 2]>, bool) {
    let Charging { groups, charges } = groups_of(evaluation, resolved, keys);
    let mut answers = Vec::with_capacity(charges.len());
    let admitted = evaluation.store.charge_groups(evaluation.now, &groups, &charges, &mut answers);
    (outcomes_of(resolved, answers), admitted)
}

/// The outcomes of each descriptor, from those of all limits.
pub(super) fn outcomes_of(
    resolved: &[Resolved<'_>],
    charged: impl IntoIterator<Item = Charged>,
) -> SmallVec<[Outcomes; 2]> {
    let mut charged = charged.into_iter();
    let outcomes = resolved.iter().map(|resolved| {
        let limits = resolved.limits();
        Outcomes::new(limits, charged.by_ref().take(limits.len()).collect())
    });
    outcomes.collect()
}
