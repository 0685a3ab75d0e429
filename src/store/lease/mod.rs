//! Leases: the part of a shared counter's allowance that this replica may spend on its own.
//!
//! PURE: no IO, no clock, no lock; time is an argument. [`Lease`] is the cell of one counter in one replica, [`charge`] spends
//! from several of them all or nothing, [`Ask`] and [`Answer`] are what the replica and the engine say to each other, and
//! [`Central`] is a model of the engine. The contract is in `docs/SHARING.md`.
//!
//! # How a server uses it
//!
//! 1. For each check: lock the shards of its counters in their order, make one [`Slot`] for each counter, and [`charge`]. `Charged`
//!    and `Denied` are answered at once. On `Missing` the check waits, with the [`Attempt`] of each slot.
//! 2. At the end of a batch call [`Lease::ask`] for each lease that has a [`Wish::Now`], and for those with [`Wish::Soon`] that
//!    share its request or have waited for 10 ms. All requests for one node are one batch.
//! 3. On the reply call [`Lease::answered`] for each, then [`charge`] again for every check that waits for one of them: it is
//!    `Charged`, `Denied`, or still `Missing` because another of its counters has no answer yet, or because it came while the
//!    request was under way. Then call [`Lease::settle`] for each lease that no check waits for, and [`Lease::ask`] again.
//! 4. After `--store-timeout` call [`Lease::lost`] for each request of the batch, and decide the checks with [`Link::Down`]. A reply
//!    that comes later goes to [`Lease::late`]. A batch that could not be sent goes to [`Lease::not_sent`]. So each request is
//!    ended by exactly one of `answered`, `lost` and `not_sent`.
//! 5. Every 50 ms or so call [`Lease::tick`] for each lease, and ask where it wishes so.
//! 6. After a reload that lowers a limit, and to drain the process, call [`Lease::drain`], then ask.
//!
//! # Which direction of error is allowed
//!
//! A replica admits only what it was granted: admitted hits never exceed granted less returned ones, which never exceed the limit.
//! What is lost (a request, an answer, a process) is lost allowance. A local answer ([`Link::Down`]) is the one way to admit more:
//! at most one limit in the window in which an outage begins, and one in which it ends.

mod cell;
mod central;
mod charge;
mod message;
mod outage;
mod rate;
mod size;
mod terms;

pub use cell::Lease;
pub use central::Central;
pub use charge::{Charging, Slot, charge, charge_groups, charge_one};
pub use message::{Answer, Ask};
pub use terms::Terms;

use crate::engine::WhenDown;
use crate::units::Timestamp;

/// An instant by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// By the monotonic clock of this replica: when leases end.
    pub local: Timestamp,
    /// By the engine's, as far as it is known: which window it is.
    pub engine: Timestamp,
}

/// Whether the engine can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It can.
    Up,
    /// It cannot, or it did not answer in time: the check is decided here.
    Down(WhenDown),
}

/// How far a check is with one of its counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It has just come.
    First,
    /// It waits for the request of that number.
    Waiting(u32),
}

/// Whether a check can be decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The hits can be spent.
    Enough,
    /// The engine has to be asked.
    Missing,
    /// It is denied.
    Denied(Denial),
}

/// Why a lease denies a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The limit does not allow it.
    NothingLeft,
    /// The engine is down, and its operator wants checks to be denied then.
    StoreDown,
}

/// Whether a lease wants to ask the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wish {
    /// It does not.
    Nothing,
    /// It may wait up to 10 ms for other leases to share the request.
    Soon,
    /// Checks wait.
    Now,
}

#[cfg(test)]
mod loom_tests;
