//! What the answers of the store mean here.

use smallvec::SmallVec;

use super::ballot::are_admitted;
use super::{Answered, Shared, Step};
use crate::limiter::evaluation::Evaluation;
use crate::limiter::resolve::Resolved;
use crate::rules;
use crate::store::{Charge, Charged, Group};

/// The outcomes of the step at this place, and whether it admits the check. Without `groups` it is a charge on its own.
pub(in crate::limiter) fn charge(
    evaluation: Evaluation<'_, '_, '_>,
    shared: Shared<'_>,
    place: usize,
    groups: &[Group],
    charges: &[Charge<'_>],
) -> (SmallVec<[Charged; 1]>, bool) {
    if charges.is_empty() {
        return (SmallVec::new(), true);
    }
    let Answered { outcomes, admitted } = match shared.answers.0.get(place) {
        Some(Step::Known(answered)) => answered.clone(),
        Some(Step::Outcome(outcome)) if outcome.counters.len() == charges.len() => {
            let kept = charges.iter().zip(&outcome.counters);
            let outcomes = kept.map(|(charge, counter)| match counter {
                Some(known) => {
                    let series_id = evaluation.store.note(shared.engine_now, charge.key, known.state.clone());
                    Charged { outcome: known.outcome, series_id }
                }
                // A value that is not ours fails its counter, not the others.
                None => shared.sharing.without_store(evaluation.store, shared.engine_now, charge),
            });
            let outcomes: SmallVec<[Charged; 1]> = outcomes.collect();
            let is_complete = outcome.counters.iter().all(Option::is_some);
            let admitted = outcome.admitted && (is_complete || are_admitted(groups, &outcomes));
            Answered { outcomes, admitted }
        }
        _ => shared.sharing.step_without_store(evaluation.store, shared.engine_now, groups, charges),
    };
    (outcomes, admitted)
}

/// Counts a check with a step that was to be asked for, and has no answer.
pub(in crate::limiter) fn count_down(
    evaluation: Evaluation<'_, '_, '_>,
    shared: Shared<'_>,
    resolved: &[Resolved<'_>],
) {
    let is_joint = evaluation.domain.charge == rules::Charge::AllOrNothing;
    let has_limits = |resolved: &Resolved<'_>| !resolved.limits().is_empty();
    let is_down = |place: usize| matches!(shared.answers.0.get(place), Some(Step::Down) | None);
    let is_one_down = if is_joint {
        resolved.iter().any(has_limits) && is_down(0)
    } else {
        resolved.iter().enumerate().any(|(place, resolved)| has_limits(resolved) && is_down(place))
    };
    if is_one_down {
        shared.sharing.count_down(&evaluation.domain.name);
    }
}
