//! Copies the counters out of the store, one stripe at a time, so that no decision waits longer than for the sweep.

use std::collections::HashSet;

use smallvec::SmallVec;

use super::Memory;
use super::table::{ChangedHashes, INLINE_NAME};
use crate::engine::{self, Algorithm, Cell, Limit, Log, Op, Outcome, Reason, Verdict};
use crate::store::{LimitId, LimitKind};
use crate::units::Timestamp;

/// Iterates over all counters: each item contains those of one stripe, at the time when it was copied.
///
/// A counter that exists from the first step to the last is included exactly once; one that is created or freed meanwhile at
/// most once. This is not a snapshot: stripes are copied one after the other, while checks are decided.
///
/// A shard is locked while its records are copied, which takes about as long as sweeping it; each log is copied under a lock
/// of its own. Decode the keys afterwards.
#[derive(Debug)]
pub struct Export<'m> {
    memory: &'m Memory,
    next: ExportPosition,
    /// The time of the engine, if leased counters are exported, too.
    leased_at: Option<Timestamp>,
}

impl Export<'_> {
    /// Also the leased counters, as they were last heard of; `now` is the time of the engine.
    #[must_use]
    pub fn with_leased(self, now: Timestamp) -> Self {
        Self { leased_at: Some(now), ..self }
    }
}

/// The position of an export, from which it can be continued. Valid for one store only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportPosition(usize);

impl ExportPosition {
    /// The position as a number, from 0 on.
    pub const fn number(self) -> usize {
        self.0
    }

    /// The position with this number.
    pub const fn from_number(number: usize) -> Self {
        Self(number)
    }
}

/// A copy of one counter.
#[derive(Clone, Debug)]
pub struct ExportedCounter {
    key: Key,
    /// Its state.
    pub state: CounterState,
}

/// The state of a counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CounterState {
    /// For every algorithm except the log.
    Cell(Cell),
    /// For a sliding log. Boxed: it would make every other state six times as large.
    Log(Box<Log>),
}

/// The state of a counter that is being visited.
#[derive(Clone, Copy, Debug)]
pub enum StateRef<'s> {
    /// For every algorithm except the log.
    Cell(Cell),
    /// For a sliding log.
    Log(&'s Log),
}

/// What [`Memory::take_changed`] uses from step to step.
#[derive(Debug, Default)]
pub struct TakingRoom {
    cells: ChangedHashes,
    logs: ChangedHashes,
}

type Key = SmallVec<[u8; INLINE_NAME]>;

