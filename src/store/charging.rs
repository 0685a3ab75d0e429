//! Charges one or several counters, independent of how they are stored.
//!
//! It needs only shards that can be locked ([`Shards`]) and a limit on new counters ([`Capacity`]). So the same code that
//! serves is tested under loom, with loom's locks.

use super::{Charge, Charged, Group, LimitKind, Restored};
use crate::engine::{Algorithm, Cell, CountDenied, Limit, Log, Op, Outcome};
use crate::units::Timestamp;

mod joint;
mod state;

use joint::Joint;
use state::State;

/// The location of a key. Ordered: several shards are always locked in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Location {
    pub(super) stripe: usize,
    pub(super) shard: usize,
    pub(super) hash: u64,
}

impl Location {
    /// Whether both locations are under the same lock.
    pub(super) fn shares_lock(self, other: Self) -> bool {
        (self.stripe, self.shard) == (other.stripe, other.shard)
    }
}

/// States by key, in shards with a lock each.
pub(super) trait Shards<V> {
    /// One locked shard. Its content does not change until it is dropped.
    type Shard<'s>: Shard<V>
    where
        Self: 's;

    /// The location of `key`. Cost: one hash.
    fn locate(&self, key: &[u8]) -> Location;

    /// Locks the shard of `location`; never `None` for locations of these shards.
    fn lock(&self, location: Location) -> Option<Self::Shard<'_>>;
}

/// One locked shard.
pub(super) trait Shard<V> {
    /// The state of `key`, if there is one, and the number of its series, if it has been set.
    fn state_mut(&mut self, location: Location, key: &[u8]) -> Option<(&mut V, Option<u32>)>;

    /// Adds the first state of `key`, which must not have one. It may be dropped from `fresh_at` on.
    fn insert(&mut self, location: Location, key: &[u8], state: V, fresh_at: Timestamp);

    /// Accounts for a change of the states' heap memory, in bytes.
    fn book_heap(&mut self, before: usize, after: usize);

    /// A state may be dropped from `fresh_at` on, which is earlier than it was.
    fn book_end(&mut self, fresh_at: Timestamp);

    /// The latest instant at which this shard was swept. Counters that had expired by then have been dropped, so no earlier
    /// instant may be charged any more: for a batch with an earlier `now`, a counter would be fresh although its window is used.
    fn swept_at(&self) -> Timestamp;
}

/// The capacity for new counters.
pub(super) trait Capacity {
    /// Whether there is no capacity for a new counter.
    fn is_exhausted(&self, step: Step) -> bool;

    /// The outcome if there is no capacity for the counter.
    fn exhausted(&self, charge: &Charge<'_>) -> Outcome;
}

/// What happens to a counter's next state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is kept; a new counter needs capacity.
    Charge,
    /// It is not kept, but a new counter would need capacity.
    Peek,
    /// It is kept after a peek that found capacity, so that all counters are charged, or none.
    Settle,
}

/// Charges counters in two sets of shards, of cells and of logs.
#[derive(Debug)]
pub(super) struct Transaction<'m, C, L, R> {
    pub(super) cells: &'m C,
    pub(super) logs: &'m L,
    pub(super) capacity: &'m R,
}

