//! The state of a counter: a cell, or a log of its hits. The code of a charge is generic, and compiled for both.

use crate::engine::{self, Cell, Limit, Log, Op, Outcome};
use crate::units::Timestamp;

/// The state of one counter.
pub(super) trait State: Sized {
    /// The state of a counter that has never been used.
    const FRESH: Self;

    /// Whether a ban runs at `now`.
    fn is_banned(&self, now: Timestamp) -> bool;

    /// One operation. With `commit` false the outcome is the same, but only expired hits are removed from the state.
    fn step(&mut self, limit: &Limit, now: Timestamp, op: Op, commit: bool) -> Outcome;

    /// After the first operation: whether the counter need not be kept, because it equals one that has never been used.
    fn is_unused(&self, now: Timestamp) -> bool;

    /// The instant from which on the counter equals one that has never been used, unless it is charged again; [`Timestamp::MAX`]: never.
    fn fresh_at(&self) -> Timestamp;

    /// Bytes on the heap.
    fn heap_bytes(&self) -> usize {
        0
    }

    /// Whether hits at a new instant would need more heap memory.
    fn must_grow(&self, _now: Timestamp) -> bool {
        false
    }
}

impl State for Cell {
    const FRESH: Self = Self::FRESH;

    fn is_banned(&self, now: Timestamp) -> bool {
        Self::is_banned(*self, now)
    }

    fn step(&mut self, limit: &Limit, now: Timestamp, op: Op, commit: bool) -> Outcome {
        let (outcome, next) = engine::step(limit, *self, now, op);
        if commit {
            *self = next;
        }
        outcome
    }

    fn is_unused(&self, _now: Timestamp) -> bool {
        *self == Self::FRESH
    }

    fn fresh_at(&self) -> Timestamp {
        Self::fresh_at(*self)
    }
}

impl State for Log {
    const FRESH: Self = Self::FRESH;

    fn is_banned(&self, now: Timestamp) -> bool {
        self.is_banned(now)
    }

    fn step(&mut self, limit: &Limit, now: Timestamp, op: Op, commit: bool) -> Outcome {
        engine::log::step(limit, self, now, op, commit)
    }

    fn is_unused(&self, now: Timestamp) -> bool {
        self.is_fresh(now)
    }

    fn fresh_at(&self) -> Timestamp {
        self.fresh_at()
    }

    fn heap_bytes(&self) -> usize {
        self.heap_bytes()
    }

    fn must_grow(&self, now: Timestamp) -> bool {
        self.must_grow(now)
    }
}
