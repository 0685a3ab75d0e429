//! A sharded map from counter keys to states: one hash, one short lock, one look-up per charge.
//!
//! It consists of many small dashmaps ("stripes"), because dashmap can only sweep a whole map at a time; so a sweep locks one
//! shard of a stripe. A key is hashed once; its hash selects stripe, shard and slot.

mod ahead;
mod spent;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use ahash::RandomState;
use dashmap::{DashMap, SharedValue};
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::store::charging::{Location, Shard, Shards};
use crate::store::earliest::Earliest;
use crate::units::Timestamp;

/// A sharded map from counter keys to states of one type.
#[derive(Debug)]
pub(in crate::store) struct Table<V> {
    hasher: RandomState,
    stripes: Box<[Stripe<V>]>,
    /// Whether changed records are noted.
    tracks: AtomicBool,
    weight: Weight,
}

/// One of a table's maps, and when it was last swept.
#[derive(Debug)]
struct Stripe<V> {
    map: Map<V>,
    /// Nanoseconds since the epoch. Written before any shard is swept, so that it is visible to every lock after the sweep of a
    /// shard; it only grows.
    swept_at_ns: AtomicU64,
    /// Before it none of its counters is fresh.
    fresh_at: Earliest,
    /// By shard: the hashes of the records that are marked as changed. Written with the shard locked.
    changed: [Mutex<Vec<u64>>; SHARDS],
}

/// Records contain their keys, so the map has none: a slot is one pointer, and the empty slots of a map cost little.
type Map<V> = DashMap<(), Box<Record<V>>, RandomState>;
/// The slots of one shard in a dashmap.
type Slots<V> = hashbrown::raw::RawTable<((), SharedValue<Box<Record<V>>>)>;

/// One counter: its state next to its key, so that looking it up loads both. A cell with a key of usual length is one cache
/// line.
#[derive(Debug)]
#[repr(C, align(64))]
struct Record<V> {
    named: Named,
    state: V,
}

/// The number of a counter's series ([`NO_SERIES`] until it has one) with two marks above it, and its key, which is inside the
/// record if it fits.
#[derive(Debug)]
enum Named {
    Here { length: u8, name: [u8; INLINE_NAME], series_id: u32 },
    Elsewhere { name: Box<[u8]>, series_id: u32 },
}

impl Named {
    fn new(name: &[u8], mark: u32) -> Self {
        let series_id = NO_SERIES | mark;
        let mut here = [0; INLINE_NAME];
        match (here.get_mut(..name.len()), u8::try_from(name.len())) {
            (Some(capacity), Ok(length)) => {
                capacity.copy_from_slice(name);
                Self::Here { length, name: here, series_id }
            }
            _ => Self::Elsewhere { name: name.into(), series_id },
        }
    }

    fn name(&self) -> &[u8] {
        match self {
            Self::Here { length, name, .. } => name.get(..usize::from(*length)).unwrap_or_default(),
            Self::Elsewhere { name, .. } => name,
        }
    }

    fn series_id(&self) -> Option<u32> {
        let number = self.marked() & !(CHANGED | WRITTEN);
        (number != NO_SERIES).then_some(number)
    }

    fn set_series_id(&mut self, number: u32) {
        let marks = self.marked() & (CHANGED | WRITTEN);
        *self.marked_mut() = number.min(NO_SERIES) | marks;
    }

    fn has(&self, mark: u32) -> bool {
        self.marked() & mark != 0
    }

    fn set(&mut self, mark: u32, value: bool) {
        let marked = self.marked_mut();
        *marked = if value { *marked | mark } else { *marked & !mark };
    }

    fn marked(&self) -> u32 {
        let (Self::Here { series_id, .. } | Self::Elsewhere { series_id, .. }) = self;
        *series_id
    }

    fn marked_mut(&mut self) -> &mut u32 {
        let (Self::Here { series_id, .. } | Self::Elsewhere { series_id, .. }) = self;
        series_id
    }
}

impl<V> Record<V> {
    /// Bytes allocated for the record, and for a key that does not fit in it.
    fn bytes(&self) -> usize {
        let spilled = if let Named::Elsewhere { name, .. } = &self.named { name.len() } else { 0 };
        size_of::<Self>() + allocated(spilled)
    }
}

