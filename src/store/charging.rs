//! Charges counters, one or several, wherever they stand.
//!
//! It asks for little: shards that can be locked ([`Shelf`]), and a word on room for new counters ([`Room`]). So the very
//! code that serves runs under loom, on shelves of loom's locks.

use smallvec::SmallVec;

use super::{Charge, Charged};
use crate::engine::{self, Algorithm, Cell, Limit, Log, Op, Outcome, Reason, Verdict};
use crate::units::Timestamp;

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
            let place = self.logs.place(charge.key);
            self.logs.lock(place).map(|mut shard| self.step_log(&mut shard, place, now, charge, Step::Charge))
        } else {
            let place = self.cells.place(charge.key);
            self.cells.lock(place).map(|mut shard| self.step_cell(&mut shard, place, now, charge, Step::Charge))
        };
        charged.unwrap_or_else(|| Charged { outcome: self.room.refuse(charge), tag: None })
    }

    /// Asks several counters, all of their shards locked: charges all, or none.
    pub(super) fn all(&self, now: Timestamp, charges: &[Charge<'_>], outcomes: &mut Vec<Charged>) {
        outcomes.clear();
        if let [only] = charges {
            let limit = Limit { count_denied: false, ..*only.limit };
            outcomes.push(self.one(now, &Charge { limit: &limit, ..*only }));
            return;
        }
        let mut locked = Locked::new(self, charges);
        let looks = locked.look(now, charges);
        let all_admit = looks.iter().all(|(_, outcome)| outcome.admitted());
        for (charge, (op, look)) in charges.iter().zip(looks) {
            let op = match (charge.op, look.verdict) {
                (Op::Charge(_), Verdict::Denied(Reason::NoRoom)) => {
                    outcomes.push(Charged { outcome: look, tag: None });
                    continue;
                }
                (Op::Charge(_), Verdict::Admitted { .. }) if !all_admit => Op::Charge(0),
                // Denied again, for the ban that a denial begins.
                (Op::Charge(_), Verdict::Denied(_)) => op,
                (op, _) => op,
            };
            outcomes.push(locked.step(now, &Charge { op, ..*charge }, Step::Settle));
        }
    }

    fn step_cell(
        &self,
        shard: &mut impl Shard<Cell>,
        place: Place,
        now: Timestamp,
        charge: &Charge<'_>,
        step: Step,
    ) -> Charged {
        if let Some((cell, tag)) = shard.state_mut(place, charge.key) {
            let (outcome, next) = engine::step(charge.limit, *cell, now, charge.op);
            if step != Step::Look {
                *cell = next;
            }
            return Charged { outcome, tag: Some(tag) };
        }
        let (outcome, state) = engine::step(charge.limit, Cell::FRESH, now, charge.op);
        if state == Cell::FRESH {
            return Charged { outcome, tag: None };
        }
        if self.room.lacks_room(step) {
            return self.without_room(outcome, charge);
        }
        if step == Step::Look {
            return Charged { outcome, tag: None };
        }
        let tag = charge.new_tag();
        shard.insert(place, charge.key, state, tag);
        Charged { outcome, tag: Some(tag) }
    }

    fn step_log(
        &self,
        shard: &mut impl Shard<Log>,
        place: Place,
        now: Timestamp,
        charge: &Charge<'_>,
        step: Step,
    ) -> Charged {
        if let Some((log, tag)) = shard.state_mut(place, charge.key) {
            let before = log.heap_bytes();
            let outcome = engine::log::step(charge.limit, log, now, charge.op, step != Step::Look);
            let after = log.heap_bytes();
            shard.book_heap(before, after);
            return Charged { outcome, tag: Some(tag) };
        }
        let mut log = Log::default();
        let outcome = engine::log::step(charge.limit, &mut log, now, charge.op, true);
        if log.is_fresh(now) {
            return Charged { outcome, tag: None };
        }
        if self.room.lacks_room(step) {
            return self.without_room(outcome, charge);
        }
        if step == Step::Look {
            return Charged { outcome, tag: None };
        }
        let (heap, tag) = (log.heap_bytes(), charge.new_tag());
        shard.insert(place, charge.key, log, tag);
        shard.book_heap(0, heap);
        Charged { outcome, tag: Some(tag) }
    }

    /// The answer of a counter that has no place: a denial stays what it is.
    fn without_room(&self, outcome: Outcome, charge: &Charge<'_>) -> Charged {
        Charged { outcome: if outcome.admitted() { self.room.refuse(charge) } else { outcome }, tag: None }
    }
}

