//! Whether groups of charges admit a check.

use crate::store::{Charged, Group, Role};

/// Whether groups with these outcomes admit a check: all required ones, and a quota if there are some.
pub(super) fn are_admitted(groups: &[Group], charged: &[Charged]) -> bool {
    if groups.is_empty() {
        return charged.iter().all(|charged| charged.outcome.admitted());
    }
    let (mut rest, mut quotas, mut quotas_over, mut required_over) = (charged, 0, 0, false);
    for group in groups {
        let Some((of_group, others)) = rest.split_at_checked(group.charges) else { break };
        rest = others;
        let is_over = of_group.iter().any(|charged| !charged.outcome.admitted());
        match group.role {
            Role::Required => required_over |= is_over,
            Role::Quota => {
                quotas += 1;
                quotas_over += u32::from(is_over);
            }
            Role::Observed => {}
        }
    }
    !required_over && (quotas == 0 || quotas_over < quotas)
}
