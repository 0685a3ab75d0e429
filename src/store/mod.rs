//! Counters: who they are, where they live, and the one way to change them.
//!
//! [`Memory`] charges one counter, or several all or nothing, at one instant. Its promise on concurrency has one
//! direction: **whatever the interleaving, no limit admits more than it allows**. It keeps the promise exactly: each charge
//! is one step under its shard's lock; several counters are locked together, in one order.
//!
//! A counter's identity is its limit, described by [`LimitDescription`] and numbered by [`LimitIds`], and the entry
//! values that the rule leaves open. It says nothing about the rule object, so counters outlive a reload; and it can be
//! read back: [`Memory::export`] copies counters out, [`KeyReader`] reads their keys.

mod charging;
mod description;
mod key;
mod limit_id;
mod memory;

pub use description::{Fingerprint, LevelDescription, LimitDescription, LimitKind, RuleDescription};
pub use key::{CounterKey, CounterKeys, KeyLocation, KeyPart, KeyReader, KeyWriter, MAX_PART_BYTES};
pub use limit_id::{LimitId, LimitIds, LimitTable, MAX_REMOVED};
pub use memory::{CounterState, Export, ExportPosition, ExportedCounter, Memory, Occupancy, SweepStats, WhenFull};

use crate::engine::{Limit, Op, Outcome};

/// One operation on one counter.
#[derive(Clone, Copy, Debug)]
pub struct Charge<'a> {
    /// What the counter is decided by.
    pub limit: &'a Limit,
    /// Which counter: a key as [`CounterKeys`] makes them.
    pub key: &'a [u8],
    /// What is asked of it.
    pub op: Op,
}

/// Charges of one check that stand and fall together: the limits of one descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// What they mean for the check.
    pub role: Role,
    /// How many there are. A group without charges admits.
    pub charges: usize,
}

/// What a group of charges means for its check. Ordered: the order in which groups are charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The check is denied if the group is.
    Required,
    /// The check is denied if all quota groups are. If some admit, those that do not stay uncharged but for hits that
    /// count though denied.
    Quota,
    /// The group denies nothing; it is charged if the check is admitted.
    Observed,
}

impl Group {
    /// Charges that must all admit.
    pub const fn required(charges: usize) -> Self {
        Self { role: Role::Required, charges }
    }

    fn can_deny(self) -> bool {
        self.role != Role::Observed
    }
}

/// The answer of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charged {
    /// What the engine says.
    pub outcome: Outcome,
    /// The number of the counter's series, as [`Memory::set_series`] gave it; `None` for a counter that has none yet, or
    /// does not exist.
    pub series_id: Option<u32>,
}
