//! The state of one counter in 16 bytes, and the one transition that every algorithm but the log goes through.

use super::{Algorithm, Limit, Op, Outcome, ban, bucket, fixed, sliding};
use crate::units::Timestamp;

/// The state of one counter.
///
/// What `state` means is the algorithm's matter; `fresh_at` means the same for all: from then on the counter equals one
/// that has never been used, and may be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// When the counter equals a fresh one. [`Timestamp::MAX`] stands for never: time does not go that far.
    pub(super) fresh_at: Timestamp,
    pub(super) state: u64,
}

impl Cell {
    /// A counter that has never been used.
    pub const FRESH: Self = Self { fresh_at: Timestamp::EPOCH, state: 0 };

    /// The state that marks a ban until `fresh_at`. No algorithm's own state takes this value.
    const BAN: u64 = u64::MAX;

    /// The largest count that a state may hold.
    pub(super) const MAX_COUNT: u64 = Self::BAN - 1;

    /// A ban until `until`.
    pub(super) const fn ban(until: Timestamp) -> Self {
        Self { fresh_at: until, state: Self::BAN }
    }

    pub(super) const fn is_ban(self) -> bool {
        self.state == Self::BAN
    }

    /// Whether the counter equals one that has never been used.
    pub fn is_fresh(self, now: Timestamp) -> bool {
        self.fresh_at <= now && self.fresh_at < Timestamp::MAX
    }
}

/// One operation on a counter of any algorithm but the log: the answer and the counter's next state.
///
/// Source: the contract of each algorithm stands in its module. Cost: a few integer operations, no allocation.
pub fn step(limit: &Limit, cell: Cell, now: Timestamp, op: Op) -> (Outcome, Cell) {
    let cell = if cell.is_fresh(now) { Cell::FRESH } else { cell };
    if cell.is_ban() {
        return match limit.ban {
            Some(_) => (ban::outcome(limit, cell.fresh_at, now, op), cell),
            // The ban was taken out of the configuration: so is what is left of it.
            None => step(limit, Cell::FRESH, now, op),
        };
    }
    let (mut outcome, mut next) = match limit.algorithm {
        Algorithm::FixedWindow { starts } => fixed::step(limit, starts, cell, now, op),
        Algorithm::TokenBucket { burst, queue } => bucket::step(limit, burst, queue, cell, now, op),
        // The log keeps more than a cell; asked for by mistake, its bounded relative answers.
        Algorithm::SlidingWindow | Algorithm::SlidingLog => sliding::step(limit, cell, now, op),
    };
    if let Some(until) = ban::begins(limit, now, op, &mut outcome) {
        next = Cell::ban(until);
    }
    (outcome, next)
}
