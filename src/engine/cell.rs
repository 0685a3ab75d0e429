//! The state of one counter in 16 bytes.

use crate::units::Timestamp;

/// The state of one counter.
///
/// What `state` means is the algorithm's matter; `fresh_at` means the same for all: from then on the counter equals one
/// that has never been used, and may be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// When the counter equals a fresh one. [`Timestamp::MAX`] means never: time does not go that far.
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
