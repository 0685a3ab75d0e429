//! Charges what limits a check, and tells the decision.

use smallvec::SmallVec;

use super::count::Counting;
use super::denial::Concluded;
use super::name::SeriesOf;
use super::resolve::{Limited, Resolved, Resolver};
use super::{Check, Code, Decision, Descriptor, Limiter, Plan, Status, requests};
use crate::engine::{Algorithm, Limit, Op, Outcome, QueueMode, Verdict};
use crate::rules;
use crate::store::{Charge, Charged, Store};
use crate::units::Timestamp;
use crate::usage::Lane;

/// Decides about one check.
pub(super) fn decide<'v>(
    limiter: &'v Limiter,
    plan: &'v Plan,
    lane: Lane,
    now: Timestamp,
    check: &Check<'_>,
) -> Decision<'v> {
    let Some(domain) = plan.domain(&check.domain) else {
        limiter.usage.count_unknown_domain(&check.domain);
        limiter.usage.count_unmatched(lane, check.descriptors.len());
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
        let series = SeriesOf { usage: &limiter.usage, plan, check, resolved: &resolved, keys: &keys };
        return Scene { limiter, check, resolved: &resolved, series: &series, now }.decide(plan, domain, lane);
    }
    let mut resolved: SmallVec<[_; 2]> = check.descriptors.iter().map(|descriptor| search.one(descriptor)).collect();
    let keys = search.finish(&mut resolved);
    let series = SeriesOf { usage: &limiter.usage, plan, check, resolved: &resolved, keys: &keys };
    Scene { limiter, check, resolved: &resolved, series: &series, now }.decide(plan, domain, lane)
}

/// The outcomes of one descriptor's limits, in their order.
pub(super) type Outcomes = SmallVec<[Charged; 1]>;

/// One check, and what limits it.
struct Scene<'s, 'v, 'c> {
    limiter: &'v Limiter,
    check: &'s Check<'c>,
    resolved: &'s [Resolved<'v>],
    series: &'s SeriesOf<'s, 'v, 'c>,
    now: Timestamp,
}

