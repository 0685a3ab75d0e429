//! Charges counters, one or several, wherever they stand.
//!
//! It asks for little: shards that can be locked ([`Shelf`]), and a word on room for new counters ([`Room`]). So the very
//! code that serves runs under loom, on shelves of loom's locks.

use super::{Charge, Charged, Group};
use crate::engine::{Algorithm, Cell, CountDenied, Limit, Log, Op, Outcome};
use crate::units::Timestamp;

mod joint;
mod state;

use joint::Joint;
use state::State;

/// Where a name belongs. Ordered: whoever locks several shards locks them in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) stripe: usize,
    pub(super) shard: usize,
    pub(super) hash: u64,
}

/// States by name, in shards that are locked one by one.
pub(super) trait Shelf<V> {
    /// One locked shard. Everything in it stands still until it is dropped.
    type Shard<'s>: Shard<V>
    where
        Self: 's;

    /// Where `key` belongs. Cost: one hash.
    fn place(&self, key: &[u8]) -> Place;

    /// Locks the shard of `place`; `None` never happens for places of this shelf.
    fn lock(&self, place: Place) -> Option<Self::Shard<'_>>;
}

/// One locked shard.
pub(super) trait Shard<V> {
    /// The state of `key` and its tag (see [`super::Tags`]), if it has one.
    fn state_mut(&mut self, place: Place, key: &[u8]) -> Option<(&mut V, u32)>;

    /// Gives `key` its first state, and its tag for good. The caller has looked and found none.
    fn insert(&mut self, place: Place, key: &[u8], state: V, tag: u32);

    /// Books a change of what states keep on the heap, in bytes.
    fn book_heap(&mut self, before: usize, after: usize);

    /// The latest instant at which this shard was swept. What was dropped then had been spent by then, so that no earlier
    /// instant may be charged any more: a batch whose `now` is earlier would find a counter fresh whose window it spent.
    fn swept_at(&self) -> Timestamp;
}

/// Room for new counters.
pub(super) trait Room {
    /// Whether a new counter has to do without a place.
    fn lacks_room(&self, step: Step) -> bool;

    /// The answer in place of one by a counter.
    fn refuse(&self, charge: &Charge<'_>) -> Outcome;
}

/// What is to become of a counter's next state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is kept; a new counter needs room.
    Charge,
    /// It is not kept, but a new counter would need room.
    Look,
    /// It is kept, after a look that found room: whatever else came in between, all are charged or none.
    Settle,
}

/// Charges counters on two shelves.
#[derive(Debug)]
pub(super) struct Charging<'m, C, L, R> {
    pub(super) cells: &'m C,
    pub(super) logs: &'m L,
    pub(super) room: &'m R,
}

impl<C: Shelf<Cell>, L: Shelf<Log>, R: Room> Charging<'_, C, L, R> {
    /// Asks one counter, under its shard's lock.
    pub(super) fn one(&self, now: Timestamp, charge: &Charge<'_>) -> Charged {
        let charged = if charge.limit.algorithm == Algorithm::SlidingLog {
            self.lock_and_step(self.logs, now, charge)
        } else {
            self.lock_and_step(self.cells, now, charge)
        };
        charged.unwrap_or_else(|| Charged { outcome: self.room.refuse(charge), tag: None })
    }

    /// Asks several counters, all of their shards locked, as [`super::Store::charge_groups`] says.
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

    fn lock_and_step<V: State>(&self, states: &impl Shelf<V>, now: Timestamp, charge: &Charge<'_>) -> Option<Charged> {
        let place = states.place(charge.key);
        let mut shard = states.lock(place)?;
        Some(self.step(&mut shard, place, now, charge, Step::Charge))
    }

    /// One operation on the counter of a locked shard.
    fn step<V: State>(
        &self,
        shard: &mut impl Shard<V>,
        place: Place,
        now: Timestamp,
        charge: &Charge<'_>,
        step: Step,
    ) -> Charged {
        let now = now.max(shard.swept_at());
        if let Some((state, tag)) = shard.state_mut(place, charge.key) {
            let before = state.heap_bytes();
            let outcome = self.step_state(state, now, charge, step);
            let after = state.heap_bytes();
            if before != after {
                shard.book_heap(before, after);
            }
            return Charged { outcome, tag: Some(tag) };
        }
        let mut state = V::FRESH;
        let outcome = state.step(charge.limit, now, charge.op, true);
        if state.is_unused(now) {
            return Charged { outcome, tag: None };
        }
        if self.room.lacks_room(step) {
            return Charged { outcome: self.without_room(outcome, charge), tag: None };
        }
        if step == Step::Look {
            return Charged { outcome, tag: None };
        }
        let (heap, tag) = (state.heap_bytes(), charge.new_tag());
        shard.insert(place, charge.key, state, tag);
        if heap > 0 {
            shard.book_heap(0, heap);
        }
        Charged { outcome, tag: Some(tag) }
    }

    /// One operation on a counter that exists: it grows only where there is room for more.
    fn step_state<V: State>(&self, state: &mut V, now: Timestamp, charge: &Charge<'_>, step: Step) -> Outcome {
        if matches!(charge.op, Op::Charge(1..)) && state.must_grow(now) && self.room.lacks_room(step) {
            // What has expired is dropped by this, and may leave room.
            let look = state.step(charge.limit, now, charge.op, false);
            if state.must_grow(now) {
                return self.without_room(look, charge);
            }
        }
        state.step(charge.limit, now, charge.op, step != Step::Look)
    }

    /// The answer where there is no room: a denial stays what it is.
    fn without_room(&self, outcome: Outcome, charge: &Charge<'_>) -> Outcome {
        if outcome.admitted() { self.room.refuse(charge) } else { outcome }
    }
}

impl Charge<'_> {
    fn new_tag(&self) -> u32 {
        self.series.map_or(0, |series| series.tags.tag(series.index))
    }

    /// The limit where others decide as well: what a denied check leaves behind is then only what is to stay
    /// whoever denied.
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
