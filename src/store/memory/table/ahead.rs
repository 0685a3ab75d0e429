//! Loads records before they are charged, so that their misses of the cache overlap.
//!
//! A charge waits for several places in memory, one after the other: the control bytes of its shard, the slot, the record. Taking and
//! releasing the lock of the shard lets no load begin before the one in front of it has ended, so the waits of charges that follow each
//! other add up. Here the same places of many counters are loaded in rounds; in a round no load waits for another one.

use smallvec::SmallVec;

use super::{Record, Slots, Table};
use crate::store::charging::Location;

/// A shard that is locked for reading.
type Reading<'t, V> = lock_api::RwLockReadGuard<'t, dashmap::RawRwLock, Slots<V>>;

impl<V> Table<V> {
    /// Loads the records at these locations, without an effect on them, and passes on the number of each one's series. `touch` reads from the
    /// lines of the cache that a state of more than one line takes. Returns how many records it has found.
    ///
    /// It waits for nobody: a shard that is being charged is left out. Nor does it search: a record is most likely the wanted one if its
    /// slot has the tag of the hash. What is not loaded here is loaded by the charge.
    ///
    /// Cost: two steps of a lock for each location, and one miss of the cache of each kind for all. At most [`LOADED_AT_ONCE`] shards are
    /// locked at the same time, for reading.
    pub(in crate::store) fn load_ahead(
        &self,
        locations: &[Location],
        touch: impl Fn(&V) -> u64,
        mut series: impl FnMut(u32),
    ) -> usize {
        let mut found = 0;
        for locations in locations.chunks(LOADED_AT_ONCE) {
            let shards: SmallVec<[(Reading<'_, V>, u64); LOADED_AT_ONCE]> =
                locations.iter().filter_map(|at| Some((self.try_read(*at)?, at.hash))).collect();
            let slots: SmallVec<[_; LOADED_AT_ONCE]> =
                shards.iter().filter_map(|(slots, hash)| slots.get(*hash, |_| true)).collect();
            let records: SmallVec<[&Record<V>; LOADED_AT_ONCE]> =
                slots.iter().map(|((), record)| &**record.get()).collect();
            let loaded = records.iter().filter_map(|record| {
                std::hint::black_box(touch(&record.state));
                record.named.series_id()
            });
            std::hint::black_box(loaded.map(&mut series).count());
            found += records.len();
        }
        found
    }

    fn try_read(&self, at: Location) -> Option<Reading<'_, V>> {
        self.stripes.get(at.stripe)?.map.shards().get(at.shard)?.try_read()
    }
}

/// As many misses as a processor has under way at the same time, more or less; the shards are locked for about as long as two charges take.
const LOADED_AT_ONCE: usize = 16;
