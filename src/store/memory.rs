//! The store in memory.

use smallvec::SmallVec;

use super::sweep::{SweepState, SweepStats};
use super::table::{Place, Shard, Table};
use super::{Charge, Store};
use crate::engine::{self, Algorithm, Cell, Limit, Log, Op, Outcome, Reason, Verdict};
use crate::units::{Nanos, Timestamp};

/// Every counter of this process.
#[derive(Debug)]
pub struct Memory {
    pub(super) cells: Table<Cell>,
    pub(super) logs: Table<Log>,
    budget_bytes: usize,
    when_full: WhenFull,
    pub(super) sweeping: SweepState,
}

/// What happens to a check that needs a new counter when the budget is used up and nothing can be freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// It is denied: no limit ever admits more than it allows.
    #[default]
    Deny,
    /// It passes uncounted.
    Allow,
}

/// What is to become of a counter's next state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It is kept; a new counter needs room.
    Charge,
    /// It is not kept, but a new counter would need room.
    Look,
    /// It is kept, after a look that found room: whatever else came in between, all are charged or none.
    Settle,
}

/// How full the store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupancy {
    /// Counters that exist.
    pub counters: usize,
    /// Bytes of them, names included.
    pub bytes: usize,
    /// Bytes that they may take.
    pub budget_bytes: usize,
    /// Checks that found no room for a new counter, since the start.
    pub no_room: u64,
}

impl Memory {
    /// An empty store that takes at most about `budget_bytes`.
    pub fn new(budget_bytes: usize, when_full: WhenFull) -> Self {
        Self { cells: Table::new(), logs: Table::new(), budget_bytes, when_full, sweeping: SweepState::default() }
    }

    /// How full the store is. Cost: a sum over the stripes.
    pub fn occupancy(&self) -> Occupancy {
        Occupancy {
            counters: self.cells.live() + self.logs.live(),
            bytes: self.cells.bytes() + self.logs.bytes(),
            budget_bytes: self.budget_bytes,
            no_room: self.sweeping.no_room(),
        }
    }

    /// What the sweep has done so far.
    pub fn sweep_stats(&self) -> SweepStats {
        self.sweeping.stats()
    }

    fn charge_cell(&self, now: Timestamp, charge: &Charge<'_>) -> Outcome {
        let place = self.cells.place(charge.key);
        let Some(mut shard) = self.cells.lock(place) else { return self.no_room(charge) };
        self.step_cell(&mut shard, place, now, charge, Step::Charge)
    }

    fn step_cell(
        &self,
        shard: &mut Shard<'_, Cell>,
        place: Place,
        now: Timestamp,
        charge: &Charge<'_>,
        step: Step,
    ) -> Outcome {
        if let Some(cell) = shard.state_mut(place, charge.key) {
            let (outcome, next) = engine::step(charge.limit, *cell, now, charge.op);
            if step != Step::Look {
                *cell = next;
            }
            return outcome;
        }
        let (outcome, next) = engine::step(charge.limit, Cell::FRESH, now, charge.op);
        if next == Cell::FRESH {
            return outcome;
        }
        if self.lacks_room(step) {
            return if outcome.admitted() { self.no_room(charge) } else { outcome };
        }
        if step != Step::Look {
            shard.insert(place, charge.key, next);
        }
        outcome
    }

    fn charge_log(&self, now: Timestamp, charge: &Charge<'_>) -> Outcome {
        let place = self.logs.place(charge.key);
        let Some(mut shard) = self.logs.lock(place) else { return self.no_room(charge) };
        self.step_log(&mut shard, place, now, charge, Step::Charge)
    }

    fn step_log(
        &self,
        shard: &mut Shard<'_, Log>,
        place: Place,
        now: Timestamp,
        charge: &Charge<'_>,
        step: Step,
    ) -> Outcome {
        if let Some(log) = shard.state_mut(place, charge.key) {
            let before = log.heap_bytes();
            let outcome = engine::log::step(charge.limit, log, now, charge.op, step != Step::Look);
            let after = log.heap_bytes();
            shard.book_heap(before, after);
            return outcome;
        }
        let mut log = Log::default();
        let outcome = engine::log::step(charge.limit, &mut log, now, charge.op, true);
        if log.is_fresh(now) {
            return outcome;
        }
        if self.lacks_room(step) {
            return if outcome.admitted() { self.no_room(charge) } else { outcome };
        }
        if step != Step::Look {
            let heap = log.heap_bytes();
            shard.insert(place, charge.key, log);
            shard.book_heap(0, heap);
        }
        outcome
    }

    /// Whether a new counter has to do without a place.
    fn lacks_room(&self, step: Step) -> bool {
        let settled = step == Step::Settle && self.when_full == WhenFull::Deny;
        !settled && self.cells.bytes() + self.logs.bytes() >= self.budget_bytes
    }

