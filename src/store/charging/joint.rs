//! Charges several counters with all of their shards locked, so that a check is decided and charged in one step.
//!
//! Refunds come first: they take effect whatever the decision is. The rest is in the order of the groups' roles: required,
//! quota, observed; within a role in that of the check. First each group is peeked, with the hits that earlier groups take
//! from the same counters. Then all are charged, or none, by the same operations in the same order, so that hits that a peek
//! admitted are admitted. Groups that are over come last: if their hits count although denied, or begin a ban, that happens
//! after the admitted ones.
//!
//! Cost: a sort of the charges by location, then a constant number of steps for each.

use std::ops::Range;

use smallvec::{SmallVec, smallvec};

use super::{Capacity, Location, Shards, Step, Transaction};
use crate::engine::{Algorithm, Cell, CountDenied, Limit, Log, Op, Outcome, Reason, Verdict};
use crate::store::{Charge, Charged, Group, Role};
use crate::units::{Nanos, Timestamp};

/// The counters of one check. Shards are locked in the order of their locations, those of cells first, so that there is no
/// deadlock.
pub(super) struct Joint<'m, C: Shards<Cell> + 'm, L: Shards<Log> + 'm, R> {
    charging: &'m Transaction<'m, C, L, R>,
    cells: SmallVec<[C::Shard<'m>; 4]>,
    logs: SmallVec<[L::Shard<'m>; 4]>,
    /// One for each charge.
    counters: SmallVec<[CounterRef; 4]>,
    /// For each counter, the hits that earlier admitted groups take from it.
    taken: SmallVec<[u128; 4]>,
    /// Used for a counter that does not exist, which never happens.
    nowhere: u128,
}

/// The counter of a charge.
#[derive(Clone, Copy)]
struct CounterRef {
    is_log: bool,
    location: Location,
    /// The index of its shard among the locked ones.
    shard: usize,
    /// The index of the counter, which charges of the same counter share.
    counter: usize,
}

/// A counter: whether it is a log, its location, and its key.
type CounterLocation<'k> = (bool, Location, &'k [u8]);

/// The result of peeking a charge.
#[derive(Clone, Copy)]
struct Peek {
    /// The operation: the charge's hits and those that earlier groups take from the same counter.
    op: Op,
    outcome: Outcome,
    series_id: Option<u32>,
}

/// The decision about a group and its check.
#[derive(Clone, Copy)]
#[allow(clippy::struct_excessive_bools)] // Each is a question of its own.
struct GroupVerdict {
    /// Whether the check is admitted.
    admitted: bool,
    /// Whether all of the group's limits admit.
    admits: bool,
    /// Whether the group denies the check.
    denies: bool,
    /// Whether the group is a single limit, whose hits do not depend on any other.
    alone: bool,
}

impl GroupVerdict {
    fn fate(self, charge: &Charge<'_>, peek: &Peek) -> Fate {
        if matches!(charge.op, Op::Refund(_)) {
            Fate::Given
        } else if charge.limit.count_denied == CountDenied::Always || self.admitted && (self.admits || self.alone) {
            Fate::Charged
        } else if !peek.outcome.admitted() {
            if self.admitted || self.denies { Fate::Denied } else { Fate::Over }
        } else {
            Fate::Left
        }
    }
}

/// What happens to a charge.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It was a refund, which has taken effect already.
    Given,
    /// It is charged. If it is denied, its hits count if the limit is configured so.
    Charged,
    /// It is not charged; if it is denied, that may begin a ban.
    Denied,
    /// It is over its limit, which did not deny the check: the outcome is that of the peek.
    Over,
    /// It is not charged.
    Left,
}

impl<'m, C: Shards<Cell>, L: Shards<Log>, R: Capacity> Joint<'m, C, L, R> {
    /// Locks the shards of all charges.
    pub(super) fn lock(charging: &'m Transaction<'m, C, L, R>, charges: &[Charge<'_>]) -> Self {
        let counter = |charge: &Charge<'_>| {
            let is_log = charge.limit.algorithm == Algorithm::SlidingLog;
            let location = if is_log { charging.logs.locate(charge.key) } else { charging.cells.locate(charge.key) };
            CounterRef { is_log, location, shard: 0, counter: 0 }
        };
        let mut joint = Self {
            charging,
            cells: SmallVec::new(),
            logs: SmallVec::new(),
            counters: charges.iter().map(counter).collect(),
            taken: SmallVec::new(),
            nowhere: 0,
        };
        joint.locate(charges);
        joint
    }

