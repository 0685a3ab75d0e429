//! Charges what limits a check, and tells the decision.

use smallvec::SmallVec;

use super::denial::Concluded;
use super::record::Recorder;
use super::resolve::{Limited, Resolved, Resolver};
use super::series_key::SeriesKeys;
use super::{Check, Code, Decision, Descriptor, Limiter, Plan, Status, requests};
use crate::engine::{Algorithm, Limit, Op, Outcome, QueueMode, Verdict};
use crate::rules;
use crate::store::{Charge, Charged, Group, Role, SeriesSource, Store};
use crate::units::Timestamp;
use crate::usage::WorkerSlot;

/// Decides about one check.
pub(super) fn decide<'v>(
    limiter: &'v Limiter,
    plan: &'v Plan,
    worker: WorkerSlot,
    now: Timestamp,
    check: &Check<'_>,
) -> Decision<'v> {
    let Some(domain) = plan.domain(&check.domain) else {
        limiter.usage.count_unknown_domain(&check.domain, check.descriptors.len());
        limiter.usage.count_unmatched(worker, check.descriptors.len());
        let statuses = check.descriptors.iter().map(|_| Status::default()).collect();
        return Decision { statuses, ..Decision::default() };
    };
    for _ in check.descriptors.iter().filter(|d| d.limit.is_some_and(|limit| limit.period.is_none())) {
        limiter.usage.count_override_ignored();
    }
    let mut search = Resolver::new(plan, domain, check);
    // Nearly every check has one descriptor: what limits it needs no list.
    if let [only] = &*check.descriptors {
        let mut resolved = [search.one(only)];
        let keys = search.finish(&mut resolved);
        let series = SeriesKeys { usage: &limiter.usage, plan, check, resolved: &resolved, keys: &keys };
        return Evaluation { limiter, check, resolved: &resolved, series: &series, now }.decide(plan, domain, worker);
    }
    let mut resolved: SmallVec<[_; 2]> = check.descriptors.iter().map(|descriptor| search.one(descriptor)).collect();
    let keys = search.finish(&mut resolved);
    let series = SeriesKeys { usage: &limiter.usage, plan, check, resolved: &resolved, keys: &keys };
    Evaluation { limiter, check, resolved: &resolved, series: &series, now }.decide(plan, domain, worker)
}

/// The outcomes of one descriptor's limits, in their order.
pub(super) type Outcomes = SmallVec<[Charged; 1]>;

/// One check, and what limits it.
struct Evaluation<'s, 'v, 'c> {
    limiter: &'v Limiter,
    check: &'s Check<'c>,
    resolved: &'s [Resolved<'v>],
    series: &'s SeriesKeys<'s, 'v, 'c>,
    now: Timestamp,
}

