//! The store in memory.

mod export;
mod sweep;
mod table;

pub use export::{CounterState, Export, ExportPosition, ExportedCounter, StateRef, TakingRoom};
pub use sweep::SweepStats;
pub(super) use table::{LockedShard, Table};

use std::sync::Arc;

use smallvec::SmallVec;

use super::charging::{Capacity, Location, Shards, Step, Transaction};
use super::lease::{Charging, Now};
use super::leases::{Charger, Host, LeasePart, Leases, Names};
use super::{Charge, Charged, Group, LimitKind, Restored};
use crate::engine::{Algorithm, Cell, Limit, Log, Op, Outcome, Reason, Verdict};
use crate::units::{Nanos, Timestamp};
use sweep::SweepState;

/// Every counter of this process.
#[derive(Debug)]
pub struct Memory {
    cells: Table<Cell>,
    logs: Table<Log>,
    /// Leases of counters that replicas share; `None`: they share none.
    leases: Option<Arc<Leases>>,
    budget_bytes: usize,
    when_full: WhenFull,
    sweeping: SweepState,
}

/// What happens to a check that needs a new counter when the budget is exhausted and nothing can be freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// It is denied, so that no limit ever admits more than it allows.
    #[default]
    Deny,
    /// It is admitted without counting.
    Allow,
}

/// The occupancy of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupancy {
    /// The number of counters.
    pub counters: usize,
    /// Their memory in bytes, including keys.
    pub bytes: usize,
    /// The memory budget in bytes.
    pub budget_bytes: usize,
    /// Checks without capacity for a new counter, since the start.
    pub no_room: u64,
}

impl Memory {
    /// An empty store with this memory budget, which is approximate.
    pub fn new(budget_bytes: usize, when_full: WhenFull) -> Self {
        let (cells, logs) = (Table::new(), Table::new());
        Self { cells, logs, leases: None, budget_bytes, when_full, sweeping: SweepState::default() }
    }

    /// The same, with leases of counters that replicas share, which count to its budget.
    pub fn with_leases(self, leases: Option<Arc<Leases>>) -> Self {
        Self { leases, ..self }
    }

    /// The occupancy. Cost: a sum over the stripes.
    pub fn occupancy(&self) -> Occupancy {
        Occupancy {
            counters: self.cells.live()
                + self.logs.live()
                + self.leases.as_ref().map_or(0, |leases| leases.occupancy().0),
            bytes: self.bytes(),
            budget_bytes: self.budget_bytes,
            no_room: self.sweeping.no_room(),
        }
    }

    /// The counts of the sweep.
    pub fn sweep_stats(&self) -> SweepStats {
        self.sweeping.stats()
    }

    /// Charges one counter. Never admits more than the limit allows, whatever happens concurrently.
    pub fn charge(&self, now: Timestamp, charge: &Charge<'_>) -> Charged {
        self.transaction().one(now, charge)
    }

