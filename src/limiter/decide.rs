//! Decides a check: the pipeline from the rules to the record.

use smallvec::SmallVec;

use super::check::Check;
use super::decision::{Code, Decision, Status};
use super::evaluation::Evaluation;
use super::outcome::Outcomes;
use super::plan::Plan;
use super::resolve::{Resolved, Resolver};
use super::settings::Settings;
use super::sharing::{Alone, Progress, Shared};
use super::{charge, denial, record, requests, sharing};
use crate::engine::{Algorithm, Limit, QueueMode, Verdict};
use crate::rules::{Charge, Domain};
use crate::store::{CounterKeys, Memory};
use crate::units::{Nanos, Timestamp};
use crate::usage::{Usage, WorkerSlot};

/// Where a check is decided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'v> {
    pub(super) plan: &'v Plan,
    pub(super) store: &'v Memory,
    pub(super) usage: &'v Usage,
    pub(super) settings: &'v Settings,
    pub(super) worker: WorkerSlot,
    pub(super) now: Timestamp,
}

impl<'v> Context<'v> {
    /// The check with its context; `None`: its domain is not configured.
    fn evaluation<'s, 'c>(self, check: &'s Check<'c>) -> Option<Evaluation<'v, 's, 'c>> {
        Some(self.evaluation_in(self.plan.domain(&check.domain)?, check))
    }

    /// The check, whose domain has been found, with its context.
    fn evaluation_in<'s, 'c>(self, domain: &'v Domain, check: &'s Check<'c>) -> Evaluation<'v, 's, 'c> {
        let Self { plan, store, usage, settings, worker, now } = self;
        Evaluation { check, plan, domain, store, usage, settings, worker, now }
    }

    /// The decision about a check whose domain is not configured.
    fn unknown_domain(self, check: &Check<'_>) -> Decision<'v> {
        let Self { usage, worker, .. } = self;
        usage.count_unknown_domain(&check.domain, check.descriptors.len());
        usage.count_unmatched(worker, check.descriptors.len());
        let statuses = check.descriptors.iter().map(|_| Status::default()).collect();
        Decision { statuses, ..Decision::default() }
    }

    fn count_ignored_overrides(self, check: &Check<'_>) {
        for _ in check.descriptors.iter().filter(|d| d.limit.is_some_and(|limit| limit.period.is_none())) {
            self.usage.count_override_ignored();
        }
    }
}

/// Decides one check, and counts it.
pub(super) fn decide<'v>(context: Context<'v>, check: &Check<'_>) -> Decision<'v> {
    let Some(evaluation) = context.evaluation(check) else { return context.unknown_domain(check) };
    context.count_ignored_overrides(check);
    let mut search = Resolver::new(context.plan, evaluation.domain, check);
    // Nearly every check has one descriptor, for which no lists are needed.
    if let [only] = &*check.descriptors {
        let mut resolved = [search.resolve(only)];
        let keys = search.finish(&mut resolved);
        return charge_and_conclude(evaluation, &resolved, &keys);
    }
    let mut resolved: SmallVec<[_; 2]> = check.descriptors.iter().map(|each| search.resolve(each)).collect();
    let keys = search.finish(&mut resolved);
    charge_and_conclude(evaluation, &resolved, &keys)
}

/// A check whose limits have been found, and are not charged yet.
#[derive(Debug)]
pub(super) struct Prepared<'v> {
    /// `None`: its domain is not configured.
    domain: Option<&'v Domain>,
    resolved: SmallVec<[Resolved<'v>; 1]>,
    keys: CounterKeys,
}

impl<'v> Prepared<'v> {
    /// Finds the limits of a check. Nothing is charged or counted.
    pub(super) fn new(context: Context<'v>, check: &Check<'_>) -> Self {
        let domain = context.plan.domain(&check.domain);
        let Some(known) = domain else {
            return Self { domain, resolved: SmallVec::new(), keys: CounterKeys::default() };
        };
        let mut search = Resolver::new(context.plan, known, check);
        let mut resolved: SmallVec<[_; 1]> = check.descriptors.iter().map(|each| search.resolve(each)).collect();
        let keys = search.finish(&mut resolved);
        Self { domain, resolved, keys }
    }

    /// The counters that it charges: their limits and keys.
    pub(super) fn counters(&self) -> impl Iterator<Item = (&Limit, &[u8])> + Clone {
        let limits = self.resolved.iter().flat_map(Resolved::limits);
        limits.map(|limited| (limited.limit(), self.keys.key(limited.key)))
    }
}

/// Decides a check that was prepared in the same context, as [`decide`] does.
pub(super) fn decide_prepared<'v>(context: Context<'v>, check: &Check<'_>, prepared: &Prepared<'v>) -> Decision<'v> {
    let Prepared { domain, resolved, keys } = prepared;
    let Some(domain) = domain else { return context.unknown_domain(check) };
    context.count_ignored_overrides(check);
    charge_and_conclude(context.evaluation_in(domain, check), resolved, keys)
}

