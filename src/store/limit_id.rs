//! The numbers of limits in counter keys, and the mapping from a number back to its limit.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::description::{Digest, Fingerprint, LimitDescription};

/// The number of one limit of one rule.
///
/// It comes from the content of the limit's description, so processes with the same rules usually agree on it. Where they
/// must agree, use a [`Fingerprint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LimitId(u32);

impl LimitId {
    /// Request overrides; their domain and window are parts of the key.
    pub const OVERRIDE: Self = Self(0);

    /// The id at the beginning of a counter key.
    pub fn of_key(key: &[u8]) -> Option<Self> {
        key.first_chunk().map(|number| Self(u32::from_le_bytes(*number)))
    }

    /// The number itself.
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// Assigns ids to limits.
///
/// Two limits never share an id, and a limit keeps its id when a reload removes its rule and a later one restores it. For the
/// first rules of a process, ids depend only on their content, not on the order of files or rules.
#[derive(Debug, Default)]
pub struct LimitIds {
    table: ArcSwap<LimitTable>,
    /// Locked while ids are assigned.
    assigning: Mutex<()>,
}

/// Every limit that a counter may belong to: the limits in force, and removed ones that counters may still have.
#[derive(Clone, Debug)]
pub struct LimitTable {
    by_id: HashMap<LimitId, Known, ahash::RandomState>,
    by_fingerprint: HashMap<Fingerprint, LimitId, ahash::RandomState>,
    /// The number of configurations that were loaded.
    loads: u64,
    /// The bits of a number that ids use: all, except in tests.
    mask: u32,
}

/// A limit that has an id.
#[derive(Clone, Debug)]
struct Known {
    limit: Arc<LimitDescription>,
    fingerprint: Fingerprint,
    /// The number of the last load that contained it.
    last_load: u64,
}

impl LimitIds {
    /// The ids of all limits of a configuration, in their order. The replaced configuration may still be used until the next
    /// call.
    ///
    /// Limits that were removed from the configuration keep their ids. If there are more than [`MAX_REMOVED`], those without
    /// counters are forgotten; `in_use` is called only then, and returns the ids that counters have. Bound: the limits of two
    /// configurations, those of counters, and [`MAX_REMOVED`].
    pub fn assign(&self, limits: &[LimitDescription], in_use: impl FnOnce() -> HashSet<LimitId>) -> Vec<LimitId> {
        let _assigning = self.assigning.lock();
        let mut table = LimitTable::clone(&self.table.load());
        table.loads += 1;
        let mut ordered: Vec<_> = (0..).zip(limits).map(|(place, limit)| (limit.digest(), limit, place)).collect();
        // If two limits collide, their content alone decides which one comes first.
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

    /// The ids of limits in addition to those of the last configuration. Cost: a hash of each; and a copy of the table, if one of
    /// them is new since then.
    pub fn add(&self, limits: &[LimitDescription]) -> Vec<LimitId> {
        let _assigning = self.assigning.lock();
        let table = self.table.load();
        let known = |limit: &LimitDescription| table.current_id(limit.fingerprint());
        if let Some(ids) = limits.iter().map(known).collect() {
            return ids;
        }
        let mut table = LimitTable::clone(&table);
        let ids = limits.iter().map(|limit| table.add(limit.digest(), limit)).collect();
        self.table.store(Arc::new(table));
        ids
    }

    /// The limits and their ids after the last load. Cost: no lock.
    pub fn table(&self) -> Arc<LimitTable> {
        self.table.load_full()
    }

    /// The fingerprint of the limit with this id. Cost: a look-up, and no lock.
    pub fn fingerprint(&self, id: LimitId) -> Option<Fingerprint> {
        self.table.load().fingerprint(id)
    }

    /// Ids with few bits, so that limits collide.
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
    /// The limit with this id; `None` for [`LimitId::OVERRIDE`] and ids that were never assigned.
    pub fn limit(&self, id: LimitId) -> Option<&LimitDescription> {
        self.by_id.get(&id).map(|known| &*known.limit)
    }

    /// The fingerprint of the limit with this id.
    pub fn fingerprint(&self, id: LimitId) -> Option<Fingerprint> {
        self.by_id.get(&id).map(|known| known.fingerprint)
    }

    /// The id of the limit with this fingerprint, if a configuration contained it.
    pub fn id(&self, fingerprint: Fingerprint) -> Option<LimitId> {
        self.by_fingerprint.get(&fingerprint).copied()
    }

    /// The id of a limit that the last load contained, or that has been added since.
    fn current_id(&self, fingerprint: Fingerprint) -> Option<LimitId> {
        self.id(fingerprint).filter(|id| self.by_id.get(id).is_some_and(|known| known.last_load == self.loads))
    }

    fn add(&mut self, digest: Digest, limit: &LimitDescription) -> LimitId {
        let fingerprint = digest.fingerprint();
        let id = self.id(fingerprint).unwrap_or_else(|| self.free_id(digest));
        self.by_fingerprint.insert(fingerprint, id);
        let limit = || Known { limit: Arc::new(limit.clone()), fingerprint, last_load: 0 };
        self.by_id.entry(id).or_insert_with(limit).last_load = self.loads;
        id
    }

    /// The first word of the hash that is free as an id; if none is, the lowest free number.
    fn free_id(&self, digest: Digest) -> LimitId {
        let is_free = |id: &LimitId| *id != LimitId::OVERRIDE && !self.by_id.contains_key(id);
        let mut words = digest.words().map(|word| LimitId(word & self.mask));
        words.find(is_free).unwrap_or_else(|| self.next_free(is_free))
    }

    /// The lowest free number. There always is one: four billion limits do not fit in memory.
    fn next_free(&self, is_free: impl Fn(&LimitId) -> bool) -> LimitId {
        (1..=self.mask).map(LimitId).find(is_free).unwrap_or(LimitId::OVERRIDE)
    }

    /// Limits that are neither in the configuration nor in the one before it.
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

/// Removed limits that are kept without checking whether they have counters, because that takes a pass over all counters:
/// they take a few MiB at most, and few processes ever remove as many.
pub const MAX_REMOVED: usize = 10_000;

#[cfg(test)]
mod tests;