impl<C: Shards<Cell>, L: Shards<Log>, R: Capacity> Transaction<'_, C, L, R> {
    /// Charges one counter, under its shard's lock.
    pub(super) fn one(&self, now: Timestamp, charge: &Charge<'_>) -> Charged {
        let charged = if charge.limit.algorithm == Algorithm::SlidingLog {
            self.lock_and_step(self.logs, now, charge)
        } else {
            self.lock_and_step(self.cells, now, charge)
        };
        charged.unwrap_or_else(|| Charged { outcome: self.capacity.exhausted(charge), series_id: None })
    }

    /// Charges several counters with all of their shards locked, as specified by [`super::Memory::charge_groups`].
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

    /// Bans one counter until then, whatever its state is; it is created if it does not exist. False: there is no capacity.
    pub(super) fn ban(&self, kind: LimitKind, key: &[u8], until: Timestamp) -> bool {
        if let LimitKind::SlidingLog(_) = kind {
            self.replace(self.logs, key, Log::operator_ban(until), |_| true)
        } else {
            self.replace(self.cells, key, Cell::operator_ban(until), |_| true)
        }
    }

    /// Makes one counter fresh; with `only_banned` only if a ban runs. Returns whether it was changed.
    pub(super) fn reset(&self, now: Timestamp, kind: LimitKind, key: &[u8], only_banned: bool) -> bool {
        if let LimitKind::SlidingLog(_) = kind {
            self.replace(self.logs, key, Log::FRESH, |state| is_affected(state, now, only_banned))
        } else {
            self.replace(self.cells, key, Cell::FRESH, |state| is_affected(state, now, only_banned))
        }
    }

    /// Gives a counter that is a cell this state.
    pub(super) fn restore_cell(&self, key: &[u8], cell: Cell, is_fresh: bool) -> Restored {
        self.restore_in(self.cells, key, cell, is_fresh)
    }

    /// Gives a counter that is a log this state.
    pub(super) fn restore_log(&self, key: &[u8], log: Log, is_fresh: bool) -> Restored {
        self.restore_in(self.logs, key, log, is_fresh)
    }

    /// Keeps what another place says of a counter that is a cell.
    pub(super) fn note_cell(&self, now: Timestamp, key: &[u8], cell: Cell, is_fresh: bool) -> Option<u32> {
        self.note_in(self.cells, key, cell, is_fresh, |known| known.operator_ban_end().is_some_and(|end| end > now))
    }

    /// Keeps what another place says of a counter that is a log.
    pub(super) fn note_log(&self, now: Timestamp, key: &[u8], log: Log, is_fresh: bool) -> Option<u32> {
        self.note_in(self.logs, key, log, is_fresh, |known| known.operator_ban_end().is_some_and(|end| end > now))
    }

    fn note_in<V: State>(
        &self,
        states: &impl Shards<V>,
        key: &[u8],
        next: V,
        is_fresh: bool,
        stays: impl FnOnce(&V) -> bool,
    ) -> Option<u32> {
        let location = states.locate(key);
        let mut shard = states.lock(location)?;
        if let Some((state, series_id)) = shard.state_mut(location, key) {
            if !stays(state) {
                let before = Extent::of(state);
                let after = Extent::of(&next);
                *state = next;
                before.change_to(after, &mut shard);
            }
            return series_id;
        }
        if !is_fresh && !self.capacity.is_exhausted(Step::Charge) {
            insert(&mut shard, location, key, next);
        }
        None
    }

    fn restore_in<V: State>(&self, states: &impl Shards<V>, key: &[u8], state: V, is_fresh: bool) -> Restored {
        let location = states.locate(key);
        let Some(mut shard) = states.lock(location) else { return Restored::NoRoom };
        if let Some((known, _)) = shard.state_mut(location, key) {
            let (before, after) = (Extent::of(known), Extent::of(&state));
            *known = state;
            before.change_to(after, &mut shard);
            return if is_fresh { Restored::Freed } else { Restored::Replaced };
        }
        if is_fresh {
            return Restored::Spent;
        }
        if self.capacity.is_exhausted(Step::Charge) {
            return Restored::NoRoom;
        }
        insert(&mut shard, location, key, state);
        Restored::Added
    }

    /// Replaces the state of a counter if `wanted` is true of it; a counter that does not exist is added if there is capacity.
    fn replace<V: State>(
        &self,
        states: &impl Shards<V>,
        key: &[u8],
        next: V,
        wanted: impl FnOnce(Option<&V>) -> bool,
    ) -> bool {
        let location = states.locate(key);
        let Some(mut shard) = states.lock(location) else { return false };
        if let Some((state, _)) = shard.state_mut(location, key) {
            if !wanted(Some(state)) {
                return false;
            }
            let (before, after) = (Extent::of(state), Extent::of(&next));
            *state = next;
            before.change_to(after, &mut shard);
            return true;
        }
        let is_added = wanted(None) && !self.capacity.is_exhausted(Step::Charge);
        if is_added {
            insert(&mut shard, location, key, next);
        }
        is_added
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
            let before = Extent::of(state);
            let outcome = self.step_state(state, now, charge, step);
            let after = Extent::of(state);
            before.change_to(after, shard);
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
        insert(shard, location, charge.key, state);
        Charged { outcome, series_id: None }
    }

    /// One operation on an existing counter, which grows only if there is capacity.
    fn step_state<V: State>(&self, state: &mut V, now: Timestamp, charge: &Charge<'_>, step: Step) -> Outcome {
        if matches!(charge.op, Op::Charge(1..)) && state.must_grow(now) && self.capacity.is_exhausted(step) {
            // This drops expired hits, which may free capacity.
            let peek = state.step(charge.limit, now, charge.op, false);
            if state.must_grow(now) {
                return self.without_capacity(peek, charge);
            }
        }
        state.step(charge.limit, now, charge.op, step != Step::Peek)
    }

    /// The outcome without capacity: a denial is not changed.
    fn without_capacity(&self, outcome: Outcome, charge: &Charge<'_>) -> Outcome {
        if outcome.admitted() { self.capacity.exhausted(charge) } else { outcome }
    }
}

/// What a shard accounts for of a state.
#[derive(Clone, Copy)]
struct Extent {
    heap: usize,
    fresh_at: Timestamp,
}

impl Extent {
    fn of<V: State>(state: &V) -> Self {
        Self { heap: state.heap_bytes(), fresh_at: state.fresh_at() }
    }

    /// Accounts for a change. Most charges take no heap memory, and only make the end later: then there is nothing to account for.
    fn change_to<V>(self, after: Self, shard: &mut impl Shard<V>) {
        if self.heap != after.heap {
            shard.book_heap(self.heap, after.heap);
        }
        if after.fresh_at < self.fresh_at {
            shard.book_end(after.fresh_at);
        }
    }
}

fn insert<V: State>(shard: &mut impl Shard<V>, location: Location, key: &[u8], state: V) {
    let Extent { heap, fresh_at } = Extent::of(&state);
    shard.insert(location, key, state, fresh_at);
    if heap > 0 {
        shard.book_heap(0, heap);
    }
}

/// Whether making it fresh changes a counter.
fn is_affected<V: State>(state: Option<&V>, now: Timestamp, only_banned: bool) -> bool {
    state.is_some_and(|state| if only_banned { state.is_banned(now) } else { !state.is_unused(now) })
}

impl Charge<'_> {
    /// The limit for a joint charge: the hits of a denied check count only if they do whichever limit denies.
    fn limit_of_joint_charge(&self) -> Limit {
        let count_denied = match self.limit.count_denied {
            CountDenied::Always => CountDenied::Always,
            CountDenied::Alone | CountDenied::Never => CountDenied::Never,
        };
        Limit { count_denied, ..*self.limit }
    }

    /// The same charge with another limit.
    fn jointly<'a>(&'a self, limit: &'a Limit) -> Charge<'a> {
        Charge { limit, ..*self }
    }
}

#[cfg(test)]
mod loom_tests;
