//! Charges of leased and of local counters, which are made in memory.

use smallvec::SmallVec;

use super::Shared;
use super::exact::name;
use super::member::{Member, Way};
use super::progress::Progress;
use crate::limiter::evaluation::Evaluation;
use crate::store::lease::{Charging, Link, Terms};
use crate::store::{Charge, Charged, Fingerprint, Group, Heard, LeaseKey, LeasePart, Ticket};

/// What leases have made of a step.
pub(super) enum Leased {
    /// It waits for these.
    Waits(SmallVec<[Option<Ticket>; 1]>),
    /// The outcome of each member, and whether its hits are spent.
    Decided(SmallVec<[(Charged, bool); 1]>),
}

impl Shared<'_> {
    /// Charges leased members, all or nothing, with the tickets that they have.
    pub(super) fn charge_leases<'m>(
        self,
        evaluation: Evaluation<'_, '_, '_>,
        progress: &mut Progress,
        groups: &[Group],
        members: &'m [Member<'m>],
        tickets: SmallVec<[Option<Ticket>; 1]>,
    ) -> Leased {
        let Self { sharing, limit_ids, now } = self;
        let mut tickets = tickets.into_iter();
        let part = |member: &'m Member<'m>| {
            let Way::Leased(terms) = member.way else { return None };
            let ticket = tickets.next().flatten();
            let can_be_asked = match ticket.as_ref().and_then(Ticket::heard) {
                Some(heard) => heard == Heard::Answered,
                None => !progress.is_over,
            };
            let link = if can_be_asked { Link::Up } else { Link::Down(member.when_down) };
            let key = LeaseKey::new(member.charge.key, member.charge.limit);
            let part = LeasePart::new(key, member.rule, terms, member.charge.op, link);
            Some(LeasePart { ticket, slot: member.slot, ..part })
        };
        let mut parts: SmallVec<[LeasePart<'_>; 1]> = members.iter().filter_map(part).collect();
        let names = |key: &[u8], rule: Fingerprint, slot: Option<&str>| {
            name(&sharing.prefix, limit_ids, key, rule, slot).into_name()
        };
        let charging = evaluation.store.charge_leases(&sharing.leases, now, groups, &mut parts, &names);
        for (part, member) in parts.iter().zip(members) {
            if part.is_called {
                progress.renew(part.key.as_bytes());
            }
            if part.is_down && charging != Charging::Missing {
                progress.down = progress.down.or(Some(member.when_down));
            }
        }
        match charging {
            Charging::Missing => Leased::Waits(parts.into_iter().map(|part| part.ticket).collect()),
            Charging::Charged | Charging::Denied { .. } => {
                let outcome = |part: &LeasePart<'_>| {
                    (Charged { outcome: part.outcome, series_id: part.series_id }, part.is_spent)
                };
                Leased::Decided(parts.iter().map(outcome).collect())
            }
        }
    }
}

impl Shared<'_> {
    /// Charges the counter of a check that has just come and has no other one.
    ///
    /// # Errors
    /// It waits for this ticket.
    pub(super) fn charge_lease(
        self,
        evaluation: Evaluation<'_, '_, '_>,
        progress: &mut Progress,
        member: &Member<'_>,
        terms: Terms,
    ) -> Result<Charged, Option<Ticket>> {
        let Self { sharing, limit_ids, now } = self;
        let link = if progress.is_over { Link::Down(member.when_down) } else { Link::Up };
        let key = LeaseKey::new(member.charge.key, member.charge.limit);
        let mut part = LeasePart::new(key, member.rule, terms, member.charge.op, link);
        part.slot = member.slot;
        let names = |key: &[u8], rule: Fingerprint, slot: Option<&str>| {
            name(&sharing.prefix, limit_ids, key, rule, slot).into_name()
        };
        let parts = std::slice::from_mut(&mut part);
        let charging = evaluation.store.charge_leases(&sharing.leases, now, &[], parts, &names);
        if part.is_called {
            progress.renew(part.key.as_bytes());
        }
        if charging == Charging::Missing {
            return Err(part.ticket);
        }
        if part.is_down {
            progress.down = progress.down.or(Some(member.when_down));
        }
        Ok(Charged { outcome: part.outcome, series_id: part.series_id })
    }
}

/// Charges counters of this process, as without a store.
pub(super) fn local(
    evaluation: Evaluation<'_, '_, '_>,
    groups: &[Group],
    members: &[Member<'_>],
) -> SmallVec<[Charged; 1]> {
    if let ([], [only]) = (groups, members) {
        return SmallVec::from_buf([evaluation.store.charge(evaluation.now, &only.charge)]);
    }
    let charges: SmallVec<[Charge<'_>; 4]> = members.iter().map(|member| member.charge).collect();
    let mut outcomes = Vec::with_capacity(charges.len());
    evaluation.store.charge_groups(evaluation.now, groups, &charges, &mut outcomes);
    outcomes.into()
}