/// The memory of a table. Written when a counter is created or freed, never by a charge of an existing one.
#[derive(Debug, Default)]
struct Weight {
    /// Bytes of slots, keys and the heap memory of states.
    bytes: AtomicUsize,
    /// The number of counters.
    live: AtomicUsize,
}

/// Room for the hashes of the changed records of a shard. It changes places with the list of each shard, so that none has to grow
/// from nothing after each flush.
#[derive(Debug, Default)]
pub(super) struct ChangedHashes(Vec<u64>);

impl ChangedHashes {
    fn begin(&mut self) -> &mut Vec<u64> {
        self.0.clear();
        // One burst must not keep its memory in one shard after another.
        self.0.shrink_to(KEPT_CHANGES);
        &mut self.0
    }
}

/// One locked shard. Its content does not change until it is dropped.
pub(in crate::store) struct LockedShard<'t, V> {
    table: &'t Table<V>,
    swept_at: Timestamp,
    fresh_at: &'t Earliest,
    /// Where changed records are noted; `None`: they are not.
    changed: Option<&'t Mutex<Vec<u64>>>,
    slots: lock_api::RwLockWriteGuard<'t, dashmap::RawRwLock, Slots<V>>,
}

impl<V> Table<V> {
    pub(in crate::store) fn new() -> Self {
        let hasher = RandomState::new();
        let map = || DashMap::with_hasher_and_shard_amount(hasher.clone(), SHARDS);
        let stripe = || Stripe {
            map: map(),
            swept_at_ns: AtomicU64::new(0),
            fresh_at: Earliest::new(Timestamp::MAX),
            changed: Default::default(),
        };
        Self {
            stripes: std::iter::repeat_with(stripe).take(STRIPES).collect(),
            hasher,
            tracks: AtomicBool::new(false),
            weight: Weight::default(),
        }
    }

    /// Notes changed records from now on, or no longer. Those that are noted already stay so.
    pub(in crate::store) fn track(&self, tracks: bool) {
        self.tracks.store(tracks, Ordering::Relaxed);
    }

    /// Takes the changed records of one stripe: visits each with whether it may have been written before, and marks it as written if
    /// `visit` says so. Records that are changed meanwhile are visited now or the next time.
    ///
    /// Cost: that of the changed records. A shard is locked for [`CHANGES_AT_ONCE`] of them.
    pub(super) fn take_changed(
        &self,
        stripe: usize,
        taken: &mut ChangedHashes,
        mut visit: impl FnMut(&[u8], &V, bool) -> bool,
    ) {
        let Some(Stripe { map, changed, .. }) = self.stripes.get(stripe) else { return };
        for (shard, changed) in map.shards().iter().zip(changed) {
            if changed.lock().is_empty() {
                continue;
            }
            let taken = taken.begin();
            {
                let _locked = shard.write();
                std::mem::swap(taken, &mut *changed.lock());
            }
            for hashes in taken.chunks(CHANGES_AT_ONCE) {
                let mut slots = shard.write();
                // First the slots are loaded, then the records: none waits for another, so their misses of the cache overlap. A slot
                // is most likely that of the record if it has the tag of its hash.
                let likely = hashes.iter().filter_map(|hash| slots.get(*hash, |_| true));
                let likely: SmallVec<[&Record<V>; CHANGES_AT_ONCE]> =
                    likely.map(|((), record)| &**record.get()).collect();
                let _loaded = std::hint::black_box(likely.iter().filter(|record| record.named.has(CHANGED)).count());
                drop(likely);
                for hash in hashes {
                    let is_it = |((), record): &((), SharedValue<Box<Record<V>>>)| {
                        let named = &record.get().named;
                        named.has(CHANGED) && self.hasher.hash_one(named.name()) == *hash
                    };
                    if let Some(((), record)) = slots.get_mut(*hash, is_it) {
                        let Record { state, named } = &mut **record.get_mut();
                        named.set(CHANGED, false);
                        let is_written = visit(named.name(), state, named.has(WRITTEN));
                        named.set(WRITTEN, is_written);
                    }
                }
            }
        }
    }

    pub(in crate::store) fn stripes(&self) -> usize {
        self.stripes.len()
    }

    pub(in crate::store) fn live(&self) -> usize {
        self.weight.live.load(Ordering::Relaxed)
    }

    pub(in crate::store) fn bytes(&self) -> usize {
        self.weight.bytes.load(Ordering::Relaxed)
    }

