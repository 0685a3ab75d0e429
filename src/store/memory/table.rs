//! A sharded map from counter names to states: one hash, one short lock, one look-up a charge.
//!
//! It is many small dashmaps ("stripes") instead of one: dashmap can only sweep a whole map at a time, and a sweep's
//! pause is one stripe's shard. A name is hashed once; its hash picks stripe, shard and slot.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use ahash::RandomState;
use dashmap::{DashMap, SharedValue};

use crate::store::charging::{Location, Shard, Shards};
use crate::units::Timestamp;

/// A sharded map from counter names to states of one type.
#[derive(Debug)]
pub(super) struct Table<V> {
    hasher: RandomState,
    stripes: Box<[Stripe<V>]>,
    weight: Weight,
}

/// One of a table's maps, and when it was swept.
#[derive(Debug)]
struct Stripe<V> {
    map: Map<V>,
    /// Nanoseconds since the epoch. Written before any shard is swept, so that a charge that locks a shard after its sweep
    /// knows; it only grows.
    swept_at_ns: AtomicU64,
}

/// Records know their own names, so the map's keys are nothing: a slot is one pointer, and the slots that a map keeps
/// empty cost little.
type Map<V> = DashMap<(), Box<Record<V>>, RandomState>;
/// The slots of one shard, as dashmap keeps them.
type Slots<V> = hashbrown::raw::RawTable<((), SharedValue<Box<Record<V>>>)>;

/// One counter: what it counts and what it is called, side by side, so that finding it brings its state along. That of a
/// cell with a name of ordinary length is one line of the cache.
#[derive(Debug)]
#[repr(align(64))]
struct Record<V> {
    state: V,
    named: Named,
}

/// The number of a counter's series ([`NO_SERIES`] until it has one) and its name: within the record, where it fits.
#[derive(Debug)]
enum Named {
    Here { length: u8, name: [u8; INLINE_NAME], series_id: u32 },
    Elsewhere { name: Box<[u8]>, series_id: u32 },
}

impl Named {
    fn new(name: &[u8]) -> Self {
        let series_id = NO_SERIES;
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
        let (Self::Here { series_id, .. } | Self::Elsewhere { series_id, .. }) = self;
        (*series_id != NO_SERIES).then_some(*series_id)
    }

    fn set_series_id(&mut self, number: u32) {
        let (Self::Here { series_id, .. } | Self::Elsewhere { series_id, .. }) = self;
        *series_id = number;
    }
}

impl<V> Record<V> {
    /// Bytes that the allocator gives for the record and a name that does not fit into it.
    fn bytes(&self) -> usize {
        let spilled = if let Named::Elsewhere { name, .. } = &self.named { name.len() } else { 0 };
        size_of::<Self>() + allocated(spilled)
    }
}

/// What a table weighs. Written when a counter comes or goes, never by a charge of one that exists.
#[derive(Debug, Default)]
struct Weight {
    /// Bytes of slots, names and what states keep on the heap.
    bytes: AtomicUsize,
    /// Counters.
    live: AtomicUsize,
}

/// One locked shard. Nothing in it changes until it is dropped.
pub(super) struct LockedShard<'t, V> {
    table: &'t Table<V>,
    swept_at: Timestamp,
    slots: lock_api::RwLockWriteGuard<'t, dashmap::RawRwLock, Slots<V>>,
}

impl<V> Table<V> {
    pub(super) fn new() -> Self {
        let hasher = RandomState::new();
        let map = || DashMap::with_hasher_and_shard_amount(hasher.clone(), SHARDS);
        let stripe = || Stripe { map: map(), swept_at_ns: AtomicU64::new(0) };
        Self { stripes: std::iter::repeat_with(stripe).take(STRIPES).collect(), hasher, weight: Weight::default() }
    }

    pub(super) fn stripes(&self) -> usize {
        self.stripes.len()
    }

    pub(super) fn live(&self) -> usize {
        self.weight.live.load(Ordering::Relaxed)
    }

    pub(super) fn bytes(&self) -> usize {
        self.weight.bytes.load(Ordering::Relaxed)
    }

    /// Drops what `is_spent` says of one stripe, and gives back the room that is left over. Returns how many it dropped.
    /// From then on nothing in the stripe is charged at an instant before `now`.
    ///
    /// One shard is locked at a time, for as long as it takes to look at its slots.
    pub(super) fn sweep(
        &self,
        stripe: usize,
        now: Timestamp,
        mut is_spent: impl FnMut(&mut V) -> bool,
        heap: impl Fn(&V) -> usize,
    ) -> usize {
        let Some(Stripe { map, swept_at_ns }) = self.stripes.get(stripe) else { return 0 };
        swept_at_ns.fetch_max(now.as_ns(), Ordering::Relaxed);
        let (mut dropped, mut freed) = (0, 0);
        map.retain(|(), record| {
            let spent = is_spent(&mut record.state);
            if spent {
                dropped += 1;
                freed += record.bytes() + heap(&record.state);
            }
            !spent
        });
        if dropped > 0 {
            self.weight.live.fetch_sub(dropped, Ordering::Relaxed);
            self.weight.bytes.fetch_sub(freed + self.shrink(map), Ordering::Relaxed);
        }
        dropped
    }

    /// Gives the counter of this name the number of its series, if it exists.
    pub(super) fn set_series(&self, name: &[u8], series_id: u32) {
        let location = self.locate(name);
        if let Some(mut shard) = self.lock(location)
            && let Some(record) = shard.record_mut(location, name)
        {
            record.named.set_series_id(series_id);
        }
    }