    fn no_room(&self, charge: &Charge<'_>) -> Outcome {
        self.sweeping.count_no_room();
        let hits = if let Op::Charge(hits) = charge.op { hits } else { 0 };
        let limit = charge.limit;
        match self.when_full {
            WhenFull::Deny => Outcome {
                verdict: Verdict::Denied(Reason::NoRoom),
                before: 0,
                after: hits,
                remaining: 0,
                reset: limit.window,
            },
            WhenFull::Allow => Outcome {
                verdict: Verdict::ADMITTED,
                before: 0,
                after: hits,
                remaining: u64::from(limit.max).saturating_sub(hits),
                reset: Nanos::ZERO,
            },
        }
    }
}

impl Store for Memory {
    fn charge(&self, now: Timestamp, charge: &Charge<'_>) -> Outcome {
        match charge.limit.algorithm {
            Algorithm::SlidingLog => self.charge_log(now, charge),
            _ => self.charge_cell(now, charge),
        }
    }

    fn charge_all(&self, now: Timestamp, charges: &[Charge<'_>], outcomes: &mut Vec<Outcome>) {
        outcomes.clear();
        if let [only] = charges {
            let limit = Limit { count_denied: false, ..*only.limit };
            outcomes.push(self.charge(now, &Charge { limit: &limit, ..*only }));
            return;
        }
        let mut locked = Locked::new(self, charges);
        let looks = locked.look(now, charges);
        let all_admit = looks.iter().all(|(_, outcome)| outcome.admitted());
        for (charge, (op, look)) in charges.iter().zip(looks) {
            let op = match charge.op {
                Op::Charge(_) if !all_admit && look.admitted() => Op::Charge(0),
                // Denied again, for the ban that a denial begins.
                Op::Charge(_) if !all_admit => op,
                _ => charge.op,
            };
            outcomes.push(locked.step(now, &Charge { op, ..*charge }, Step::Settle));
        }
    }
}

/// Several counters, their shards locked together in the order of their places, so that no two callers ever wait for
/// each other.
struct Locked<'t> {
    memory: &'t Memory,
    cells: SmallVec<[(Place, Shard<'t, Cell>); 4]>,
    logs: SmallVec<[(Place, Shard<'t, Log>); 2]>,
}

impl<'t> Locked<'t> {
    fn new(memory: &'t Memory, charges: &[Charge<'_>]) -> Self {
        let (mut cells, mut logs) = (Places::new(), Places::new());
        for charge in charges {
            match charge.limit.algorithm {
                Algorithm::SlidingLog => logs.push(memory.logs.place(charge.key)),
                _ => cells.push(memory.cells.place(charge.key)),
            }
        }
        Self { memory, cells: lock_in_order(&memory.cells, cells), logs: lock_in_order(&memory.logs, logs) }
    }

    /// What each charge would be answered if all came, one after the other, and what was asked for that; nothing is kept.
    fn look(&mut self, now: Timestamp, charges: &[Charge<'_>]) -> SmallVec<[(Op, Outcome); 4]> {
        let mut looks = SmallVec::new();
        for (i, charge) in charges.iter().enumerate() {
            let op = match charge.op {
                Op::Charge(hits @ 1..) => Op::Charge(hits.saturating_add(hits_before(charges, i))),
                op => op,
            };
            looks.push((op, self.step(now, &Charge { op, ..*charge }, Step::Look)));
        }
        looks
    }

    /// One operation on one of the locked counters. A denied check counts nowhere, so nor does it here.
    fn step(&mut self, now: Timestamp, charge: &Charge<'_>, step: Step) -> Outcome {
        let limit = Limit { count_denied: false, ..*charge.limit };
        let charge = Charge { limit: &limit, ..*charge };
        let outcome = if limit.algorithm == Algorithm::SlidingLog {
            let place = self.memory.logs.place(charge.key);
            shard_of(&mut self.logs, place).map(|shard| self.memory.step_log(shard, place, now, &charge, step))
        } else {
            let place = self.memory.cells.place(charge.key);
            shard_of(&mut self.cells, place).map(|shard| self.memory.step_cell(shard, place, now, &charge, step))
        };
        outcome.unwrap_or_else(|| self.memory.no_room(&charge))
    }
}

type Places = SmallVec<[Place; 4]>;

/// Locks each shard once, lowest first.
fn lock_in_order<V, const N: usize>(table: &Table<V>, mut places: Places) -> SmallVec<[(Place, Shard<'_, V>); N]> {
    places.sort_unstable();
    places.dedup_by(|a, b| a.shares_lock(*b));
    places.iter().filter_map(|place| Some((*place, table.lock(*place)?))).collect()
}

fn shard_of<'a, 't, V>(locked: &'a mut [(Place, Shard<'t, V>)], place: Place) -> Option<&'a mut Shard<'t, V>> {
    locked.iter_mut().find(|(held, _)| held.shares_lock(place)).map(|(_, shard)| shard)
}

/// Hits that earlier charges of the same check want from the same counter.
fn hits_before(charges: &[Charge<'_>], i: usize) -> u64 {
    let Some((charge, earlier)) = charges.get(..=i).and_then(<[_]>::split_last) else { return 0 };
    let same = earlier.iter().filter(|other| other.key == charge.key);
    same.fold(0, |sum, other| if let Op::Charge(hits) = other.op { sum.saturating_add(hits) } else { sum })
}