    /// Sets the number of the series of the counter with this key. Returns whether it exists.
    pub(in crate::store) fn set_series(&self, name: &[u8], series_id: u32) -> bool {
        let location = self.locate(name);
        let Some(mut shard) = self.lock(location) else { return false };
        let Some(record) = shard.record_mut(location, name) else { return false };
        record.named.set_series_id(series_id);
        true
    }

    /// Visits each changed record of one stripe; those for which `visit` is true stay changed, and are visited the next time.
    ///
    /// Cost: that of the changed ones, with their shard locked.
    pub(in crate::store) fn visit_changed(&self, stripe: usize, mut visit: impl FnMut(&[u8], &mut V) -> bool) {
        let Some(Stripe { map, changed, .. }) = self.stripes.get(stripe) else { return };
        for (shard, changed) in map.shards().iter().zip(changed) {
            if changed.lock().is_empty() {
                continue;
            }
            let mut slots = shard.write();
            changed.lock().retain(|hash| {
                let is_it = |((), record): &((), SharedValue<Box<Record<V>>>)| {
                    let named = &record.get().named;
                    named.has(CHANGED) && self.hasher.hash_one(named.name()) == *hash
                };
                let Some(((), record)) = slots.get_mut(*hash, is_it) else { return false };
                let Record { state, named } = &mut **record.get_mut();
                let stays = visit(named.name(), state);
                named.set(CHANGED, stays);
                stays
            });
        }
    }

    /// Visits each key and its state, with one shard locked at a time. `visit` returns the instant from which on the counter is fresh.
    pub(super) fn visit(&self, mut visit: impl FnMut(&[u8], &mut V) -> Timestamp) {
        for stripe in &self.stripes {
            for mut record in stripe.map.iter_mut() {
                let Record { state, named } = &mut **record;
                stripe.fresh_at.lower(visit(named.name(), state));
            }
        }
    }

    /// Visits each key of one stripe and its state, with one shard locked at a time.
    pub(in crate::store) fn visit_stripe(&self, stripe: usize, mut visit: impl FnMut(&[u8], &V)) {
        for record in self.stripes.get(stripe).into_iter().flat_map(|stripe| stripe.map.iter()) {
            visit(record.named.name(), &record.state);
        }
    }

    /// Visits each key of one stripe and its state, with one shard locked at a time; those for which `visit` is true are marked as
    /// written.
    pub(super) fn write_stripe(&self, stripe: usize, mut visit: impl FnMut(&[u8], &V) -> bool) {
        let Some(Stripe { map, .. }) = self.stripes.get(stripe) else { return };
        // The first pass only loads the records: none waits for another, so their misses of the cache overlap.
        let mut loaded = 0_usize;
        map.retain(|(), record| {
            loaded += usize::from(record.named.has(WRITTEN));
            true
        });
        std::hint::black_box(loaded);
        map.retain(|(), record| {
            let Record { state, named } = &mut **record;
            if visit(named.name(), state) {
                named.set(WRITTEN, true);
            }
            true
        });
    }

    /// The number of counters in one stripe.
    pub(super) fn live_in(&self, stripe: usize) -> usize {
        self.stripes.get(stripe).map_or(0, |stripe| stripe.map.len())
    }

    /// A copy of one counter's state, with its shard locked meanwhile.
    pub(in crate::store) fn copy(&self, name: &[u8]) -> Option<V>
    where
        V: Clone,
    {
        let location = self.locate(name);
        let mut shard = self.lock(location)?;
        shard.record_mut(location, name).map(|record| record.state.clone())
    }
}

impl<V> Shards<V> for Table<V> {
    type Shard<'s>
        = LockedShard<'s, V>
    where
        V: 's;

    fn locate(&self, key: &[u8]) -> Location {
        let hash = self.hasher.hash_one(key);
        let stripe = usize::try_from(hash >> STRIPE_SHIFT).unwrap_or(0) % STRIPES;
        let shard = usize::try_from(hash << TAG_BITS >> (u64::BITS - SHARD_BITS)).unwrap_or(0);
        Location { stripe, shard, hash }
    }

    fn lock(&self, location: Location) -> Option<LockedShard<'_, V>> {
        let Stripe { map, swept_at_ns, fresh_at, changed } = self.stripes.get(location.stripe)?;
        let slots = map.shards().get(location.shard)?.write();
        // Read with the lock held, so that an earlier sweep of this shard is visible.
        let swept_at = Timestamp::from_ns(swept_at_ns.load(Ordering::Relaxed));
        let changed = if self.tracks.load(Ordering::Relaxed) { changed.get(location.shard) } else { None };
        Some(LockedShard { table: self, swept_at, fresh_at, changed, slots })
    }
}

