//! Charges counters, one or several, wherever they stand.
//!
//! It asks for little: shards that can be locked ([`Shards`]), and a word on room for new counters ([`Capacity`]). So the very
//! code that serves runs under loom, on shelves of loom's locks.

use super::{Charge, Charged, Group};
use crate::engine::{Algorithm, Cell, CountDenied, Limit, Log, Op, Outcome};
use crate::units::Timestamp;

mod joint;
mod state;

use joint::Joint;
use state::State;

/// Where a name belongs. Ordered: several shards are always locked in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Location {
    pub(super) stripe: usize,
    pub(super) shard: usize,
    pub(super) hash: u64,
}

/// States by name, in shards that are locked one by one.
pub(super) trait Shards<V> {
    /// One locked shard. Nothing in it changes until it is dropped.
    type Shard<'s>: Shard<V>
    where
        Self: 's;

    /// Where `key` belongs. Cost: one hash.
    fn locate(&self, key: &[u8]) -> Location;

    /// Locks the shard of `location`; `None` never happens for places of this shelf.
    fn lock(&self, location: Location) -> Option<Self::Shard<'_>>;
}

/// One locked shard.
pub(super) trait Shard<V> {
    /// The state of `key`, if there is one, and the number of its series, if it has been given.
    fn state_mut(&mut self, location: Location, key: &[u8]) -> Option<(&mut V, Option<u32>)>;

    /// Gives `key` its first state. The caller has looked and found none.
    fn insert(&mut self, location: Location, key: &[u8], state: V);

    /// Books a change of what states keep on the heap, in bytes.
    fn book_heap(&mut self, before: usize, after: usize);

    /// The latest instant at which this shard was swept. What was dropped then had been spent by then, so that no earlier
    /// instant may be charged any more: a batch whose `now` is earlier would find a counter fresh whose window it spent.
    fn swept_at(&self) -> Timestamp;
}

/// Room for new counters.
pub(super) trait Capacity {
    /// Whether a new counter has to do without a place.
    fn is_exhausted(&self, step: Step) -> bool;

    /// The answer in place of one by a counter.
    fn exhausted(&self, charge: &Charge<'_>) -> Outcome;
}

/// What is to become of a counter's next state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is kept; a new counter needs room.
    Charge,
    /// It is not kept, but a new counter would need room.
    Peek,
    /// It is kept, after a look that found room: whatever else came in between, all are charged or none.
    Settle,
}

/// Charges counters on two shelves.
#[derive(Debug)]
pub(super) struct Transaction<'m, C, L, R> {
    pub(super) cells: &'m C,
    pub(super) logs: &'m L,
    pub(super) capacity: &'m R,
}

impl<C: Shards<Cell>, L: Shards<Log>, R: Capacity> Transaction<'_, C, L, R> {
    /// Asks one counter, under its shard's lock.
    pub(super) fn one(&self, now: Timestamp, charge: &Charge<'_>) -> Charged {
        let charged = if charge.limit.algorithm == Algorithm::SlidingLog {
            self.lock_and_step(self.logs, now, charge)
        } else {
            self.lock_and_step(self.cells, now, charge)
        };
        charged.unwrap_or_else(|| Charged { outcome: self.capacity.exhausted(charge), series_id: None })
    }

    /// Asks several counters, all of their shards locked, as [`super::Memory::charge_groups`] says.
    pub(super) fn groups(
        &self,
        now: Timestamp,
        groups: &[Group],
        charges: &[Charge<'_>],
        outcomes: &mut Vec<Charged>,
    ) -> bool {
        outcomes.clear();
        if let ([group], [only]) = (groups, charges)
            && group.can_deny()
        {
            let answer = self.one(now, &only.jointly(&only.limit_of_joint_charge()));
            outcomes.push(answer);
            return answer.outcome.admitted();
        }
        Joint::lock(self, charges).charge(now, groups, charges, outcomes)
    }

    fn lock_and_step<V: State>(&self, states: &impl Shards<V>, now: Timestamp, charge: &Charge<'_>) -> Option<Charged> {
        let location = states.locate(charge.key);
        let mut shard = states.lock(location)?;
        Some(self.step(&mut shard, location, now, charge, Step::Charge))
    }

    /// One operation on the counter of a locked shard.
    fn step<V: State>(
        &self,
        shard: &mut impl Shard<V>,
        location: Location,
        now: Timestamp,
        charge: &Charge<'_>,
        step: Step,
    ) -> Charged {
        let now = now.max(shard.swept_at());
        if let Some((state, series_id)) = shard.state_mut(location, charge.key) {
            let before = state.heap_bytes();
            let outcome = self.step_state(state, now, charge, step);
            let after = state.heap_bytes();
            if before != after {
                shard.book_heap(before, after);
            }
            return Charged { outcome, series_id };
        }
        let mut state = V::FRESH;
        let outcome = state.step(charge.limit, now, charge.op, true);
        if state.is_unused(now) {
            return Charged { outcome, series_id: None };
        }
        if self.capacity.is_exhausted(step) {
            return Charged { outcome: self.without_capacity(outcome, charge), series_id: None };
        }
        if step == Step::Peek {
            return Charged { outcome, series_id: None };
        }
        let heap = state.heap_bytes();
        shard.insert(location, charge.key, state);
        if heap > 0 {
            shard.book_heap(0, heap);
        }
        Charged { outcome, series_id: None }
    }

    /// One operation on a counter that exists: it grows only where there is room for more.
    fn step_state<V: State>(&self, state: &mut V, now: Timestamp, charge: &Charge<'_>, step: Step) -> Outcome {
        if matches!(charge.op, Op::Charge(1..)) && state.must_grow(now) && self.capacity.is_exhausted(step) {
            // What has expired is dropped by this, and may leave room.
            let peek = state.step(charge.limit, now, charge.op, false);
            if state.must_grow(now) {
                return self.without_capacity(peek, charge);
            }
        }
        state.step(charge.limit, now, charge.op, step != Step::Peek)
    }

    /// The answer where there is no room: a denial stays what it is.
    fn without_capacity(&self, outcome: Outcome, charge: &Charge<'_>) -> Outcome {
        if outcome.admitted() { self.capacity.exhausted(charge) } else { outcome }
    }
}

impl Charge<'_> {
    /// The limit where others decide as well: what a denied check leaves behind is then only what is to stay
    /// denied it.
    fn limit_of_joint_charge(&self) -> Limit {
        let count_denied = match self.limit.count_denied {
            CountDenied::Always => CountDenied::Always,
            CountDenied::Alone | CountDenied::Never => CountDenied::Never,
        };
        Limit { count_denied, ..*self.limit }
    }

    /// The same by another limit.
    fn jointly<'a>(&'a self, limit: &'a Limit) -> Charge<'a> {
        Charge { limit, ..*self }
    }
}

#[cfg(test)]
mod loom_tests;