impl<'s, 'v, 'c> Evaluation<'s, 'v, 'c> {
    fn decide(&self, plan: &'v Plan, domain: &'v rules::Domain, worker: WorkerSlot) -> Decision<'v> {
        match (domain.charge, &*self.check.descriptors, self.resolved) {
            (rules::Charge::Independent, [descriptor], [one]) => {
                let outcomes = self.charge_one(0, one, self.op(descriptor));
                self.conclude(plan, domain, worker, &[outcomes], None)
            }
            (rules::Charge::Independent, ..) => self.conclude(plan, domain, worker, &self.charge_each(), None),
            (rules::Charge::AllOrNothing, ..) => {
                let (outcomes, admitted) = self.charge_all_or_nothing();
                self.conclude(plan, domain, worker, &outcomes, Some(admitted))
            }
        }
    }

    /// Tells and counts what was charged; `admitted` is what was decided where all was charged in one step.
    fn conclude(
        &self,
        plan: &'v Plan,
        domain: &'v rules::Domain,
        worker: WorkerSlot,
        outcomes: &[Outcomes],
        admitted: Option<bool>,
    ) -> Decision<'v> {
        let mut decision = Decision { domain: Some(domain), ..Decision::default() };
        for (one, outcomes) in self.resolved.iter().zip(outcomes) {
            decision.statuses.push(status(one, outcomes));
        }
        // In global shadow mode no limit binds another: everything was charged on its own.
        let global_shadow = self.limiter.settings.shadow_mode;
        let code = match admitted.filter(|_| !global_shadow) {
            Some(true) => Code::Ok,
            Some(false) => Code::OverLimit,
            None => self.overall(&decision.statuses),
        };
        let rolled_back = !global_shadow && admitted == Some(false);
        let Self { check, series, now, .. } = *self;
        Recorder { usage: &self.limiter.usage, plan, series, worker, check, now, rolled_back }
            .count(self.resolved, outcomes);
        decision.code = code;
        if code == Code::OverLimit && self.limiter.settings.shadow_mode {
            self.limiter.usage.count_global_shadow();
            decision.code = Code::Ok;
        }
        let quota_mode = self.limiter.settings.quota_mode;
        let concluded =
            Concluded { check, resolved: self.resolved, outcomes, decision: &decision, global_shadow, quota_mode, now };
        concluded.report(self.limiter.usage.denials(), code, |statuses| self.overall(statuses));
        requests::count(&self.limiter.usage, plan, domain, worker, check, decision.code);
        if decision.code == Code::Ok {
            self.delays(&mut decision, outcomes);
        }
        decision
    }

    fn descriptors(&self) -> impl Iterator<Item = (&'s Descriptor<'c>, &'s Resolved<'v>)> {
        self.check.descriptors.iter().zip(self.resolved)
    }

    fn op(&self, descriptor: &Descriptor<'_>) -> Op {
        let hits = self.check.hits(descriptor);
        if descriptor.refund { Op::Refund(hits) } else { Op::Charge(hits) }
    }

    /// Charges each descriptor on its own; a rule's several limits all or nothing among themselves.
    fn charge_each(&self) -> SmallVec<[Outcomes; 2]> {
        let charge = |(i, (descriptor, one)): (usize, (&Descriptor<'_>, &Resolved<'_>))| {
            self.charge_one(i, one, self.op(descriptor))
        };
        self.descriptors().enumerate().map(charge).collect()
    }

    fn charge_one(&self, i: usize, one: &Resolved<'_>, op: Op) -> Outcomes {
        match limits(one) {
            [] => Outcomes::new(),
            [limited] => SmallVec::from_buf([self.limiter.store.charge(self.now, &self.charge(i, 0, limited, op))]),
            several => {
                let charges: SmallVec<[_; 4]> = self.charges(i, several, op).collect();
                let mut outcomes = Vec::with_capacity(charges.len());
                self.limiter.store.charge_all(self.now, &charges, &mut outcomes);
                outcomes.into()
            }
        }
    }

    /// The charges of descriptor `i`.
    fn charges<'r>(&'r self, i: usize, limits: &'r [Limited<'_>], op: Op) -> impl Iterator<Item = Charge<'r>> {
        limits.iter().enumerate().map(move |(nth, limited)| self.charge(i, nth, limited, op))
    }

    /// The charge of limit `nth` of descriptor `i`. The first limit's counter has the series.
    fn charge<'r>(&'r self, i: usize, nth: usize, limited: &'r Limited<'_>, op: Op) -> Charge<'r> {
        let series = (nth == 0).then_some(SeriesSource { ids: self.series, index: i });
        Charge { limit: limited.limit(), key: self.series.keys.key(limited.key), op, series }
    }

    /// Charges every descriptor in one step, all or nothing, and whether that admits the check.
    ///
    /// A descriptor in shadow mode denies nothing, and one in quota mode only if all of those do.
    fn charge_all_or_nothing(&self) -> (SmallVec<[Outcomes; 2]>, bool) {
        let (mut groups, mut charges) = (SmallVec::<[Group; 4]>::new(), SmallVec::<[Charge<'_>; 4]>::new());
        for (i, (descriptor, one)) in self.descriptors().enumerate() {
            let quota = self.is_quota(one);
            let role = match (self.is_shadow(one), quota) {
                (true, _) => Role::Observed,
                (false, true) => Role::Quota,
                (false, false) => Role::Required,
            };
            charges.extend(self.charges(i, limits(one), self.op(descriptor)));
            groups.push(Group { role, charges: limits(one).len() });
            if quota && role == Role::Observed {
                // It is a quota that is never over.
                groups.push(Group { role: Role::Quota, charges: 0 });
            }
        }
        let mut outcomes = Vec::with_capacity(charges.len());
        let admitted = self.limiter.store.charge_groups(self.now, &groups, &charges, &mut outcomes);
        let mut outcomes = outcomes.into_iter();
        let by_descriptor = self.resolved.iter().map(|one| outcomes.by_ref().take(limits(one).len()).collect());
        (by_descriptor.collect(), admitted)
    }

    fn is_shadow(&self, one: &Resolved<'_>) -> bool {
        self.limiter.settings.shadow_mode || matches!(one, Resolved::Rule(rule, ..) if rule.shadow_mode)
    }

    /// Whether the descriptor is one of those that deny the check only together. Unlimited ones never are: they would save
    /// a check whose quotas are all over.
    fn is_quota(&self, one: &Resolved<'_>) -> bool {
        match one {
            Resolved::Free(rule, _) if rule.unlimited => false,
            Resolved::Rule(rule, ..) if rule.quota_mode => true,
            _ => self.limiter.settings.quota_mode,
        }
    }

    /// OVER_LIMIT iff a descriptor without quota mode is over, or there are some with it and all of those are over.
    fn overall(&self, statuses: &[Status<'_>]) -> Code {
        let (mut quotas, mut quotas_over) = (0, 0);
        for (one, status) in self.resolved.iter().zip(statuses) {
            let over = status.code == Code::OverLimit;
            if self.is_quota(one) {
                quotas += 1;
                quotas_over += usize::from(over);
            } else if over {
                return Code::OverLimit;
            }
        }
        if quotas > 0 && quotas == quotas_over { Code::OverLimit } else { Code::Ok }
    }

    /// How long an admitted check waits: the longest of its delays, held and advised apart.
    fn delays(&self, decision: &mut Decision<'_>, outcomes: &[Outcomes]) {
        for (one, outcomes) in self.resolved.iter().zip(outcomes) {
            for (limited, Charged { outcome, .. }) in limits(one).iter().zip(outcomes) {
                let Algorithm::TokenBucket { queue, .. } = limited.limit().algorithm else { continue };
                let slot = match queue.mode {
                    QueueMode::Hold | QueueMode::HoldAtMost(_) => &mut decision.delay,
                    QueueMode::Advise => &mut decision.advice,
                };
                *slot = (*slot).max(outcome.delay());
            }
        }
    }
}

/// What limits a descriptor.
pub(super) fn limits<'r, 'v>(one: &'r Resolved<'v>) -> &'r [Limited<'v>] {
    match one {
        Resolved::Nothing | Resolved::Free(..) => &[],
        Resolved::Rule(_, _, limits) => limits,
        Resolved::Override(limited) => std::slice::from_ref(limited),
    }
}

/// The status of one descriptor.
fn status<'v>(one: &Resolved<'v>, outcomes: &[Charged]) -> Status<'v> {
    let rule = match one {
        Resolved::Nothing | Resolved::Override(_) => None,
        Resolved::Free(rule, _) | Resolved::Rule(rule, ..) => Some(*rule),
    };
    let Some((limited, outcome)) = governing(limits(one), outcomes) else {
        let unlimited = rule.is_some_and(|rule| rule.unlimited);
        return Status { rule, unlimited, ..Status::default() };
    };
    let denied = match outcome.verdict {
        Verdict::Denied(reason) => Some(reason),
        Verdict::Admitted { .. } => None,
    };
    let shadow = rule.is_some_and(|rule| rule.shadow_mode);
    Status {
        code: if denied.is_some() && !shadow { Code::OverLimit } else { Code::Ok },
        rule,
        limit: Some(limited.current()),
        unlimited: false,
        remaining: outcome.remaining,
        reset: outcome.reset,
        delay: outcome.delay(),
        denied,
    }
}

/// Of several limits the one that denies (the longest to wait for), else the one with the least share left.
pub(super) fn governing<'a, 'v>(
    limits: &'a [Limited<'v>],
    outcomes: &'a [Charged],
) -> Option<(&'a Limited<'v>, &'a Outcome)> {
    if let ([limited], [charged]) = (limits, outcomes) {
        return Some((limited, &charged.outcome));
    }
    let both = || limits.iter().zip(outcomes.iter().map(|charged| &charged.outcome));
    let denying = both().filter(|(_, outcome)| !outcome.admitted()).max_by_key(|(_, outcome)| outcome.reset);
    denying.or_else(|| both().min_by_key(|(limited, outcome)| share_left(limited.limit(), outcome)))
}

/// The share of its capacity that a limit has left, in millionths.
fn share_left(limit: &Limit, outcome: &Outcome) -> u128 {
    u128::from(outcome.remaining) * 1_000_000 / u128::from(limit.capacity().max(1))
}