/// The same for a check whose counters replicas may share. `None`: it waits for what `progress` asks; it is decided once that is answered.
pub(super) fn decide_shared<'v>(
    context: Context<'v>,
    shared: Shared<'_>,
    check: &Check<'_>,
    Prepared { domain, resolved, keys }: &Prepared<'v>,
    progress: &mut Progress,
) -> Option<Decision<'v>> {
    let Some(domain) = domain else { return Some(context.unknown_domain(check)) };
    let evaluation = context.evaluation_in(domain, check);
    match sharing::charge_alone(&evaluation, shared, resolved, keys, progress) {
        Alone::Waits => None,
        Alone::Charged(charged) => {
            context.count_ignored_overrides(check);
            Some(conclude(evaluation, resolved, keys, &[Outcomes::of_one(charged)], None))
        }
        Alone::Not => decide_in_steps(context, shared, evaluation, (resolved, keys), progress),
    }
}

/// The same for a check that is not one leased counter. Apart, because what it needs on the stack is many times what that needs.
#[inline(never)]
fn decide_in_steps<'v>(
    context: Context<'v>,
    shared: Shared<'_>,
    evaluation: Evaluation<'v, '_, '_>,
    (resolved, keys): (&[Resolved<'v>], &CounterKeys),
    progress: &mut Progress,
) -> Option<Decision<'v>> {
    let (outcomes, admitted) = sharing::charge(evaluation, shared, resolved, keys, progress)?;
    context.count_ignored_overrides(evaluation.check);
    Some(conclude(evaluation, resolved, keys, &outcomes, admitted))
}

fn charge_and_conclude<'v>(
    evaluation: Evaluation<'v, '_, '_>,
    resolved: &[Resolved<'v>],
    keys: &CounterKeys,
) -> Decision<'v> {
    match (evaluation.domain.charge, &*evaluation.check.descriptors, resolved) {
        (Charge::Independent, [descriptor], [only]) => {
            let outcomes = [charge::descriptor_alone(evaluation, descriptor, only, keys)];
            conclude(evaluation, resolved, keys, &outcomes, None)
        }
        (Charge::Independent, ..) => {
            let outcomes = charge::each(evaluation, resolved, keys);
            conclude(evaluation, resolved, keys, &outcomes, None)
        }
        (Charge::AllOrNothing, ..) => {
            let (outcomes, admitted) = charge::all_or_nothing(evaluation, resolved, keys);
            conclude(evaluation, resolved, keys, &outcomes, Some(admitted))
        }
    }
}

