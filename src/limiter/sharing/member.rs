//! The counters of a step, and how each is shared.

use super::{Progress, Shared};
use crate::engine::{Limit, WhenDown};
use crate::limiter::charges::charge;
use crate::limiter::check::Descriptor;
use crate::limiter::evaluation::Evaluation;
use crate::limiter::resolve::{Limited, Resolved};
use crate::rules::{self, Domain};
use crate::store::lease::Terms;
use crate::store::{Charge, CounterKeys, Fingerprint};

/// One charge of a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member<'a> {
    pub(super) charge: Charge<'a>,
    pub(super) way: Way,
    /// What decides while the store is down.
    pub(super) when_down: WhenDown,
    /// The fingerprint of the rule, for the name of the counter on the store.
    pub(super) rule: Fingerprint,
    /// The key of the entry that decides about the slot in a cluster.
    pub(super) slot: Option<&'a str>,
}

/// How a counter is shared.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// It is one of this process.
    Local,
    /// The store charges it.
    Exact,
    /// By leases on these terms.
    Leased(Terms),
}

/// The members of one descriptor.
pub(super) fn members_of<'m, 'c, 'v: 'm>(
    evaluation: Evaluation<'v, 'm, 'c>,
    shared: Shared<'m>,
    progress: &Progress,
    (descriptor, resolved): (&Descriptor<'_>, &'m Resolved<'v>),
    keys: &'m CounterKeys,
) -> impl Iterator<Item = Member<'m>> + use<'m, 'c, 'v> {
    let (op, replicas) = (evaluation.op(descriptor), progress.replicas);
    resolved.limits().iter().map(move |limited| {
        member_of(evaluation.domain, shared, (resolved, limited), charge(limited, keys, op), replicas)
    })
}

/// The member of one limit of a descriptor.
pub(super) fn member_of<'m, 'v: 'm>(
    domain: &'v Domain,
    shared: Shared<'_>,
    (resolved, limited): (&Resolved<'v>, &Limited<'v>),
    charge: Charge<'m>,
    replicas: u32,
) -> Member<'m> {
    let rule = resolved.in_force().map_or(Fingerprint::OVERRIDE, |in_force| in_force.attached.fingerprint);
    let How { shared: how, when_down, slot } = how(domain, resolved, limited, replicas);
    let way = match how {
        rules::Shared::Local(_) => Way::Local,
        rules::Shared::Exact(_) => Way::Exact,
        rules::Shared::Leased(_) => shared.leased(charge.limit, replicas),
    };
    Member { charge, way, when_down: when_down.unwrap_or(shared.sharing.when_down), rule, slot }
}

/// What is configured for a limit; `None`: nothing is.
struct How<'m> {
    shared: rules::Shared,
    when_down: Option<WhenDown>,
    slot: Option<&'m str>,
}

/// How a limit is shared. A request override follows its domain.
fn how<'m>(domain: &'m Domain, resolved: &Resolved<'m>, limited: &Limited<'m>, replicas: u32) -> How<'m> {
    if let (Some(rule), Some(limit)) = (resolved.rule(), limited.rule_limit()) {
        return How { shared: rule.shared(limit, replicas), when_down: rule.when_down(limit), slot: rule.slot(limit) };
    }
    let said = domain.sharing.as_ref();
    let mode = said.and_then(|sharing| sharing.mode).unwrap_or_default();
    How {
        shared: rules::Shared::new(mode, limited.limit(), replicas),
        when_down: said.and_then(|sharing| sharing.when_down),
        slot: said.and_then(|sharing| sharing.slot.as_deref()),
    }
}

impl Shared<'_> {
    /// Leased, and in a process that ends just by the hits of checks.
    fn leased(self, limit: &Limit, replicas: u32) -> Way {
        match Terms::new(limit, replicas) {
            Ok(terms) if self.sharing.leases.is_draining() => Way::Leased(terms.just_hits()),
            Ok(terms) => Way::Leased(terms),
            Err(_) => Way::Exact,
        }
    }
}