    /// Shows each name and its state, one shard locked at a time.
    pub(super) fn visit(&self, mut visit: impl FnMut(&[u8], &mut V)) {
        for stripe in &self.stripes {
            for mut record in stripe.map.iter_mut() {
                let Record { state, named } = &mut **record;
                visit(named.name(), state);
            }
        }
    }

    /// Shows each name of one stripe and its state, one shard locked at a time.
    pub(super) fn visit_stripe(&self, stripe: usize, mut visit: impl FnMut(&[u8], &V)) {
        for record in self.stripes.get(stripe).into_iter().flat_map(|stripe| stripe.map.iter()) {
            visit(record.named.name(), &record.state);
        }
    }

    /// How many counters one stripe has.
    pub(super) fn live_in(&self, stripe: usize) -> usize {
        self.stripes.get(stripe).map_or(0, |stripe| stripe.map.len())
    }

    /// A copy of one counter's state, its shard locked for as long as that takes.
    pub(super) fn copy(&self, name: &[u8]) -> Option<V>
    where
        V: Clone,
    {
        let location = self.locate(name);
        let mut shard = self.lock(location)?;
        shard.record_mut(location, name).map(|record| record.state.clone())
    }

    /// Gives back slots where three quarters of a shard are empty, one shard at a time. Returns the bytes.
    fn shrink(&self, map: &Map<V>) -> usize {
        let mut freed = 0;
        for shard in map.shards() {
            let mut slots = shard.write();
            let before = slots.buckets();
            if before > 1 && slots.len() * 4 < before {
                let wanted = slots.len() * 2;
                slots.shrink_to(wanted, |((), record)| self.hasher.hash_one(record.get().named.name()));
                freed += slot_bytes::<V>(before) - slot_bytes::<V>(slots.buckets());
            }
        }
        freed
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
        let Stripe { map, swept_at_ns } = self.stripes.get(location.stripe)?;
        let slots = map.shards().get(location.shard)?.write();
        // Read with the lock held: a sweep of this shard that came before has written it.
        let swept_at = Timestamp::from_ns(swept_at_ns.load(Ordering::Relaxed));
        Some(LockedShard { table: self, swept_at, slots })
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
        let Record { state, named } = self.record_mut(location, key)?;
        Some((state, named.series_id()))
    }

    fn insert(&mut self, location: Location, key: &[u8], state: V) {
        let before = self.slots.buckets();
        let record = Record { state, named: Named::new(key) };
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

    fn book_heap(&mut self, before: usize, after: usize) {
        if after >= before {
            self.table.weight.bytes.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.table.weight.bytes.fetch_sub(before - after, Ordering::Relaxed);
        }
    }
}

/// Bytes of that many slots, with their control bytes.
fn slot_bytes<V>(buckets: usize) -> usize {
    if buckets <= 1 { 0 } else { buckets * (size_of::<Box<Record<V>>>() + 1) }
}

/// Bytes that the allocator gives where so many are asked for: it counts in steps of 16.
fn allocated(bytes: usize) -> usize {
    bytes.next_multiple_of(16)
}

/// The series of a counter that has none yet. A series of this number would only cost a look-up at each check.
const NO_SERIES: u32 = u32::MAX;
/// Names up to this length stand in their record: identity, and values of 35 bytes. With a cell of 16 bytes, the tag, the
/// length and the discriminant of the two kinds of names that makes 64.
pub(super) const INLINE_NAME: usize = 42;
/// Stripes of a table: a pass of the sweep pauses a shard of one stripe at a time, with 10,000,000 counters about 4,900,
/// a fraction of a millisecond. Twice as many would pause half as long, and cost each decision a tenth: the heads of their
/// shards would not stay in the processor's second cache.
const STRIPES: usize = 1024;
/// Shards of a stripe, each with a lock of its own.
const SHARDS: usize = 2;
const SHARD_BITS: u32 = SHARDS.ilog2();
/// The map keeps the hash's upper seven bits as tags; dashmap takes the shard from the bits below.
const TAG_BITS: u32 = 7;
/// The stripe comes from bits that pick neither shard nor slot.
const STRIPE_SHIFT: u32 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    /// Names that stand in their record and names that do not: each is found, weighed, and its weight given back.
    #[test]
    fn names_of_every_length() {
        let table = Table::<u64>::new();
        let names: Vec<_> = (1..300_u64).map(|length| vec![7; usize::try_from(length).unwrap()]).collect();
        for (name, state) in names.iter().zip(1..) {
            let location = table.locate(name);
            let mut shard = table.lock(location).unwrap();
            assert_eq!(shard.state_mut(location, name), None);
            shard.insert(location, name, state);
            drop(shard);
            table.set_series(name, 7);
        }
        for (name, mut state) in names.iter().zip(1..) {
            let location = table.locate(name);
            assert_eq!(table.lock(location).unwrap().state_mut(location, name), Some((&mut state, Some(7))));
        }
        assert_eq!(table.live(), names.len());
        assert!(table.bytes() > names.iter().map(Vec::len).sum());
        let dropped: usize =
            (0..table.stripes()).map(|stripe| table.sweep(stripe, Timestamp::EPOCH, |_| true, |_| 0)).sum();
        assert_eq!((dropped, table.live(), table.bytes()), (names.len(), 0, 0));
    }

    #[test]
    fn a_cell_and_a_name_of_ordinary_length_fill_a_line_of_the_cache() {
        assert_eq!(size_of::<Record<crate::engine::Cell>>(), 64);
    }
}
