//! The numbers that stand for limits in counter keys, and the way back from a number to its limit.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::description::{Digest, Fingerprint, LimitDescription};

/// The number of one limit of one rule.
///
/// It comes from the content of the limit's description, so processes with the same rules usually agree on it; where a
/// number must mean the same in two processes, a [`Fingerprint`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LimitId(u32);

impl LimitId {
    /// Request overrides; their domain and window are parts of the key.
    pub const OVERRIDE: Self = Self(0);

    /// The id that a counter key begins with.
    pub(super) fn from_key(key: &[u8]) -> Option<Self> {
        key.first_chunk().map(|number| Self(u32::from_le_bytes(*number)))
    }

    /// The number itself.
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// Gives limits their ids.
///
/// Two limits never share an id, and a limit keeps its id when a reload removes its rule and a later one restores it.
/// For rules that a process loads first, ids depend on their content alone, not on the order of files or rules.
#[derive(Debug, Default)]
pub struct LimitIds {
    table: ArcSwap<LimitTable>,
    /// Held while ids are assigned.
    assigning: Mutex<()>,
}

/// Every limit that a counter may belong to: the limits in force, and removed ones that counters may still have.
#[derive(Clone, Debug)]
pub struct LimitTable {
    by_id: HashMap<LimitId, Known, ahash::RandomState>,
    by_fingerprint: HashMap<Fingerprint, LimitId, ahash::RandomState>,
    /// How many configurations were loaded.
    loads: u64,
    /// The bits of a number that ids have: all, but for tests.
    mask: u32,
}

/// A limit that has an id.
#[derive(Clone, Debug)]
struct Known {
    limit: Arc<LimitDescription>,
    fingerprint: Fingerprint,
    /// The number of the last load that had it.
    last_load: u64,
}

impl LimitIds {
    /// The ids of all limits of a configuration, in their order. The configuration that they replace may go on being
    /// used until the next call.
    ///
    /// Limits that left the configuration keep their ids. When more than [`MAX_REMOVED`] have, those that are not in
    /// `in_use`, which then has to find the ids of all counters, are forgotten. Bound: the limits of two
    /// configurations, those that counters have, and [`MAX_REMOVED`].
    pub fn assign(&self, limits: &[LimitDescription], in_use: impl FnOnce() -> HashSet<LimitId>) -> Vec<LimitId> {
        let _assigning = self.assigning.lock();
        let mut table = LimitTable::clone(&self.table.load());
        table.loads += 1;
        let mut ordered: Vec<_> = (0..).zip(limits).map(|(place, limit)| (limit.digest(), limit, place)).collect();
        // Where two limits collide, which of them has the first choice depends on their content alone.
        ordered.sort_unstable_by_key(|(digest, ..)| *digest);
        let mut ids: Vec<(usize, LimitId)> =
            ordered.into_iter().map(|(digest, limit, place)| (place, table.add(digest, limit))).collect();
        ids.sort_unstable_by_key(|(place, _)| *place);
        if table.removed().count() > MAX_REMOVED {
            table.forget_unused(&in_use());
        }
        self.table.store(Arc::new(table));
        ids.into_iter().map(|(_, id)| id).collect()
    }

    /// The limits and their ids, as the last load left them. Cost: no lock.
    pub fn table(&self) -> Arc<LimitTable> {
        self.table.load_full()
    }

    /// Ids of so few bits that limits collide.
    #[cfg(test)]
    pub(crate) fn with_mask(mask: u32) -> Self {
        Self { table: ArcSwap::from_pointee(LimitTable { mask, ..LimitTable::default() }), ..Self::default() }
    }
}

impl Default for LimitTable {
    fn default() -> Self {
        Self { by_id: HashMap::default(), by_fingerprint: HashMap::default(), loads: 0, mask: u32::MAX }
    }
}

impl LimitTable {
    /// The limit with this id; `None` for [`LimitId::OVERRIDE`] and ids that were never given.
    pub fn limit(&self, id: LimitId) -> Option<&LimitDescription> {
        self.by_id.get(&id).map(|known| &*known.limit)
    }

    /// The fingerprint of the limit with this id.
    pub fn fingerprint(&self, id: LimitId) -> Option<Fingerprint> {
        self.by_id.get(&id).map(|known| known.fingerprint)
    }

    /// The id of the limit with this fingerprint, if a configuration had it.
    pub fn id(&self, fingerprint: Fingerprint) -> Option<LimitId> {
        self.by_fingerprint.get(&fingerprint).copied()
    }

    fn add(&mut self, digest: Digest, limit: &LimitDescription) -> LimitId {
        let fingerprint = digest.fingerprint();
        let id = self.id(fingerprint).unwrap_or_else(|| self.free_id(digest));
        self.by_fingerprint.insert(fingerprint, id);
        let limit = || Known { limit: Arc::new(limit.clone()), fingerprint, last_load: 0 };
        self.by_id.entry(id).or_insert_with(limit).last_load = self.loads;
        id
    }

    /// The first part of the hash that is free as an id; if none is, the next free number.
    fn free_id(&self, digest: Digest) -> LimitId {
        let is_free = |id: &LimitId| *id != LimitId::OVERRIDE && !self.by_id.contains_key(id);
        let mut words = digest.words().map(|word| LimitId(word & self.mask));
        words.find(is_free).unwrap_or_else(|| self.next_free(is_free))
    }

    /// The lowest free number. There is one: four billion limits do not fit into memory.
    fn next_free(&self, is_free: impl Fn(&LimitId) -> bool) -> LimitId {
        (1..=self.mask).map(LimitId).find(is_free).unwrap_or(LimitId::OVERRIDE)
    }

    /// Limits that neither the configuration nor the one before it has.
    fn removed(&self) -> impl Iterator<Item = LimitId> {
        self.by_id.iter().filter(|(_, known)| known.last_load + 1 < self.loads).map(|(id, _)| *id)
    }

    fn forget_unused(&mut self, in_use: &HashSet<LimitId>) {
        let unused: Vec<_> = self.removed().filter(|id| !in_use.contains(id)).collect();
        for id in unused {
            if let Some(known) = self.by_id.remove(&id) {
                self.by_fingerprint.remove(&known.fingerprint);
            }
        }
    }
}

/// Removed limits that are kept without asking whether counters have them: a few MiB at most, and enough that hardly a
/// process ever asks, since that takes a pass over all counters.
pub const MAX_REMOVED: usize = 10_000;

#[cfg(test)]
mod tests;
