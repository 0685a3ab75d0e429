//! By which key a lease is found.

use smallvec::SmallVec;

use crate::engine::Limit;
use crate::store::LimitId;

/// The key of a lease: that of its counter. Of a request override it has the number of hits besides, because checks with different
/// numbers share the counter, and no hits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseKey<'k> {
    /// The key of the counter.
    Counter(&'k [u8]),
    /// That and the number of hits.
    Override(SmallVec<[u8; 112]>),
}

impl<'k> LeaseKey<'k> {
    /// The key of the lease of a counter with this limit.
    pub fn new(key: &'k [u8], limit: &Limit) -> Self {
        if LimitId::of_key(key) != Some(LimitId::OVERRIDE) {
            return Self::Counter(key);
        }
        let mut own = SmallVec::from_slice(key);
        own.extend_from_slice(&limit.max.to_le_bytes());
        Self::Override(own)
    }

    /// The key.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Counter(key) => key,
            Self::Override(key) => key,
        }
    }

    /// The key of the counter of a lease.
    pub fn counter(key: &[u8]) -> &[u8] {
        match LimitId::of_key(key) {
            Some(LimitId::OVERRIDE) => key.get(..key.len().saturating_sub(size_of::<u32>())).unwrap_or(key),
            _ => key,
        }
    }
}
