//! Charges the counters of a check's limits.

use smallvec::SmallVec;

use super::charges::{Charging, charge, charges_of, groups_of};
use super::check::Descriptor;
use super::evaluation::Evaluation;
use super::outcome::Outcomes;
use super::resolve::Resolved;
use super::sharing;
use crate::store::{CounterKeys, Group};

/// Charges each descriptor on its own.
pub(super) fn each(
    evaluation: Evaluation<'_, '_, '_>,
    resolved: &[Resolved<'_>],
    keys: &CounterKeys,
) -> SmallVec<[Outcomes; 2]> {
    let descriptors = evaluation.check.descriptors.iter().zip(resolved).enumerate();
    let charge = |(place, (descriptor, resolved))| descriptor_alone(evaluation, place, descriptor, resolved, keys);
    descriptors.map(charge).collect()
}

/// Charges the descriptor at this place of the check; several limits of its rule are charged all or nothing.
pub(super) fn descriptor_alone(
    evaluation: Evaluation<'_, '_, '_>,
    place: usize,
    descriptor: &Descriptor<'_>,
    resolved: &Resolved<'_>,
    keys: &CounterKeys,
) -> Outcomes {
    let Evaluation { store, now, .. } = evaluation;
    let (limits, op) = (resolved.limits(), evaluation.op(descriptor));
    if let Some(shared) = evaluation.shared {
        let charges = charges_of(resolved, keys, op);
        let several = [Group::required(charges.len())];
        let groups: &[Group] = if charges.len() > 1 { &several } else { &[] };
        let (outcomes, _) = sharing::charge(evaluation, shared, place, groups, &charges);
        return Outcomes::new(limits, outcomes);
    }
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
    let admitted = match evaluation.shared {
        None => evaluation.store.charge_groups(evaluation.now, &groups, &charges, &mut answers),
        Some(shared) => {
            let (charged, admitted) = sharing::charge(evaluation, shared, 0, &groups, &charges);
            answers.extend(charged);
            admitted
        }
    };
    let mut answers = answers.into_iter();
    let outcomes = resolved.iter().map(|resolved| {
        let limits = resolved.limits();
        Outcomes::new(limits, answers.by_ref().take(limits.len()).collect())
    });
    (outcomes.collect(), admitted)
}
