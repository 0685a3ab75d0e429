//! Charges of leased and of local counters, which are made in memory.

use smallvec::SmallVec;

use super::Shared;
use super::exact::name;
use super::member::{Member, Way};
use super::progress::Progress;
use crate::limiter::evaluation::Evaluation;
use crate::store::lease::{Charging, Link, Terms};
use crate::store::{Charge, Charged, Fingerprint, Group, Heard, LeaseKey, LeasePart, Memory, Ticket};

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
        let mut tickets = tickets.into_iter();
        let keys: SmallVec<[LeaseKey<'_>; 1]> = members.iter().map(key_of).collect();
        let part = |(member, key): (&'m Member<'m>, _)| {
            let Way::Leased(terms) = member.way else { return None };
            let ticket = tickets.next().flatten();
            let can_be_asked = match ticket.as_ref().and_then(Ticket::heard) {
                Some(heard) => heard == Heard::Answered,
                None => !progress.is_over,
            };
            let link = if can_be_asked { Link::Up } else { Link::Down(member.when_down) };
            Some(LeasePart { ticket, ..part_of(key, member, terms, link) })
        };
        let mut parts: SmallVec<[LeasePart<'_>; 1]> = members.iter().zip(&keys).filter_map(part).collect();
        let charging = self.charge_parts(evaluation.store, groups, &mut parts);
        parts.iter().zip(members).for_each(|(part, member)| note(progress, member, part, charging));
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

    /// Charges the counter of a check that has just come and has no other one. `None`: it waits.
    pub(super) fn charge_lease(
        self,
        evaluation: &Evaluation<'_, '_, '_>,
        progress: &mut Progress,
        member: &Member<'_>,
        terms: Terms,
    ) -> Option<Charged> {
        let link = if progress.is_over { Link::Down(member.when_down) } else { Link::Up };
        let key = key_of(member);
        let mut part = part_of(&key, member, terms, link);
        let charging = self.charge_parts(evaluation.store, &[], std::slice::from_mut(&mut part));
        note(progress, member, &part, charging);
        if charging == Charging::Missing {
            progress.wait_for(part.ticket);
            return None;
        }
        if let Some(answer) = progress.take_down() {
            self.sharing.count_down(&evaluation.domain.name, answer);
        }
        Some(Charged { outcome: part.outcome, series_id: part.series_id })
    }

    fn charge_parts(self, store: &Memory, groups: &[Group], parts: &mut [LeasePart<'_>]) -> Charging {
        let Self { sharing, limit_ids, now } = self;
        let names = |key: &[u8], rule: Fingerprint, slot: Option<&str>| {
            name(&sharing.prefix, limit_ids, key, rule, slot).into_name()
        };
        store.charge_leases(&sharing.leases, now, groups, parts, &names)
    }
}

/// Notes whether a lease wishes to be renewed, and whether nobody could be asked.
fn note(progress: &mut Progress, member: &Member<'_>, part: &LeasePart<'_>, charging: Charging) {
    if part.is_called {
        progress.renew(part.key);
    }
    if part.is_down && charging != Charging::Missing {
        progress.down = progress.down.or(Some(member.when_down));
    }
}

fn key_of<'m>(member: &Member<'m>) -> LeaseKey<'m> {
    LeaseKey::new(member.charge.key, member.charge.limit)
}

/// The charge of the lease of a counter, without a ticket.
fn part_of<'m>(key: &'m LeaseKey<'_>, member: &Member<'m>, terms: Terms, link: Link) -> LeasePart<'m> {
    let part = LeasePart::new(key.as_bytes(), member.rule, terms, member.charge.op, link);
    LeasePart { slot: member.slot, ..part }
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
