//! What a counter keeps: a cell, or a log of its hits. A charge goes the same way for both, and is compiled for each.

use crate::engine::{self, Cell, Limit, Log, Op, Outcome};
use crate::units::Timestamp;

/// The state of one counter.
pub(super) trait State: Sized {
    /// That of a counter that has never been used.
    const FRESH: Self;

    /// One operation. With `commit` false the answer is the same, and the state as before but for what has expired.
    fn step(&mut self, limit: &Limit, now: Timestamp, op: Op, commit: bool) -> Outcome;

    /// After the first operation: whether the counter need not be kept, because it equals one that was never used.
    fn is_unused(&self, now: Timestamp) -> bool;

    /// Bytes on the heap.
    fn heap_bytes(&self) -> usize {
        0
    }

    /// Whether hits of a new instant would take more of the heap.
    fn must_grow(&self, _now: Timestamp) -> bool {
        false
    }
}

impl State for Cell {
    const FRESH: Self = Self::FRESH;

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
}

impl State for Log {
    const FRESH: Self = Self::FRESH;

    fn step(&mut self, limit: &Limit, now: Timestamp, op: Op, commit: bool) -> Outcome {
        engine::log::step(limit, self, now, op, commit)
    }

    fn is_unused(&self, now: Timestamp) -> bool {
        self.is_fresh(now)
    }

    fn heap_bytes(&self) -> usize {
        self.heap_bytes()
    }

    fn must_grow(&self, now: Timestamp) -> bool {
        self.must_grow(now)
    }
}
