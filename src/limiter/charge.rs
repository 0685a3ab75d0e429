//! Charges the counters of a check's limits.

use smallvec::SmallVec;

use super::check::Descriptor;
use super::evaluation::Evaluation;
use super::outcome::Outcomes;
use super::resolve::{Limited, Resolved};
use crate::engine::Op;
use crate::store::{Charge, CounterKeys, Group, Role};

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
        several => {
            let charges: SmallVec<[_; 4]> = several.iter().map(|limited| charge(limited, keys, op)).collect();
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
    let (mut groups, mut charges) = (SmallVec::<[Group; 4]>::new(), SmallVec::<[Charge<'_>; 4]>::new());
    for (descriptor, resolved) in evaluation.check.descriptors.iter().zip(resolved) {
        let quota = evaluation.is_quota(resolved);
        let role = match (evaluation.is_shadow(resolved), quota) {
            (true, _) => Role::Observed,
            (false, true) => Role::Quota,
            (false, false) => Role::Required,
        };
        let (limits, op) = (resolved.limits(), evaluation.op(descriptor));
        charges.extend(limits.iter().map(|limited| charge(limited, keys, op)));
        groups.push(Group { role, charges: limits.len() });
        if quota && role == Role::Observed {
            // A quota that is never over.
            groups.push(Group { role: Role::Quota, charges: 0 });
        }
    }
    let mut answers = Vec::with_capacity(charges.len());
    let admitted = evaluation.store.charge_groups(evaluation.now, &groups, &charges, &mut answers);
    let mut answers = answers.into_iter();
    let outcomes = resolved.iter().map(|resolved| {
        let limits = resolved.limits();
        Outcomes::new(limits, answers.by_ref().take(limits.len()).collect())
    });
    (outcomes.collect(), admitted)
}

fn charge<'r>(limited: &'r Limited<'_>, keys: &'r CounterKeys, op: Op) -> Charge<'r> {
    Charge { limit: limited.limit(), key: keys.key(limited.key), op }
}
