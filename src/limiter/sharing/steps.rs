//! Brings the steps of a check as far as they go.

use smallvec::SmallVec;

use super::Shared;
use super::ballot::are_admitted;
use super::leased::{Leased, local};
use super::member::{Member, Way};
use super::progress::{Answered, Mixed, Progress, Step};
use crate::limiter::evaluation::Evaluation;
use crate::store::{Charged, Group, Ticket};

impl Shared<'_> {
    /// Brings a step as far as it goes.
    pub(super) fn advance(
        self,
        evaluation: Evaluation<'_, '_, '_>,
        progress: &mut Progress,
        place: usize,
        groups: &[Group],
        members: &[Member<'_>],
    ) {
        let next = match progress.take_step(place) {
            Step::New => self.begin(evaluation, progress, place, groups, members),
            Step::Leased(tickets) => self.lease(evaluation, progress, groups, members, tickets),
            Step::Exact if progress.is_over => Step::Known(self.answered(evaluation, progress, groups, members, None)),
            Step::Outcome(outcome) => Step::Known(self.answered(evaluation, progress, groups, members, outcome)),
            Step::Mixed(mixed) => self.mixed(evaluation, progress, (place, groups, members), mixed),
            known @ (Step::Exact | Step::Known(_)) => known,
        };
        progress.put_step(place, next);
    }

    fn begin(
        self,
        evaluation: Evaluation<'_, '_, '_>,
        progress: &mut Progress,
        place: usize,
        groups: &[Group],
        members: &[Member<'_>],
    ) -> Step {
        let are = |wanted: fn(&Way) -> bool| members.iter().all(|member| wanted(&member.way));
        if are(|way| matches!(way, Way::Leased(_))) {
            if members.is_empty() {
                return Step::Known(Answered { outcomes: SmallVec::new(), admitted: are_admitted(groups, &[]) });
            }
            self.lease(evaluation, progress, groups, members, SmallVec::new())
        } else if are(|way| matches!(way, Way::Exact)) {
            self.exact(evaluation, progress, (place, groups, members))
        } else if are(|way| matches!(way, Way::Local)) {
            let outcomes = local(evaluation, groups, members);
            Step::Known(Answered { admitted: are_admitted(groups, &outcomes), outcomes })
        } else {
            self.mixed(evaluation, progress, (place, groups, members), Box::new(Mixed::new(members.len())))
        }
    }

    fn lease(
        self,
        evaluation: Evaluation<'_, '_, '_>,
        progress: &mut Progress,
        groups: &[Group],
        members: &[Member<'_>],
        tickets: SmallVec<[Option<Ticket>; 1]>,
    ) -> Step {
        match self.charge_leases(evaluation, progress, groups, members, tickets) {
            Leased::Waits(tickets) => Step::Leased(tickets),
            Leased::Decided(outcomes) => {
                let outcomes: SmallVec<[Charged; 1]> = outcomes.into_iter().map(|(charged, _)| charged).collect();
                Step::Known(Answered { admitted: are_admitted(groups, &outcomes), outcomes })
            }
        }
    }
}
