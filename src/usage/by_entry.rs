//! Requests by the values of the entry keys that `usage: by` of a domain names: once per check, whichever descriptor
//! carries the entry, and however many of them denied.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use smallvec::SmallVec;

use super::series_table::{SeriesName, SeriesTable, Slot};
use super::{Counts, Series, Totals, WorkerSlot};

/// An entry key that a domain counts requests by.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryKey {
    /// The domain.
    pub domain: String,
    /// The key.
    pub key: String,
}

/// Which requests are counted together: those with one value of an entry key. Ordered by domain, key, value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestName {
    /// The key.
    pub key: Arc<EntryKey>,
    /// The value; empty for `other`.
    pub value: String,
}

/// The requests with one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestCounts {
    /// Which requests.
    pub name: Arc<RequestName>,
    /// All values of the key without a series of their own.
    pub other: bool,
    /// Their sums; only requests and hits, admitted and denied, are known.
    pub totals: Totals,
}

/// Where the requests of one entry key are counted.
#[derive(Debug)]
pub struct KeyUsage {
    number: usize,
    other_name: Arc<RequestName>,
    /// What has no series of its own.
    other: Counts,
}

/// All requests that are counted by an entry key.
#[derive(Debug)]
pub(super) struct ByEntry {
    workers: usize,
    /// They outlive reloads, so that counts never go back.
    keys: DashMap<EntryKey, Arc<KeyUsage>, ahash::RandomState>,
    /// The keys beyond [`MAX_KEYS`], together.
    other: Arc<KeyUsage>,
    next: AtomicUsize,
    values: SeriesTable<RequestName>,
}

impl SeriesName for RequestName {
    fn bytes(&self) -> usize {
        self.value.len()
    }
}

impl KeyUsage {
    fn new(key: EntryKey, number: usize, workers: usize) -> Self {
        let other_name = Arc::new(RequestName { key: Arc::new(key), value: String::new() });
        Self { number, other_name, other: Counts::new(workers) }
    }

    /// The entry key.
    pub fn key(&self) -> &str {
        &self.other_name.key.key
    }
}

impl ByEntry {
    pub(super) fn new(workers: usize, series: u32) -> Self {
        let other = EntryKey { domain: OTHER.into(), key: OTHER.into() };
        Self {
            workers,
            keys: DashMap::default(),
            other: Arc::new(KeyUsage::new(other, 0, workers)),
            next: AtomicUsize::new(1),
            values: SeriesTable::new(series),
        }
    }

    /// Where requests of a configured key are counted; the same place after a reload.
    pub(super) fn for_key(&self, domain: &str, key: &str) -> Arc<KeyUsage> {
        let name = EntryKey { domain: domain.into(), key: key.into() };
        if let Some(found) = self.keys.get(&name) {
            return Arc::clone(&found);
        }
        if self.keys.len() >= MAX_KEYS {
            return Arc::clone(&self.other);
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let made = || Arc::new(KeyUsage::new(name.clone(), number, self.workers));
        Arc::clone(&self.keys.entry(name.clone()).or_insert_with(made))
    }

    /// Counts one request.
    pub(super) fn count(&self, worker: WorkerSlot, key: &KeyUsage, value: &str, hits: u64, denied: bool) {
        let series = if value.len() > MAX_VALUE_BYTES { Series::default() } else { self.series(key, value) };
        key.other.record_request(worker, self.values.slot(series), hits, denied);
    }

    fn series(&self, key: &KeyUsage, value: &str) -> Series {
        let mut id: SmallVec<[u8; INLINE]> = SmallVec::from_slice(&key.number.to_le_bytes());
        id.extend_from_slice(value.as_bytes());
        let name = || RequestName { key: Arc::clone(&key.other_name.key), value: value.to_owned() };
        self.values.series(&id, key.number, name)
    }

    /// How many values have a series.
    pub(super) fn values(&self) -> usize {
        self.values.used()
    }

    /// Every value that was counted, by domain, key and value; after those of a key its `other`, if it has any.
    pub(super) fn read(&self) -> Vec<RequestCounts> {
        let counts = |name: &Arc<RequestName>, slot: Option<&Slot>| RequestCounts {
            name: Arc::clone(name),
            other: false,
            totals: slot.map(Slot::totals).unwrap_or_default(),
        };
        let sorted = self.values.sorted();
        let mut all: Vec<_> = sorted.iter().map(|named| counts(&named.name, self.values.slot(named.series))).collect();
        let keys: Vec<_> = self.keys.iter().map(|key| Arc::clone(&key)).collect();
        for key in keys.iter().chain([&self.other]) {
            let totals = key.other.totals().per_counter();
            if totals.requests() > 0 {
                all.push(RequestCounts { name: Arc::clone(&key.other_name), other: true, totals });
            }
        }
        // Nearly sorted already, which the stable sort makes use of.
        all.sort_by(|a, b| (&a.name.key, a.other, &a.name.value).cmp(&(&b.name.key, b.other, &b.name.value)));
        all
    }
}

/// The name of what takes the keys that do not fit.
const OTHER: &str = "other";
/// Keys of all domains, over all reloads: ten times as many domains as the largest configuration known has, with 8 each.
const MAX_KEYS: usize = 10_000;
/// The longest value with a series of its own: names of people, tenants and partners are shorter.
const MAX_VALUE_BYTES: usize = 256;
/// A number and a value of ordinary length need no heap.
const INLINE: usize = 64;
