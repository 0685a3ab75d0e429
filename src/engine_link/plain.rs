//! Exact counting of plain fixed windows by INCRBY: a quarter of what the script costs the engine.

use redis::{Pipeline, Value};

use super::exact::{SharedCharge, TooManyKeys, hits_of, item, numbered_key};
use super::exact_reply::Item;
use crate::engine::{self, Algorithm, Cell, CountDenied, Limit, Op, Outcome, Starts};
use crate::units::{Nanos, Timestamp};

/// Charges of plain windows in one request to one node.
///
/// INCRBY sets no expiry. So the first charge of a window by this replica has to be in an [`ExactBatch`](super::ExactBatch), which uses
/// the same keys; see [`window_of`](Self::window_of).
#[derive(Clone, Debug)]
pub struct PlainBatch {
    clock: Timestamp,
    pipeline: Pipeline,
    items: Vec<Item>,
}

impl PlainBatch {
    /// An empty batch; `clock` is the time of the engine, as far as it is known.
    pub fn new(clock: Timestamp) -> Self {
        Self { clock, pipeline: Pipeline::new(), items: Vec::new() }
    }

    /// Whether a charge can be made by INCRBY: one of a clock window without a ban whose denied hits count, and which is not charged
    /// jointly with others.
    pub fn takes(limit: &Limit, op: Op) -> bool {
        let is_window = limit.algorithm == Algorithm::FixedWindow { starts: Starts::Clock };
        let is_charge = matches!(op, Op::Charge(1..=MAX_PLAIN_HITS));
        is_window && is_charge && limit.ban.is_none() && limit.count_denied != CountDenied::Never
    }

    /// The end of the window that a charge falls into, by which the caller knows whether it has charged the window before.
    pub fn window_of(limit: &Limit, clock: Timestamp) -> Option<Timestamp> {
        item(limit, Op::Charge(0), clock).window_end
    }

    /// Adds a charge, for which [`takes`](Self::takes) is true.
    ///
    /// # Errors
    /// The batch is full.
    pub fn add(&mut self, charge: SharedCharge<'_>) -> Result<(), TooManyKeys> {
        if self.items.len() >= super::exact::MAX_KEYS {
            return Err(TooManyKeys);
        }
        let item = item(charge.limit, charge.op, self.clock);
        self.pipeline.cmd("INCRBY").arg(numbered_key(charge.key, &item)).arg(hits_of(&item));
        self.items.push(item);
        Ok(())
    }

    /// The request.
    pub const fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// Reads the replies; `None` for a key with a value that is not ours.
    pub fn read(&self, replies: &[Value]) -> Vec<Option<Outcome>> {
        let outcome = |(item, reply): (&Item, &Value)| {
            let Value::Int(after) = reply else { return None };
            let end = item.window_end?;
            let before = u64::try_from(*after).ok()?.checked_sub(hits_of(item))?;
            let now = self.clock.min(end.minus(Nanos::from_ns(1)));
            let cell = if before == 0 { Cell::FRESH } else { Cell::from_parts(end, before) };
            Some(engine::step(&item.limit, cell, now, item.op).0)
        };
        self.items.iter().zip(replies).map(outcome).collect()
    }
}

/// Larger charges are made by the script: a sum that overflows would be an error.
const MAX_PLAIN_HITS: u64 = 1 << 32;
