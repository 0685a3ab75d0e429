//! Stable numbers for what counters belong to.

use std::collections::HashMap;

use parking_lot::Mutex;

/// The number of one limit of one rule, stable over reloads of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LimitId(u32);

impl LimitId {
    /// Request overrides; their domain and window stand in the key.
    pub const OVERRIDE: Self = Self(0);

    /// The identity that a counter's name begins with.
    pub(super) fn from_key(name: &[u8]) -> Option<Self> {
        name.first_chunk().map(|number| Self(u32::from_le_bytes(*number)))
    }

    /// The number itself.
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// Every limit ever configured in this process, by its description.
///
/// Two descriptions never share a number, and a description keeps its number when a reload takes its rule away and a
/// later one brings it back. Bound: one short string for each limit that was ever configured; the number of reloads is
/// the operator's.
#[derive(Debug, Default)]
pub struct LimitIds {
    numbers: Mutex<HashMap<String, u32>>,
}

impl LimitIds {
    /// The number of what `description` describes; the next free one for a new description.
    pub fn intern(&self, description: String) -> LimitId {
        let mut numbers = self.numbers.lock();
        let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX).saturating_add(1);
        LimitId(*numbers.entry(description).or_insert(next))
    }
}