impl Memory {
    /// All counters, in no particular order.
    pub fn export(&self) -> Export<'_> {
        self.export_from(ExportPosition::default())
    }

    /// The rest of the counters of an export from that position on.
    pub fn export_from(&self, position: ExportPosition) -> Export<'_> {
        Export { memory: self, next: position, leased_at: None }
    }

    /// The number of steps of an export from the beginning.
    pub fn export_steps(&self) -> usize {
        self.cells.stripes()
    }

    /// The limits that have counters. Cost: a pass over all counters, with one shard locked at a time.
    pub fn limits_in_use(&self) -> HashSet<LimitId> {
        let mut found = HashSet::new();
        for stripe in 0..self.cells.stripes() {
            self.cells.visit_stripe(stripe, |key, _| found.extend(LimitId::of_key(key)));
            self.logs.visit_stripe(stripe, |key, _| found.extend(LimitId::of_key(key)));
            if let Some(leases) = &self.leases {
                leases.visit_keys(stripe, |key| found.extend(LimitId::of_key(key)));
            }
        }
        found
    }

    /// The leased counters of one stripe, as they were last heard of. Counters that are in the table as well are left out.
    fn leased(&self, stripe: usize, now: Timestamp) -> Vec<ExportedCounter> {
        let mut heard = Vec::new();
        let Some(leases) = &self.leases else { return Vec::new() };
        leases.visit_heard(stripe, now, |key, kind, cell| {
            heard.push((kind, ExportedCounter { key: SmallVec::from_slice(key), state: CounterState::Cell(cell) }));
        });
        heard.retain(|(kind, counter)| self.state(*kind, &counter.key).is_none());
        heard.into_iter().map(|(_, counter)| counter).collect()
    }

    /// Takes the counters of one step that have been changed since they were last taken, and visits them as they are now. Those that
    /// have never been `written`, and need not be because they are fresh at `until`, are left out.
    ///
    /// Cost: that of the changed ones, with a shard locked for some at a time; see [`track_changes`](Self::track_changes).
    pub fn take_changed(
        &self,
        step: usize,
        now: Timestamp,
        until: Timestamp,
        room: &mut TakingRoom,
        mut visit: impl FnMut(&[u8], StateRef<'_>),
    ) {
        self.cells.take_changed(step, &mut room.cells, |key, cell, is_written| {
            let is_needed = is_written || !cell.is_fresh(until);
            if is_needed {
                visit(key, StateRef::Cell(*cell));
            }
            is_needed && !cell.is_fresh(now)
        });
        self.logs.take_changed(step, &mut room.logs, |key, log, is_written| {
            let is_needed = is_written || !log.is_fresh(until);
            if is_needed {
                visit(key, StateRef::Log(log));
            }
            is_needed && !log.is_fresh(now)
        });
    }

    /// Visits the counters of one step that are not fresh, and marks them as written.
    pub fn write_step(&self, step: usize, now: Timestamp, mut visit: impl FnMut(&[u8], StateRef<'_>)) {
        self.cells.write_stripe(step, |key, cell| {
            let is_used = !cell.is_fresh(now);
            if is_used {
                visit(key, StateRef::Cell(*cell));
            }
            is_used
        });
        self.logs.write_stripe(step, |key, log| {
            let is_used = !log.is_fresh(now);
            if is_used {
                visit(key, StateRef::Log(log));
            }
            is_used
        });
    }

    /// The counters of limits for which `concerns` is true that an operator's ban keeps closed at `now`, with its end. Cost: a pass
    /// over all counters, with one shard locked at a time.
    pub fn operator_bans(&self, now: Timestamp, concerns: impl Fn(LimitId) -> bool) -> Vec<(Vec<u8>, Timestamp)> {
        let mut found = Vec::new();
        let mut add = |key: &[u8], ban: Option<Timestamp>| {
            if let Some(until) = ban.filter(|until| *until > now)
                && LimitId::of_key(key).is_some_and(&concerns)
            {
                found.push((key.to_vec(), until));
            }
        };
        for stripe in 0..self.cells.stripes() {
            self.cells.visit_stripe(stripe, |key, cell| add(key, cell.operator_ban_end()));
            self.logs.visit_stripe(stripe, |key, log| add(key, log.operator_ban_end()));
        }
        found
    }

    /// A copy of the state of one counter of a rule, or what was last heard of it if it is leased; `now` is the time of the engine.
    pub fn state_or_heard(&self, kind: LimitKind, key: &[u8], now: Timestamp) -> Option<CounterState> {
        let heard = || Some(CounterState::Cell(self.leases.as_ref()?.heard(key, now)?));
        self.state(kind, key).or_else(heard)
    }

    fn copy_stripe(&self, stripe: usize) -> Vec<ExportedCounter> {
        let mut logs: Vec<Key> = Vec::with_capacity(self.logs.live_in(stripe));
        self.logs.visit_stripe(stripe, |key, _| logs.push(SmallVec::from_slice(key)));
        let mut counters = Vec::with_capacity(self.cells.live_in(stripe) + logs.len());
        self.cells.visit_stripe(stripe, |key, cell| {
            counters.push(ExportedCounter { key: SmallVec::from_slice(key), state: CounterState::Cell(*cell) });
        });
        // A log may have 65,537 instants: they are copied one at a time, so that the pauses do not add up.
        let copy = |key: Key| {
            let log = self.logs.copy(&key)?;
            Some(ExportedCounter { key, state: CounterState::Log(Box::new(log)) })
        };
        counters.extend(logs.into_iter().filter_map(copy));
        counters
    }
}

impl CounterState {
    /// A counter that has never been used.
    pub fn fresh(limit: &Limit) -> Self {
        if limit.algorithm == Algorithm::SlidingLog { Self::Log(Box::new(Log::FRESH)) } else { Self::Cell(Cell::FRESH) }
    }

    /// The outcome that an operation on this copy would have. The counter is not changed.
    pub fn outcome(&self, limit: &Limit, now: Timestamp, op: Op) -> Outcome {
        match self {
            Self::Cell(cell) => engine::step(limit, *cell, now, op).0,
            Self::Log(log) => engine::log::step(limit, &mut log.clone(), now, op, true),
        }
    }

    /// The end of a ban that runs at `now`.
    pub fn banned_until(&self, limit: &Limit, now: Timestamp) -> Option<Timestamp> {
        let look = self.outcome(limit, now, Op::Charge(0));
        (look.verdict == Verdict::Denied(Reason::Banned)).then(|| now.plus(look.reset))
    }

    /// Whether it equals a counter that has never been used.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        match self {
            Self::Cell(cell) => cell.is_fresh(now),
            Self::Log(log) => log.is_fresh(now),
        }
    }
}

impl Export<'_> {
    /// The position to continue from; see [`Memory::export_from`].
    pub fn position(&self) -> ExportPosition {
        self.next
    }
}

impl Iterator for Export<'_> {
    type Item = Vec<ExportedCounter>;

    fn next(&mut self) -> Option<Self::Item> {
        let ExportPosition(stripe) = self.next;
        if stripe >= self.memory.cells.stripes() {
            return None;
        }
        self.next = ExportPosition(stripe + 1);
        let mut counters = self.memory.copy_stripe(stripe);
        if let Some(now) = self.leased_at {
            counters.extend(self.memory.leased(stripe, now));
        }
        Some(counters)
    }
}

impl ExportedCounter {
    /// Its key, which [`KeyReader`](crate::store::KeyReader) decodes.
    pub fn key(&self) -> &[u8] {
        &self.key
    }
}

#[cfg(test)]
mod tests;