impl<'s, 'v, 'c> Scene<'s, 'v, 'c> {
    fn decide(&self, plan: &'v Plan, domain: &'v rules::Domain, lane: Lane) -> Decision<'v> {
        match (domain.charge, &*self.check.descriptors, self.resolved) {
            (rules::Charge::Independent, [descriptor], [one]) => {
                let outcomes = self.charge_one(one, self.op(descriptor));
                self.conclude(plan, domain, lane, &[outcomes])
            }
            (rules::Charge::Independent, ..) => self.conclude(plan, domain, lane, &self.charge_each(|_| true)),
            (rules::Charge::AllOrNothing, ..) => self.conclude(plan, domain, lane, &self.charge_all_or_nothing()),
        }
    }

    /// Tells and counts what was charged.
    fn conclude(&self, plan: &'v Plan, domain: &'v rules::Domain, lane: Lane, outcomes: &[Outcomes]) -> Decision<'v> {
        let mut decision = Decision { domain: Some(domain), ..Decision::default() };
        for (one, outcomes) in self.resolved.iter().zip(outcomes) {
            decision.statuses.push(tell(one, outcomes));
        }
        let code = self.overall(&decision.statuses);
        // In global shadow mode no limit binds another: everything was charged on its own.
        let global_shadow = self.limiter.settings.shadow_mode;
        let all_or_nothing = domain.charge == rules::Charge::AllOrNothing && !global_shadow;
        let rolled_back = all_or_nothing && code == Code::OverLimit;
        let Self { check, series, now, .. } = *self;
        Counting { usage: &self.limiter.usage, plan, series, lane, check, now, rolled_back }
            .count(self.resolved, outcomes);
        decision.code = code;
        if code == Code::OverLimit && self.limiter.settings.shadow_mode {
            self.limiter.usage.count_global_shadow();
            decision.code = Code::Ok;
        }
        let concluded = Concluded { check, resolved: self.resolved, outcomes, decision: &decision, global_shadow, now };
        concluded.report(self.limiter.usage.denials(), code, |statuses| self.overall(statuses));
        requests::count(&self.limiter.usage, plan, domain, lane, check, decision.code);
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

    /// Charges each descriptor that `wanted` names on its own; a rule's several limits all or nothing among themselves.
    fn charge_each(&self, wanted: impl Fn(usize) -> bool) -> SmallVec<[Outcomes; 2]> {
        let charge = |(i, (descriptor, one)): (usize, (&Descriptor<'_>, &Resolved<'_>))| {
            if wanted(i) { self.charge_one(one, self.op(descriptor)) } else { Outcomes::new() }
        };
        self.descriptors().enumerate().map(charge).collect()
    }

    fn charge_one(&self, one: &Resolved<'_>, op: Op) -> Outcomes {
        match limits(one) {
            [] => Outcomes::new(),
            [limited] => SmallVec::from_buf([self.limiter.store.charge(self.now, &self.charge(limited, op))]),
            several => {
                let charges: SmallVec<[_; 4]> = several.iter().map(|limited| self.charge(limited, op)).collect();
                self.charge_together(&charges)
            }
        }
    }

    fn charge<'r>(&'r self, limited: &'r Limited<'_>, op: Op) -> Charge<'r> {
        Charge { limit: limited.limit(), key: self.series.keys.key(limited.key), op, tags: Some(self.series) }
    }

    fn charge_together(&self, charges: &[Charge<'_>]) -> Outcomes {
        let mut outcomes = Vec::with_capacity(charges.len());
        self.limiter.store.charge_all(self.now, charges, &mut outcomes);
        outcomes.into()
    }

    /// Charges every descriptor that can deny together, all or nothing; then, if they admit, the others.
    ///
    /// A descriptor in shadow mode denies nothing, and one in quota mode only if all of those do: they are looked at
    /// first, and those that are over stay out of it.
    fn charge_all_or_nothing(&self) -> SmallVec<[Outcomes; 2]> {
        let looks: SmallVec<[bool; 2]> =
            self.descriptors().map(|(descriptor, one)| self.would_admit(descriptor, one)).collect();
        let quota = |i: &usize| self.is_quota(*i) && !self.is_shadow(*i);
        let (mut any_quota, mut all_over) = (false, true);
        for i in (0..looks.len()).filter(quota) {
            any_quota = true;
            all_over &= !looks.get(i).copied().unwrap_or(true);
        }
        let quota_denies = any_quota && all_over;
        let binds = |i: usize| !self.is_shadow(i) && (!self.is_quota(i) || quota_denies || looks.get(i) == Some(&true));
        let mut outcomes = self.charge_bound(&binds);
        let admitted = outcomes.iter().flatten().all(|charged| charged.outcome.admitted());
        for (i, (descriptor, one)) in self.descriptors().enumerate() {
            if !binds(i) {
                let op = if admitted || descriptor.refund { self.op(descriptor) } else { Op::Charge(0) };
                if let Some(slot) = outcomes.get_mut(i) {
                    *slot = self.charge_one(one, op);
                }
            }
        }
        outcomes
    }

    fn charge_bound(&self, binds: &impl Fn(usize) -> bool) -> SmallVec<[Outcomes; 2]> {
        let bound = |(i, _): &(usize, _)| binds(*i);
        let charges: SmallVec<[Charge<'_>; 4]> = self
            .descriptors()
            .enumerate()
            .filter(bound)
            .flat_map(|(_, (descriptor, one))| {
                limits(one).iter().map(move |limited| self.charge(limited, self.op(descriptor)))
            })
            .collect();
        let mut all = self.charge_together(&charges).into_iter();
        let own = |(i, (_, one)): (usize, (_, &Resolved<'_>))| {
            if binds(i) { all.by_ref().take(limits(one).len()).collect() } else { Outcomes::new() }
        };
        self.descriptors().enumerate().map(own).collect()
    }

    /// Whether a descriptor's limits would admit it now; nothing is charged. Only quota descriptors are looked at.
    fn would_admit(&self, descriptor: &Descriptor<'_>, one: &Resolved<'_>) -> bool {
        let Op::Charge(hits) = self.op(descriptor) else { return true };
        let is_quota = self.limiter.settings.quota_mode || matches!(one, Resolved::Rule(rule, ..) if rule.quota_mode);
        !is_quota
            || limits(one).iter().all(|limited| {
                let look = self.limiter.store.charge(self.now, &self.charge(limited, Op::Charge(0))).outcome;
                look.admitted() && look.remaining.saturating_add(queue_room(limited.limit())) >= hits
            })
    }

    fn is_shadow(&self, i: usize) -> bool {
        self.limiter.settings.shadow_mode
            || matches!(self.resolved.get(i), Some(Resolved::Rule(rule, ..)) if rule.shadow_mode)
    }

    fn is_quota(&self, i: usize) -> bool {
        self.limiter.settings.quota_mode
            || matches!(self.resolved.get(i), Some(Resolved::Rule(rule, ..)) if rule.quota_mode)
    }

    /// OVER_LIMIT iff a descriptor without quota mode is over, or there are some with it and all of those are over.
    fn overall(&self, statuses: &[Status<'_>]) -> Code {
        let (mut quotas, mut quotas_over) = (0, 0);
        for (i, status) in statuses.iter().enumerate() {
            let over = status.code == Code::OverLimit;
            if self.is_quota(i) {
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
                    QueueMode::Hold | QueueMode::HoldAtMost(_) => &mut decision.hold,
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
fn tell<'v>(one: &Resolved<'v>, outcomes: &[Charged]) -> Status<'v> {
    let rule = match one {
        Resolved::Nothing | Resolved::Override(_) => None,
        Resolved::Free(rule, _) | Resolved::Rule(rule, ..) => Some(*rule),
    };
    let Some((limited, outcome)) = speaking(limits(one), outcomes) else {
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
pub(super) fn speaking<'a, 'v>(
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

fn queue_room(limit: &Limit) -> u64 {
    match limit.algorithm {
        Algorithm::TokenBucket { queue, .. } => queue.size.into(),
        _ => 0,
    }
}
