//! Counters: their identity, their storage, and the operations on them.
//!
//! [`Memory`] charges one counter, or several all or nothing, at one instant. Its guarantee under concurrency has one
//! direction: **whatever the interleaving, no limit admits more than it allows**. The guarantee is exact: each charge is one
//! step under its shard's lock, and several shards are locked together, in a fixed order.
//!
//! A counter's identity is its limit, described by [`LimitDescription`] and numbered by [`LimitIds`], and the entry values
//! that the rule does not fix. It does not refer to the rule object, so counters are kept over a reload; and it can be
//! decoded: [`Memory::export`] copies counters out, [`KeyReader`] reads their keys.

mod charging;
mod description;
mod earliest;
mod key;
pub mod lease;
mod leases;
mod limit_id;
mod memory;

pub use description::{Fingerprint, LevelDescription, LimitDescription, LimitKind, RuleDescription};
pub use key::{CounterKey, CounterKeys, KeyLocation, KeyPart, KeyReader, KeyWriter, MAX_PART_BYTES};
pub use leases::{Heard, LeaseAsk, LeaseKey, LeasePart, LeasedHits, Leases, Ticket};
pub use limit_id::{LimitId, LimitIds, LimitTable, MAX_REMOVED};
pub use memory::{
    CounterState, Export, ExportPosition, ExportedCounter, Memory, Occupancy, StateRef, SweepStats, TakingRoom,
    WhenFull,
};

use crate::engine::{Limit, Op, Outcome};

/// One operation on one counter.
#[derive(Clone, Copy, Debug)]
pub struct Charge<'a> {
    /// The limit of the counter.
    pub limit: &'a Limit,
    /// The key of the counter, as made by [`CounterKeys`].
    pub key: &'a [u8],
    /// The operation.
    pub op: Op,
}

/// Charges of one check that are admitted or denied together: the limits of one descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Their effect on the check.
    pub role: Role,
    /// The number of charges. A group without charges admits.
    pub charges: usize,
}

/// The effect of a group of charges on its check. Ordered: groups are charged in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The check is denied if the group is.
    Required,
    /// The check is denied if all quota groups are. If some admit, the others are not charged, except for hits that count
    /// although denied.
    Quota,
    /// The group denies nothing; it is charged if the check is admitted.
    Observed,
}

impl Group {
    /// A group of charges that must all admit.
    pub const fn required(charges: usize) -> Self {
        Self { role: Role::Required, charges }
    }

    fn can_deny(self) -> bool {
        self.role != Role::Observed
    }
}

/// What became of a state that was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    /// Its counter is new.
    Added,
    /// An earlier state of its counter was replaced.
    Replaced,
    /// An earlier state of its counter was replaced by a fresh one.
    Freed,
    /// It is fresh, and its counter does not exist.
    Spent,
    /// There is no capacity for its counter.
    NoRoom,
}

/// The result of a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charged {
    /// The outcome from the engine.
    pub outcome: Outcome,
    /// The number of the counter's series, set by [`Memory::set_series`]; `None` if it has none yet, or the counter does not
    /// exist.
    pub series_id: Option<u32>,
}
