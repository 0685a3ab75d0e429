//! Counters: who they are, where they live, and the one way to change them.
//!
//! The port is [`Store`]: charge one counter, or several all or nothing, at one instant. Its promise on concurrency has
//! one direction: **whatever the interleaving, no limit admits more than it allows**. [`Memory`] keeps the promise
//! exactly (each charge is one step under its shard's lock; several counters are locked together, in one order).
//!
//! A counter's identity is `(domain, rule path, algorithm, window)`, interned as a number by [`Identities`], and the
//! entry values that the rule leaves open. It says nothing about the rule object, so counters outlive a reload.

mod charging;
mod identity;
mod key;
mod memory;
mod sweep;
mod table;

pub use identity::{Identities, Identity};
pub use key::{CounterKey, CounterKeys, KeyPlace, KeyWriter};
pub use memory::{Memory, Occupancy, WhenFull};
pub use sweep::SweepStats;

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
    /// Tells the tag of a counter that is made; `None`: tags are 0.
    pub tags: Option<&'a dyn Tags>,
}

/// The answer of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charged {
    /// What the engine says.
    pub outcome: Outcome,
    /// The counter's tag; `None` for a counter that does not exist.
    pub tag: Option<u32>,
}

/// Gives each counter a number that is kept beside its state, so that whoever charges it need not look it up again.
pub trait Tags {
    /// The tag of the counter `key`, which is being made. Called with a shard locked: it must not charge anything.
    fn tag(&self, key: &[u8]) -> u32;
}

impl std::fmt::Debug for dyn Tags + '_ {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tags")
    }
}

/// Where counters live.
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Asks one counter. Never admits more than the limit allows, whatever else happens at the same time.
    fn charge(&self, now: Timestamp, charge: &Charge<'_>) -> Charged;

    /// Asks several counters; charges all of them, or none when one denies.
    ///
    /// Refunds take effect in either case. The outcomes line up with `charges`: after a denial the others' are those of
    /// a look without hits. A counter that denies begins its ban if its limit has one: that is no charge.
    fn charge_all(&self, now: Timestamp, charges: &[Charge<'_>], outcomes: &mut Vec<Charged>);
}
