//! The transition of every algorithm except the log.

use super::{Algorithm, Cell, Limit, Op, Outcome, ban, bucket, fixed, sliding};
use crate::units::Timestamp;

/// One operation on a counter of any algorithm except the log. Returns the outcome and the counter's next state.
///
/// Source: the documentation of each algorithm is in its module. Cost: a few integer operations, no allocation.
pub fn step(limit: &Limit, cell: Cell, now: Timestamp, op: Op) -> (Outcome, Cell) {
    let cell = if cell.is_fresh(now) { Cell::FRESH } else { cell };
    if cell.is_ban() {
        return match limit.ban {
            _ if cell.is_operator_ban() => (ban::outcome(limit, cell.fresh_at, now, op), cell),
            Some(_) => (ban::outcome(limit, cell.fresh_at, now, op), cell),
            // The ban was removed from the configuration, so the rest of it is dropped.
            None => step(limit, Cell::FRESH, now, op),
        };
    }
    let (mut outcome, mut next) = match limit.algorithm {
        Algorithm::FixedWindow { starts } => fixed::step(limit, starts, cell, now, op),
        Algorithm::TokenBucket { burst, queue } => bucket::step(limit, burst, queue, cell, now, op),
        // A log does not fit a cell; if this is called by mistake, the bounded approximation is used.
        Algorithm::SlidingWindow | Algorithm::SlidingLog => sliding::step(limit, cell, now, op),
    };
    if let Some(until) = ban::begins(limit, now, op, &mut outcome) {
        next = Cell::ban(until);
    }
    (outcome, next)
}