impl Charge<'_> {
    fn new_tag(&self) -> u32 {
        self.tags.map_or(0, |tags| tags.tag(self.key))
    }
}

/// Several counters, their shards locked together in the order of their places, so that no two callers ever wait for
/// each other.
struct Locked<'m, C: Shelf<Cell> + 'm, L: Shelf<Log> + 'm, R> {
    charging: &'m Charging<'m, C, L, R>,
    cells: LockedShards<C::Shard<'m>>,
    logs: LockedShards<L::Shard<'m>>,
}

type LockedShards<S> = SmallVec<[(Place, S); 4]>;

impl<'m, C: Shelf<Cell>, L: Shelf<Log>, R: Room> Locked<'m, C, L, R> {
    fn new(charging: &'m Charging<'m, C, L, R>, charges: &[Charge<'_>]) -> Self {
        let (mut cells, mut logs) = (Places::new(), Places::new());
        for charge in charges {
            match charge.limit.algorithm {
                Algorithm::SlidingLog => logs.push(charging.logs.place(charge.key)),
                _ => cells.push(charging.cells.place(charge.key)),
            }
        }
        Self { charging, cells: lock_in_order(charging.cells, cells), logs: lock_in_order(charging.logs, logs) }
    }

    /// What each charge would be answered if all came, one after the other, and what was asked for that; nothing is kept.
    fn look(&mut self, now: Timestamp, charges: &[Charge<'_>]) -> SmallVec<[(Op, Outcome); 4]> {
        let mut looks = SmallVec::new();
        for (i, charge) in charges.iter().enumerate() {
            let op = match charge.op {
                Op::Charge(hits @ 1..) => Op::Charge(hits.saturating_add(hits_before(charges, i))),
                op => op,
            };
            looks.push((op, self.step(now, &Charge { op, ..*charge }, Step::Look).outcome));
        }
        looks
    }

    /// One operation on one of the locked counters. A denied check counts nowhere, so nor does it here.
    fn step(&mut self, now: Timestamp, charge: &Charge<'_>, step: Step) -> Charged {
        let limit = Limit { count_denied: false, ..*charge.limit };
        let charge = Charge { limit: &limit, ..*charge };
        let charging = self.charging;
        let charged = if limit.algorithm == Algorithm::SlidingLog {
            let place = charging.logs.place(charge.key);
            shard_of(&mut self.logs, place).map(|shard| charging.step_log(shard, place, now, &charge, step))
        } else {
            let place = charging.cells.place(charge.key);
            shard_of(&mut self.cells, place).map(|shard| charging.step_cell(shard, place, now, &charge, step))
        };
        charged.unwrap_or_else(|| Charged { outcome: charging.room.refuse(&charge), tag: None })
    }
}

impl Place {
    /// Whether both names are under one lock.
    fn shares_lock(self, other: Self) -> bool {
        (self.stripe, self.shard) == (other.stripe, other.shard)
    }
}

type Places = SmallVec<[Place; 4]>;

/// Locks each shard once, lowest first.
fn lock_in_order<V, S: Shelf<V>>(shelf: &S, mut places: Places) -> LockedShards<S::Shard<'_>> {
    places.sort_unstable();
    places.dedup_by(|a, b| a.shares_lock(*b));
    places.iter().filter_map(|place| Some((*place, shelf.lock(*place)?))).collect()
}

fn shard_of<S>(locked: &mut [(Place, S)], place: Place) -> Option<&mut S> {
    locked.iter_mut().find(|(held, _)| held.shares_lock(place)).map(|(_, shard)| shard)
}

/// Hits that earlier charges of the same check want from the same counter.
fn hits_before(charges: &[Charge<'_>], i: usize) -> u64 {
    let Some((charge, earlier)) = charges.get(..=i).and_then(<[_]>::split_last) else { return 0 };
    let same = earlier.iter().filter(|other| other.key == charge.key);
    same.fold(0, |sum, other| if let Op::Charge(hits) = other.op { sum.saturating_add(hits) } else { sum })
}

#[cfg(test)]
mod loom_tests;
