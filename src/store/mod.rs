//! Counters: who they are, where they live, and the one way to change them.
//!
//! The port is [`Store`]: charge one counter, or several all or nothing, at one instant. Its promise on concurrency has
//! one direction: **whatever the interleaving, no limit admits more than it allows**. [`Memory`] keeps the promise
//! exactly (each charge is one step under its shard's lock; several counters are locked together, in one order).
//!
//! A counter's identity is `(domain, rule path, algorithm, window)`, interned as a number by [`LimitIds`], and the
//! entry values that the rule leaves open. It says nothing about the rule object, so counters outlive a reload.

mod charging;
mod key;
mod limit_id;
mod memory;

pub use key::{CounterKey, CounterKeys, KeyLocation, KeyWriter};
pub use limit_id::{LimitId, LimitIds};
pub use memory::{Memory, Occupancy, SweepStats, WhenFull};

use crate::engine::{Limit, Op, Outcome};
use crate::units::Timestamp;

/// One operation on one counter.
#[derive(Clone, Copy, Debug)]
pub struct Charge<'a> {
    /// What the counter is decided by.
    pub limit: &'a Limit,
    /// Which counter, as [`CounterKey::as_bytes`] tells.
    pub key: &'a [u8],
    /// What is asked of it.
    pub op: Op,
    /// Where a counter that is made gets its tag from; `None`: tags are 0.
    pub series: Option<SeriesSource<'a>>,
}

/// Where the tag of one charge's counter comes from.
#[derive(Clone, Copy, Debug)]
pub struct SeriesSource<'a> {
    /// Gives tags.
    pub ids: &'a dyn SeriesIds,
    /// Which charge it is, as `ids` counts them.
    pub index: usize,
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
    /// The counter's tag; `None` for a counter that does not exist.
    pub series_id: Option<u32>,
}

/// Gives each counter a number that is kept beside its state, so that whoever charges it need not look it up again.
pub trait SeriesIds {
    /// The tag of the counter of charge `index`, which is being made. Called with a shard locked: it must not charge
    /// anything.
    fn series_id(&self, index: usize) -> u32;
}

impl std::fmt::Debug for dyn SeriesIds + '_ {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tags")
    }
}

/// Where counters live.
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Asks one counter. Never admits more than the limit allows, whatever else happens at the same time.
    fn charge(&self, now: Timestamp, charge: &Charge<'_>) -> Charged;

    /// Asks several counters in one step; charges all of them, or none when one denies. Whether the check is admitted.
    ///
    /// `charges` are those of `groups`, one group after the other. A check is denied when a required group is, or when
    /// there are quota groups and all of them are; nothing is charged then but limits whose denied hits
    /// [always](crate::engine::CountDenied::Always) count. Refunds take effect in any case.
    ///
    /// The outcomes line up with `charges`: after a denial those of groups that would have admitted are those of a look
    /// without hits. A counter that denies the check begins its ban if its limit has one: that is no charge.
    fn charge_groups(
        &self,
        now: Timestamp,
        groups: &[Group],
        charges: &[Charge<'_>],
        outcomes: &mut Vec<Charged>,
    ) -> bool;

    /// [`Store::charge_groups`] of one required group.
    fn charge_all(&self, now: Timestamp, charges: &[Charge<'_>], outcomes: &mut Vec<Charged>) -> bool {
        self.charge_groups(now, &[Group::required(charges.len())], charges, outcomes)
    }
}
