//! What is charged for a check.

use smallvec::SmallVec;

use super::evaluation::Evaluation;
use super::resolve::{Limited, Resolved};
use crate::engine::Op;
use crate::store::{Charge, CounterKeys, Group, Role};

/// What is charged in one step.
pub(super) struct Charging<'r> {
    pub(super) groups: SmallVec<[Group; 4]>,
    pub(super) charges: SmallVec<[Charge<'r>; 4]>,
}

/// The charges of all descriptors of a check.
pub(super) fn groups_of<'r>(
    evaluation: Evaluation<'_, '_, '_>,
    resolved: &'r [Resolved<'_>],
    keys: &'r CounterKeys,
) -> Charging<'r> {
    let descriptors = evaluation.check.descriptors.iter().zip(resolved);
    let charges = descriptors.flat_map(|(descriptor, resolved)| charges_of(resolved, keys, evaluation.op(descriptor)));
    Charging { charges: charges.collect(), groups: groups(evaluation, resolved) }
}

/// The groups of the descriptors of a check that is charged all or nothing.
pub(super) fn groups(evaluation: Evaluation<'_, '_, '_>, resolved: &[Resolved<'_>]) -> SmallVec<[Group; 4]> {
    let mut groups = SmallVec::new();
    for resolved in resolved {
        let quota = evaluation.is_quota(resolved);
        let role = match (evaluation.is_shadow(resolved), quota) {
            (true, _) => Role::Observed,
            (false, true) => Role::Quota,
            (false, false) => Role::Required,
        };
        groups.push(Group { role, charges: resolved.limits().len() });
        if quota && role == Role::Observed {
            // A quota that is never over.
            groups.push(Group { role: Role::Quota, charges: 0 });
        }
    }
    groups
}

/// The charges of one descriptor.
pub(super) fn charges_of<'r>(resolved: &'r Resolved<'_>, keys: &'r CounterKeys, op: Op) -> SmallVec<[Charge<'r>; 4]> {
    resolved.limits().iter().map(|limited| charge(limited, keys, op)).collect()
}

/// The charge of one limit.
pub(super) fn charge<'r>(limited: &'r Limited<'_>, keys: &'r CounterKeys, op: Op) -> Charge<'r> {
    Charge { limit: limited.limit(), key: keys.key(limited.key), op }
}