    /// Loads counters that are about to be charged, so that the charges find them in the processor's caches; passes on the numbers of their
    /// series. It has no other effect, and waits for nobody.
    ///
    /// Worth it for several counters, before the first one is charged: their misses of the cache overlap.
    pub fn load_ahead<'k>(
        &self,
        counters: impl IntoIterator<Item = (&'k Limit, &'k [u8]), IntoIter: Clone>,
        mut series: impl FnMut(u32),
    ) {
        let counters = counters.into_iter();
        if let Some(leases) = &self.leases {
            let leased: SmallVec<[Location; 32]> =
                counters.clone().map(|(limit, key)| leases.locate(limit, key)).collect();
            if leases.load_ahead(&leased, &mut series) == leased.len() {
                // Counters that are leased are not in the other tables.
                return;
            }
        }
        let (mut cells, mut logs): (SmallVec<[Location; 32]>, SmallVec<[Location; 1]>) = Default::default();
        for (limit, key) in counters {
            match limit.algorithm {
                Algorithm::SlidingLog => logs.push(self.logs.locate(key)),
                _ => cells.push(self.cells.locate(key)),
            }
        }
        self.cells.load_ahead(&cells, |_| 0, &mut series);
        self.logs.load_ahead(&logs, |_| 0, series);
    }

    /// Charges several counters in one step: all of them, or none if one denies. Returns whether the check is admitted.
    ///
    /// `charges` are those of `groups`, one group after the other. A check is denied if a required group is, or if there are
    /// quota groups and all of them are. Then only limits whose denied hits [always](crate::engine::CountDenied::Always) count
    /// are charged. Refunds take effect in any case.
    ///
    /// The outcomes have the order of `charges`. After a denial, those of groups that would have admitted are the outcomes of a
    /// peek without hits. A counter that denies the check begins a ban if its limit has one, without being charged.
    pub fn charge_groups(
        &self,
        now: Timestamp,
        groups: &[Group],
        charges: &[Charge<'_>],
        outcomes: &mut Vec<Charged>,
    ) -> bool {
        self.transaction().groups(now, groups, charges, outcomes)
    }

    /// [`Memory::charge_groups`] with one required group.
    pub fn charge_all(&self, now: Timestamp, charges: &[Charge<'_>], outcomes: &mut Vec<Charged>) -> bool {
        self.charge_groups(now, &[Group::required(charges.len())], charges, outcomes)
    }

    /// Charges leases of these counters in one step, or none; those of one group after the other, as
    /// [`charge_groups`](Self::charge_groups) does. `names` makes the name on the engine of a counter that has no lease yet, from its key
    /// and the fingerprint of its rule.
    ///
    /// A part of a check that has to wait has a ticket afterwards: the engine has to be asked for it. It keeps the ticket until the
    /// check is decided.
    pub fn charge_leases(
        &self,
        leases: &Arc<Leases>,
        now: Now,
        groups: &[Group],
        parts: &mut [LeasePart<'_>],
        names: &Names<'_>,
    ) -> Charging {
        Charger { leases, host: self, names, now }.charge(groups, parts)
    }

    /// Bans one counter until then: whatever its state is, each check is denied until then, and finds it fresh afterwards.
    /// Returns false if there is no capacity for a new counter.
    pub fn ban(&self, kind: LimitKind, key: &[u8], until: Timestamp) -> bool {
        let is_banned = self.transaction().ban(kind, key, until);
        if let Some(leases) = self.leases.as_ref().filter(|_| is_banned) {
            leases.ban(key, Some(until));
        }
        is_banned
    }

    /// Makes one counter fresh, and lifts its ban. Returns whether it was used or banned; of a leased one only its engine knows that.
    pub fn reset(&self, now: Timestamp, kind: LimitKind, key: &[u8]) -> bool {
        if let Some(leases) = &self.leases {
            leases.reset(key);
        }
        self.transaction().reset(now, kind, key, false)
    }

    /// Makes one counter fresh if a ban runs. Returns whether it did.
    pub fn unban(&self, now: Timestamp, kind: LimitKind, key: &[u8]) -> bool {
        if let Some(leases) = &self.leases {
            leases.ban(key, None);
        }
        self.transaction().reset(now, kind, key, true)
    }

    /// Loads the places of cells that are about to be [restored](Self::restore), as [`load_ahead`](Self::load_ahead) does for charges.
    pub fn load_kept<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) {
        let cells: SmallVec<[Location; 32]> = keys.map(|key| self.cells.locate(key)).collect();
        self.cells.load_ahead(&cells, |_| 0, |_| {});
    }

    /// Gives a counter a state that was kept, in the place of an earlier one. Only before changes are tracked.
    pub fn restore(&self, now: Timestamp, key: &[u8], state: CounterState) -> Restored {
        let is_fresh = state.is_fresh(now);
        match state {
            CounterState::Cell(cell) => self.transaction().restore_cell(key, cell, is_fresh),
            CounterState::Log(log) => self.transaction().restore_log(key, *log, is_fresh),
        }
    }

    /// Keeps what another place says of a counter, unless an operator's ban runs: that one is ours. A new counter needs capacity.
    /// Returns the number of its series, if it has been set.
    pub fn note(&self, now: Timestamp, key: &[u8], state: CounterState) -> Option<u32> {
        let is_fresh = state.is_fresh(now);
        match state {
            CounterState::Cell(cell) => self.transaction().note_cell(now, key, cell, is_fresh),
            CounterState::Log(log) => self.transaction().note_log(now, key, *log, is_fresh),
        }
    }

    /// Notes changed counters from now on, for [`take_changed`](Self::take_changed), or no longer. While it does, counters that were
    /// changed are not freed before they are taken.
    pub fn track_changes(&self, tracks: bool) {
        self.cells.track(tracks);
        self.logs.track(tracks);
    }

    /// A copy of the state of one counter; `None` if it does not exist.
    pub fn state(&self, kind: LimitKind, key: &[u8]) -> Option<CounterState> {
        if let LimitKind::SlidingLog(_) = kind {
            self.logs.copy(key).map(|log| CounterState::Log(Box::new(log)))
        } else {
            self.cells.copy(key).map(CounterState::Cell)
        }
    }

    /// Stores the number of a counter's series with its state, so that later charges report it. Does nothing if the counter does
    /// not exist. Cost: one short lock, once in the life of a counter.
    pub fn set_series(&self, limit: &Limit, key: &[u8], series_id: u32) {
        let is_set = match limit.algorithm {
            Algorithm::SlidingLog => self.logs.set_series(key, series_id),
            _ => self.cells.set_series(key, series_id),
        };
        if let Some(leases) = self.leases.as_ref().filter(|_| !is_set) {
            leases.set_series(limit, key, series_id);
        }
    }

    fn bytes(&self) -> usize {
        self.cells.bytes() + self.logs.bytes() + self.leases.as_ref().map_or(0, |leases| leases.occupancy().1)
    }

    fn transaction(&self) -> Transaction<'_, Table<Cell>, Table<Log>, Self> {
        Transaction { cells: &self.cells, logs: &self.logs, capacity: self }
    }
}

impl Capacity for Memory {
    fn is_exhausted(&self, step: Step) -> bool {
        let settled = step == Step::Settle && self.when_full == WhenFull::Deny;
        !settled && self.bytes() >= self.budget_bytes
    }

    fn exhausted(&self, charge: &Charge<'_>) -> Outcome {
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

impl Host for Memory {
    fn has_room(&self) -> bool {
        !self.is_exhausted(Step::Charge)
    }

    fn exhausted(&self, limit: &Limit, op: Op) -> Outcome {
        Capacity::exhausted(self, &Charge { limit, key: &[], op })
    }

    fn ban_of(&self, limit: &Limit, key: &[u8]) -> Option<Timestamp> {
        match self.state(LimitKind::from(limit), key)? {
            CounterState::Cell(cell) => cell.operator_ban_end(),
            CounterState::Log(log) => log.operator_ban_end(),
        }
    }
}