    fn locate(&mut self, charges: &[Charge<'_>]) {
        let mut order: SmallVec<[(CounterLocation<'_>, usize); 4]> = SmallVec::with_capacity(charges.len());
        order.extend(
            self.counters
                .iter()
                .zip(charges)
                .enumerate()
                .map(|(i, (counter, charge))| ((counter.is_log, counter.location, charge.key), i)),
        );
        order.sort_unstable();
        let mut before: Option<CounterLocation<'_>> = None;
        for ((is_log, location, key), i) in order {
            let is_locked = before.is_some_and(|(log, at, _)| log == is_log && at.shares_lock(location));
            if !is_locked && !self.lock_shard(is_log, location) {
                return;
            }
            if before != Some((is_log, location, key)) {
                self.taken.push(0);
            }
            let shard = if is_log { self.logs.len() } else { self.cells.len() };
            if let Some(counter) = self.counters.get_mut(i) {
                (counter.shard, counter.counter) = (shard.saturating_sub(1), self.taken.len().saturating_sub(1));
            }
            before = Some((is_log, location, key));
        }
    }

    fn lock_shard(&mut self, is_log: bool, location: Location) -> bool {
        if is_log {
            self.charging.logs.lock(location).map(|shard| self.logs.push(shard)).is_some()
        } else {
            self.charging.cells.lock(location).map(|shard| self.cells.push(shard)).is_some()
        }
    }

    /// Charges all groups that can be charged, or none. Returns whether the check is admitted.
    pub(super) fn charge(
        mut self,
        now: Timestamp,
        groups: &[Group],
        charges: &[Charge<'_>],
        outcomes: &mut Vec<Charged>,
    ) -> bool {
        let order = in_order_of_roles(groups);
        let mut peeks: SmallVec<[Peek; 4]> = smallvec![Peek::NONE; charges.len()];
        outcomes.resize(charges.len(), Charged { outcome: Peek::NONE.outcome, series_id: None });
        for (i, (charge, slot)) in charges.iter().zip(&mut *outcomes).enumerate() {
            if matches!(charge.op, Op::Refund(_)) {
                *slot = self.step(now, i, charge, Step::Settle);
            }
        }
        let mut ballot = Ballot::default();
        for &(group, begin) in &order {
            let admits = self.peek(now, charges, begin..begin + group.charges, &mut peeks);
            ballot.count(group.role, admits);
        }
        let admitted = ballot.admits();
        let (admitting, over): (SmallVec<[_; 4]>, SmallVec<[_; 4]>) =
            order.iter().partition(|(group, begin)| admits(peeks.get(*begin..begin + group.charges)));
        for &(group, begin) in admitting.into_iter().chain(over) {
            let range = begin..begin + group.charges;
            let group_looks = peeks.get(range.clone()).unwrap_or_default();
            let admits = admits(Some(group_looks));
            let verdict = GroupVerdict {
                admitted,
                admits,
                denies: !admits && ballot.is_denied_by(group.role),
                alone: group.charges == 1 && (!group.can_deny() || (admitted && !admits)),
            };
            for (i, peek) in range.zip(group_looks) {
                if let (Some(charge), Some(slot)) = (charges.get(i), outcomes.get_mut(i))
                    && let Some(settled) = self.settle(now, i, charge, peek, verdict)
                {
                    *slot = settled;
                }
            }
        }
        admitted
    }

    /// Peeks one group. If all its limits admit, its hits are taken for the following groups.
    fn peek(&mut self, now: Timestamp, charges: &[Charge<'_>], range: Range<usize>, peeks: &mut [Peek]) -> bool {
        let mut admits = true;
        for i in range.clone() {
            let (Some(charge), Some(slot)) = (charges.get(i), peeks.get_mut(i)) else { continue };
            let Op::Charge(hits) = charge.op else { continue };
            let wanted = if hits == 0 { 0 } else { *self.taken(i) + u128::from(hits) };
            let limit = charge.limit_of_joint_charge();
            let op = Op::Charge(u64::try_from(wanted).unwrap_or(u64::MAX));
            let Charged { outcome, series_id } =
                self.step(now, i, &Charge { op, limit: &limit, ..*charge }, Step::Peek);
            admits &= outcome.admitted();
            *slot = Peek { op, outcome, series_id };
            *self.taken(i) += u128::from(hits);
        }
        if !admits {
            for i in range {
                if let Some(Charge { op: Op::Charge(hits), .. }) = charges.get(i) {
                    *self.taken(i) -= u128::from(*hits);
                }
            }
        }
        admits
    }

    /// The hits that earlier groups take from the counter of charge `i`.
    fn taken(&mut self, i: usize) -> &mut u128 {
        let counter = self.counters.get(i).map_or(0, |counter| counter.counter);
        self.taken.get_mut(counter).unwrap_or(&mut self.nowhere)
    }

    /// Applies the decision to a charge; `None` for a refund, which has taken effect already.
    fn settle(
        &mut self,
        now: Timestamp,
        i: usize,
        charge: &Charge<'_>,
        peek: &Peek,
        verdict: GroupVerdict,
    ) -> Option<Charged> {
        if peek.outcome.verdict == Verdict::Denied(Reason::NoRoom) {
            return Some(Charged { outcome: peek.outcome, series_id: None });
        }
        let limit = if verdict.alone { *charge.limit } else { charge.limit_of_joint_charge() };
        let (op, limit) = match verdict.fate(charge, peek) {
            Fate::Given => return None,
            Fate::Charged => (charge.op, limit),
            // The hits of earlier groups have been charged if the check is admitted.
            Fate::Denied => {
                let op = if verdict.admitted { charge.op } else { peek.op };
                (op, Limit { count_denied: CountDenied::Never, ..limit })
            }
            Fate::Over => return Some(Charged { outcome: peek.outcome, series_id: peek.series_id }),
            Fate::Left => (Op::Charge(0), limit),
        };
        Some(self.step(now, i, &Charge { op, limit: &limit, ..*charge }, Step::Settle))
    }

    /// One operation on one of the locked counters.
    fn step(&mut self, now: Timestamp, i: usize, charge: &Charge<'_>, step: Step) -> Charged {
        let charging = self.charging;
        let charged = self.counters.get(i).and_then(|counter| {
            if counter.is_log {
                let shard = self.logs.get_mut(counter.shard)?;
                Some(charging.step(shard, counter.location, now, charge, step))
            } else {
                let shard = self.cells.get_mut(counter.shard)?;
                Some(charging.step(shard, counter.location, now, charge, step))
            }
        });
        charged.unwrap_or_else(|| Charged { outcome: charging.capacity.exhausted(charge), series_id: None })
    }
}

/// Whether a group's limits all admit.
fn admits(peeks: Option<&[Peek]>) -> bool {
    peeks.unwrap_or_default().iter().all(|peek| peek.outcome.admitted())
}

/// The groups, each with the index of its first charge, in the order in which they are charged.
fn in_order_of_roles(groups: &[Group]) -> SmallVec<[(Group, usize); 4]> {
    let mut order: SmallVec<[(Group, usize); 4]> = SmallVec::with_capacity(groups.len());
    let mut begin = 0;
    for group in groups {
        order.push((*group, begin));
        begin += group.charges;
    }
    // Stable: within a role, that of the check.
    order.sort_by_key(|(group, _)| group.role);
    order
}

/// The votes of the groups on the check.
#[derive(Default)]
struct Ballot {
    required_over: bool,
    quotas: usize,
    quotas_over: usize,
}

impl Ballot {
    fn count(&mut self, role: Role, admits: bool) {
        match role {
            Role::Required => self.required_over |= !admits,
            Role::Quota => {
                self.quotas += 1;
                self.quotas_over += usize::from(!admits);
            }
            Role::Observed => {}
        }
    }

    fn admits(&self) -> bool {
        !self.required_over && !self.is_denied_by(Role::Quota)
    }

    /// Whether the groups of that role deny the check.
    fn is_denied_by(&self, role: Role) -> bool {
        match role {
            Role::Required => true,
            Role::Quota => self.quotas > 0 && self.quotas == self.quotas_over,
            Role::Observed => false,
        }
    }
}

impl Peek {
    const NONE: Self = Self {
        op: Op::Charge(0),
        outcome: Outcome { verdict: Verdict::ADMITTED, before: 0, after: 0, remaining: 0, reset: Nanos::ZERO },
        series_id: None,
    };
}
