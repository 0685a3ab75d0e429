//! The state of one counter in 16 bytes.

use crate::units::Timestamp;

/// The state of one counter.
///
/// The meaning of `state` depends on the algorithm. That of `fresh_at` does not: from then on the counter equals one that has
/// never been used, and may be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// When the counter equals a fresh one. [`Timestamp::MAX`] means never.
    pub(super) fresh_at: Timestamp,
    pub(super) state: u64,
}

impl Cell {
    /// A counter that has never been used.
    pub const FRESH: Self = Self { fresh_at: Timestamp::EPOCH, state: 0 };

    /// The state that marks a ban until `fresh_at`. No algorithm's own state takes this value.
    const BAN: u64 = u64::MAX;

    /// The state that marks a ban by an operator, which does not depend on the limit. Nor does any algorithm take this one.
    const OPERATOR_BAN: u64 = Self::BAN - 1;

    /// The largest count that a state may hold.
    pub(super) const MAX_COUNT: u64 = Self::OPERATOR_BAN - 1;

    /// A ban until `until`, by the limit of the counter.
    pub const fn ban(until: Timestamp) -> Self {
        Self { fresh_at: until, state: Self::BAN }
    }

    /// A ban until `until` by an operator: whatever the limit is, each check is denied until then.
    pub const fn operator_ban(until: Timestamp) -> Self {
        Self { fresh_at: until, state: Self::OPERATOR_BAN }
    }

    /// The instant from which the counter equals a fresh one, and the state: what is kept over a restart.
    pub const fn to_parts(self) -> (Timestamp, u64) {
        (self.fresh_at, self.state)
    }

    /// The counter with the parts of [`to_parts`](Self::to_parts).
    pub const fn from_parts(fresh_at: Timestamp, state: u64) -> Self {
        Self { fresh_at, state }
    }

    /// Whether a ban runs, which ends when the counter is fresh.
    pub(super) const fn is_ban(self) -> bool {
        self.state >= Self::OPERATOR_BAN
    }

    /// Whether the ban is an operator's.
    pub(super) const fn is_operator_ban(self) -> bool {
        self.state == Self::OPERATOR_BAN
    }

    /// The end of a ban by an operator, if this is one.
    pub fn operator_ban_end(self) -> Option<Timestamp> {
        self.is_operator_ban().then_some(self.fresh_at)
    }

    /// Whether a ban runs at `now`.
    pub fn is_banned(self, now: Timestamp) -> bool {
        self.is_ban() && !self.is_fresh(now)
    }

    /// The instant from which on the counter equals one that has never been used; [`Timestamp::MAX`]: never.
    pub const fn fresh_at(self) -> Timestamp {
        self.fresh_at
    }

    /// Whether the counter equals one that has never been used.
    pub fn is_fresh(self, now: Timestamp) -> bool {
        self.fresh_at.has_come(now)
    }
}
