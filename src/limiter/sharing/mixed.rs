//! Steps of counters that are shared in several ways, and charged all or nothing.
//!
//! First come those that are charged in memory, leased ones before local ones, because leases may have to be waited for. If they admit
//! the check, the store is asked for the exact ones. What was charged in memory is given back if the check is denied. So a denied check
//! takes from other counters for as long as a round to the store and back, and no limit ever admits more than it allows.

use smallvec::SmallVec;

use super::Shared;
use super::ballot::are_admitted;
use super::leased::{Leased, local};
use super::member::{Member, Way};
use super::progress::{Answered, Mixed, Progress, Stage, Step};
use crate::engine::Op;
use crate::limiter::evaluation::Evaluation;
use crate::store::{Charge, Charged, Group, Role, Ticket};

/// Members that are shared in the same way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Leased,
    Local,
    Exact,
}

/// The members of one kind, with the groups that they are in.
struct Part<'m> {
    places: SmallVec<[usize; 4]>,
    members: SmallVec<[Member<'m>; 4]>,
    groups: SmallVec<[Group; 4]>,
}

impl<'m> Part<'m> {
    /// Quotas that are in several parts are decided at the end.
    fn of(kind: Kind, groups: &[Group], members: &[Member<'m>]) -> Self {
        let is_ours = |member: &Member<'_>| kind == Kind::of(member);
        let ours = || members.iter().enumerate().filter(|(_, member)| is_ours(member));
        let mut rest = members;
        let group = |group: &Group| {
            let (of_group, others) = rest.split_at_checked(group.charges).unwrap_or((rest, &[]));
            rest = others;
            let role = if group.role == Role::Quota { Role::Observed } else { group.role };
            Group { role, charges: of_group.iter().filter(|member| is_ours(member)).count() }
        };
        let groups = groups.iter().map(group).collect();
        Self {
            places: ours().map(|(at, _)| at).collect(),
            members: ours().map(|(_, member)| *member).collect(),
            groups,
        }
    }

    /// Outcomes with whether the hits were spent.
    fn spent(&self, outcomes: &[Charged]) -> SmallVec<[(Charged, bool); 1]> {
        let (admitted, mut rest) = (are_admitted(&self.groups, outcomes), outcomes);
        let mut found = SmallVec::with_capacity(outcomes.len());
        for group in &self.groups {
            let (of_group, others) = rest.split_at_checked(group.charges).unwrap_or((rest, &[]));
            rest = others;
            let is_spent = admitted && of_group.iter().all(|charged| charged.outcome.admitted());
            found.extend(of_group.iter().map(|charged| (*charged, is_spent)));
        }
        found
    }
}

impl Kind {
    const fn of(member: &Member<'_>) -> Self {
        match member.way {
            Way::Leased(_) => Self::Leased,
            Way::Local => Self::Local,
            Way::Exact => Self::Exact,
        }
    }
}

impl Shared<'_> {
    /// Brings the step as far as it goes.
    pub(super) fn mixed(
        self,
        evaluation: Evaluation<'_, '_, '_>,
        progress: &mut Progress,
        (place, groups, members): (usize, &[Group], &[Member<'_>]),
        mut mixed: Box<Mixed>,
    ) -> Step {
        let exact = Part::of(Kind::Exact, groups, members);
        let outcome = match std::mem::replace(&mut mixed.stage, Stage::Leases) {
            Stage::Leases => {
                if let Some(tickets) = self.charge_here(evaluation, progress, groups, members, &mut mixed) {
                    mixed.tickets = tickets;
                    return Step::Mixed(mixed);
                }
                if exact.members.is_empty() || mixed.is_denied(groups) {
                    let outcomes = exact.members.iter().map(|member| (self.peek(evaluation, member), false));
                    let outcomes: SmallVec<[_; 1]> = outcomes.collect();
                    mixed.put(&exact.places, outcomes);
                    return self.conclude(evaluation, groups, members, &mixed);
                }
                match self.known_or_asked(evaluation.store, &exact.groups, &exact.members) {
                    Ok(outcomes) => {
                        mixed.put(&exact.places, outcomes.into_iter().map(|charged| (charged, false)));
                        return self.conclude(evaluation, groups, members, &mixed);
                    }
                    Err(_) if progress.is_over => None,
                    Err(check) => {
                        progress.ask(place, check);
                        mixed.stage = Stage::Exact;
                        return Step::Mixed(mixed);
                    }
                }
            }
            Stage::Exact if !progress.is_over => {
                mixed.stage = Stage::Exact;
                return Step::Mixed(mixed);
            }
            Stage::Exact => None,
            Stage::Answered(outcome) => outcome,
        };
        let answered = self.answered(evaluation, progress, &exact.groups, &exact.members, outcome);
        mixed.put(&exact.places, answered.outcomes.into_iter().map(|charged| (charged, false)));
        self.conclude(evaluation, groups, members, &mixed)
    }

    /// Charges the members that are charged in memory; or returns what it has to wait for first.
    fn charge_here(
        self,
        evaluation: Evaluation<'_, '_, '_>,
        progress: &mut Progress,
        groups: &[Group],
        members: &[Member<'_>],
        mixed: &mut Mixed,
    ) -> Option<SmallVec<[Option<Ticket>; 1]>> {
        let leased = Part::of(Kind::Leased, groups, members);
        if !leased.members.is_empty() {
            let tickets = std::mem::take(&mut mixed.tickets);
            match self.charge_leases(evaluation, progress, &leased.groups, &leased.members, tickets) {
                Leased::Waits(tickets) => return Some(tickets),
                Leased::Decided(outcomes) => mixed.put(&leased.places, outcomes),
            }
        }
        let own = Part::of(Kind::Local, groups, members);
        if mixed.is_denied(groups) {
            let outcomes: SmallVec<[_; 1]> =
                own.members.iter().map(|member| (self.peek(evaluation, member), false)).collect();
            mixed.put(&own.places, outcomes);
        } else if !own.members.is_empty() {
            let outcomes = local(evaluation, &own.groups, &own.members);
            mixed.put(&own.places, own.spent(&outcomes));
        }
        None
    }

    /// Decides the step, and gives back what was charged in memory for groups that are not charged.
    fn conclude(
        self,
        evaluation: Evaluation<'_, '_, '_>,
        groups: &[Group],
        members: &[Member<'_>],
        mixed: &Mixed,
    ) -> Step {
        let mut outcomes: SmallVec<[Charged; 1]> = mixed.found.iter().map(|found| found.charged).collect();
        let admitted = are_admitted(groups, &outcomes);
        let mut begin = 0;
        for group in groups {
            let range = begin..begin + group.charges;
            begin = range.end;
            let of_group = outcomes.get(range.clone()).unwrap_or_default();
            if admitted && of_group.iter().all(|charged| charged.outcome.admitted()) {
                continue;
            }
            for place in range {
                let (Some(found), Some(member)) = (mixed.found.get(place), members.get(place)) else { continue };
                if found.is_spent && !member.charge.limit.keeps_denied() {
                    let outcome = self.give_back(evaluation, member, found.charged);
                    outcomes.get_mut(place).into_iter().for_each(|slot| *slot = outcome);
                }
            }
        }
        Step::Known(Answered { outcomes, admitted })
    }

    /// Gives the hits of a member back that were charged in memory. Returns what is reported of it then.
    fn give_back(self, evaluation: Evaluation<'_, '_, '_>, member: &Member<'_>, charged: Charged) -> Charged {
        let Op::Charge(hits @ 1..) = member.charge.op else { return charged };
        let back = Member { charge: Charge { op: Op::Refund(hits), ..member.charge }, ..*member };
        match member.way {
            Way::Local => evaluation.store.charge(evaluation.now, &back.charge),
            Way::Leased(_) => {
                let mut nothing = Progress::default();
                let group = [Group::required(1)];
                match self.charge_leases(evaluation, &mut nothing, &group, &[back], SmallVec::new()) {
                    Leased::Decided(outcomes) => outcomes.first().map_or(charged, |(charged, _)| *charged),
                    Leased::Waits(_) => charged,
                }
            }
            Way::Exact => charged,
        }
    }

    /// What is reported of a member that is not charged.
    fn peek(self, evaluation: Evaluation<'_, '_, '_>, member: &Member<'_>) -> Charged {
        let (limit, key) = (member.charge.limit, member.charge.key);
        let now = if Kind::of(member) == Kind::Exact { self.now.engine } else { evaluation.now };
        let state = evaluation.store.state(limit.into(), key);
        Charged { outcome: super::exact::peek(limit, state, now, Op::Charge(0)), series_id: None }
    }
}