impl<V> LockedShard<'_, V> {
    fn record_mut(&mut self, location: Location, key: &[u8]) -> Option<&mut Record<V>> {
        let ((), record) = self.slots.get_mut(location.hash, |((), record)| record.get().named.name() == key)?;
        Some(record.get_mut())
    }
}

impl<V> Shard<V> for LockedShard<'_, V> {
    fn state_mut(&mut self, location: Location, key: &[u8]) -> Option<(&mut V, Option<u32>)> {
        let changed = self.changed;
        let Record { state, named } = self.record_mut(location, key)?;
        if let Some(changed) = changed
            && !named.has(CHANGED)
        {
            named.set(CHANGED, true);
            changed.lock().push(location.hash);
        }
        Some((state, named.series_id()))
    }

    fn insert(&mut self, location: Location, key: &[u8], state: V, fresh_at: Timestamp) {
        self.book_end(fresh_at);
        let before = self.slots.buckets();
        let mark = match self.changed {
            Some(changed) => {
                changed.lock().push(location.hash);
                CHANGED
            }
            // Restored, or later in a snapshot.
            None => WRITTEN,
        };
        let record = Record { state, named: Named::new(key, mark) };
        let bytes = record.bytes();
        let slot = ((), SharedValue::new(Box::new(record)));
        self.slots.insert(location.hash, slot, |((), record)| self.table.hasher.hash_one(record.get().named.name()));
        let grown = slot_bytes::<V>(self.slots.buckets()) - slot_bytes::<V>(before);
        self.table.weight.bytes.fetch_add(grown + bytes, Ordering::Relaxed);
        self.table.weight.live.fetch_add(1, Ordering::Relaxed);
    }

    fn swept_at(&self) -> Timestamp {
        self.swept_at
    }

    fn book_end(&mut self, fresh_at: Timestamp) {
        self.fresh_at.lower(fresh_at);
    }

    fn book_heap(&mut self, before: usize, after: usize) {
        if after >= before {
            self.table.weight.bytes.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.table.weight.bytes.fetch_sub(before - after, Ordering::Relaxed);
        }
    }
}

/// Bytes of this number of slots, with their control bytes.
fn slot_bytes<V>(buckets: usize) -> usize {
    if buckets <= 1 { 0 } else { buckets * (size_of::<Box<Record<V>>>() + 1) }
}

/// Bytes that the allocator uses for a request: it rounds up to a multiple of 16.
fn allocated(bytes: usize) -> usize {
    bytes.next_multiple_of(16)
}

/// Marks a record that has been changed since it was last taken.
const CHANGED: u32 = 1 << 31;
/// Marks a record that may be in the data directory.
const WRITTEN: u32 = 1 << 30;
/// The series of a counter without one. A series with this number would only cost a look-up for each check.
const NO_SERIES: u32 = WRITTEN - 1;
/// Changed records that are taken while a shard is locked: some microseconds, less than the sweep takes.
const CHANGES_AT_ONCE: usize = 64;
/// Changed records of a shard for which there is room at once: in all shards a megabyte.
const KEPT_CHANGES: usize = 64;
/// Keys up to this length are inside their record: the id, and values of 35 bytes. With a cell of 16 bytes, the series, the
/// length and the tag of the kind of key this makes 64 bytes.
pub(super) const INLINE_NAME: usize = 42;
/// Stripes of a table: the sweep locks one shard of a stripe at a time, with 10,000,000 counters about 4,900 of them, for a
/// fraction of a millisecond. Twice as many stripes would halve the pause, but cost a tenth of each decision, because the
/// heads of their shards would not stay in the L2 cache.
const STRIPES: usize = 1024;
/// Shards of a stripe, each with a lock of its own.
const SHARDS: usize = 2;
const SHARD_BITS: u32 = SHARDS.ilog2();
/// The map uses the upper seven bits of the hash as tags; dashmap selects the shard by the bits below.
const TAG_BITS: u32 = 7;
/// The stripe is selected by bits that select neither shard nor slot.
const STRIPE_SHIFT: u32 = 32;

#[cfg(test)]
mod tests;
