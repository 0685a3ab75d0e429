//! Exact counting of plain fixed windows by INCRBY: a quarter of what the script costs the engine.

use redis::{Cmd, Pipeline, Value};

use super::exact::{SharedCharge, TooManyKeys, hits_of, item, numbered_key};
use super::exact_reply::{Item, SharedOutcome, cell_outcome};
use crate::engine::{Algorithm, Cell, CountDenied, Limit, Op};
use crate::units::{Nanos, Timestamp};

/// Charges of plain windows in one request to one node.
///
/// INCRBY sets no expiry. So the first charge of a window by this replica has to be in an [`ExactBatch`](super::ExactBatch), which uses
/// the same keys; see [`window_of`](Self::window_of).
#[derive(Clone, Debug)]
pub struct PlainBatch {
    clock: Timestamp,
    items: Vec<Item>,
    keys: Vec<String>,
}

impl PlainBatch {
    /// An empty batch; `clock` is the time of the engine, as far as it is known.
    pub fn new(clock: Timestamp) -> Self {
        Self { clock, items: Vec::new(), keys: Vec::new() }
    }

    /// Whether a charge can be made by INCRBY: one of an aligned window without a ban whose denied hits count, and which is not charged
    /// jointly with others.
    pub fn takes(limit: &Limit, op: Op) -> bool {
        let is_window = matches!(limit.algorithm, Algorithm::FixedWindow { starts } if starts.is_aligned());
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
        let key = numbered_key(charge.key, &item);
        self.keys.push(key);
        self.items.push(item);
        Ok(())
    }

    /// The request.
    pub fn pipeline(&self) -> Pipeline {
        let mut pipeline = Pipeline::with_capacity(self.items.len());
        for command in self.commands() {
            pipeline.add_command(command);
        }
        pipeline
    }

    /// The commands of the request.
    pub(super) fn commands(&self) -> impl Iterator<Item = Cmd> {
        self.keys.iter().zip(&self.items).map(|(key, item)| {
            let mut command = Cmd::with_capacity(3, INCRBY.len() + key.len() + HITS_BYTES);
            command.arg(INCRBY).arg(key).arg(hits_of(item));
            command
        })
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Reads the replies; `None` for a key with a value that is not ours.
    pub fn read(&self, replies: &[Value]) -> Vec<Option<SharedOutcome>> {
        let outcome = |(item, reply): (&Item, &Value)| {
            let (end, before) = (item.window_end?, before(item, reply)?);
            let cell = if before == 0 { Cell::FRESH } else { Cell::from_parts(end, before) };
            Some(cell_outcome(item, &item.limit, cell, self.clock, item.op))
        };
        self.items.iter().zip(replies).map(outcome).collect()
    }

    /// What sets the expiry of keys that these replies show to be new although the caller has charged them before, because the engine
    /// has forgotten them; `None`: there are none.
    pub fn expiries(&self, replies: &[Value]) -> Option<Pipeline> {
        let mut pipeline = Pipeline::new();
        for ((item, key), reply) in self.items.iter().zip(&self.keys).zip(replies) {
            if before(item, reply) == Some(0)
                && let Some(end) = item.window_end
            {
                pipeline.cmd("PEXPIREAT").arg(key).arg(end.plus(Nanos::SECOND).as_ns() / 1_000_000);
            }
        }
        (!pipeline.is_empty()).then_some(pipeline)
    }
}

/// The count before a charge.
fn before(item: &Item, reply: &Value) -> Option<u64> {
    let Value::Int(after) = reply else { return None };
    u64::try_from(*after).ok()?.checked_sub(hits_of(item))
}

const INCRBY: &str = "INCRBY";
/// Of the most hits that a command charges.
const HITS_BYTES: usize = 10;
/// Larger charges are made by the script: a sum that overflows would be an error.
const MAX_PLAIN_HITS: u64 = 1 << 32;