/// Makes the decision from the outcomes, and counts it; `admitted` is the result if all descriptors were charged in one step.
fn conclude<'v>(
    evaluation: Evaluation<'v, '_, '_>,
    resolved: &[Resolved<'v>],
    keys: &CounterKeys,
    outcomes: &[Outcomes],
    admitted: Option<bool>,
) -> Decision<'v> {
    let Evaluation { usage, settings, .. } = evaluation;
    let mut decision = Decision { domain: Some(evaluation.domain), ..Decision::default() };
    for (resolved, outcomes) in resolved.iter().zip(outcomes) {
        decision.statuses.push(status(evaluation, resolved, outcomes));
    }
    if settings.shadow_mode {
        conclude_in_shadow(evaluation, resolved, &mut decision, admitted);
    } else {
        decision.code = code(&decision.statuses, admitted);
    }
    decision.governing = decision.find_governing();
    if settings.counts_usage {
        record::count(evaluation, resolved, keys, outcomes, admitted == Some(false));
        if decision.statuses.iter().any(|status| status.denied.is_some()) && usage.denials().is_watched() {
            denial::report(evaluation, resolved, outcomes, &decision);
        }
        requests::count(evaluation, decision.code);
    }
    if decision.code == Code::Ok {
        (decision.delay, decision.advice) = delays(resolved, outcomes);
    }
    decision
}

/// The code of a check while the process is in shadow mode. Descriptors for which a setting says otherwise can deny it.
///
/// The statuses of a check that is admitted say who is over a limit, as in envoyproxy/ratelimit; those of a denied one, who denies it.
fn conclude_in_shadow(
    evaluation: Evaluation<'_, '_, '_>,
    resolved: &[Resolved<'_>],
    decision: &mut Decision<'_>,
    admitted: Option<bool>,
) {
    let mut statuses = decision.statuses.clone();
    for (status, resolved) in statuses.iter_mut().zip(resolved) {
        if evaluation.in_process_shadow(resolved) {
            status.code = Code::Ok;
        }
    }
    decision.code = code(&statuses, admitted);
    if decision.code == Code::OverLimit {
        decision.statuses = statuses;
    } else if Code::overall(&decision.statuses) == Code::OverLimit {
        evaluation.usage.count_global_shadow();
    }
}

/// The code of a check; `admitted` is the result if all descriptors were charged in one step.
fn code(statuses: &[Status<'_>], admitted: Option<bool>) -> Code {
    match admitted {
        Some(true) => Code::Ok,
        Some(false) => Code::OverLimit,
        None => Code::overall(statuses),
    }
}

/// The delays of an admitted check: the longest one of its reply, and the longest one that is only advised.
fn delays(resolved: &[Resolved<'_>], outcomes: &[Outcomes]) -> (Nanos, Nanos) {
    let (mut delay, mut advice) = (Nanos::ZERO, Nanos::ZERO);
    for (resolved, outcomes) in resolved.iter().zip(outcomes) {
        for (limited, outcome) in outcomes.with_limits(resolved.limits()) {
            let Algorithm::TokenBucket { queue, .. } = limited.limit().algorithm else { continue };
            let longest = match queue.mode {
                QueueMode::Hold | QueueMode::HoldAtMost(_) => &mut delay,
                QueueMode::Advise => &mut advice,
            };
            *longest = (*longest).max(outcome.delay());
        }
    }
    (delay, advice)
}

/// The status of one descriptor.
fn status<'v>(evaluation: Evaluation<'v, '_, '_>, resolved: &Resolved<'v>, outcomes: &Outcomes) -> Status<'v> {
    let (rule, quota) = (resolved.rule(), evaluation.is_quota(resolved));
    let Some((limited, outcome)) = outcomes.governing(resolved.limits()) else {
        let unlimited = rule.is_some_and(|rule| rule.unlimited);
        return Status { rule, unlimited, quota, ..Status::default() };
    };
    let denied = match outcome.verdict {
        Verdict::Denied(reason) => Some(reason),
        Verdict::Admitted { .. } => None,
    };
    Status {
        code: if denied.is_some() && !resolved.shadow_mode() { Code::OverLimit } else { Code::Ok },
        rule,
        limit: Some(limited.current(evaluation.now)),
        unlimited: false,
        quota,
        remaining: outcome.remaining,
        reset: outcome.reset,
        delay: outcome.delay(),
        denied,
    }
}
