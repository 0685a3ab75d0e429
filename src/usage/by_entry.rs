//! Requests by the values of the entry keys in `usage: by` of a domain. Each check is counted once, whichever of its
//! descriptors has the entry, and however many of them were denied.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use smallvec::SmallVec;

use super::last_counts::{LastCounts, gained_of};
use super::measure::COUNTED;
use super::series_table::{LastSeries, SeriesName, SeriesTable, Slot};
use super::{Counts, Series, Totals, WorkerSlot};

/// An entry key by which a domain counts requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryKey {
    /// The domain.
    pub domain: String,
    /// The key.
    pub key: String,
}

/// The identity of a series of requests: one value of an entry key. Ordered by domain, key, value.
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
    /// The identity of the series.
    pub name: Arc<RequestName>,
    /// Whether these are all values of the key that are not tracked individually.
    pub other: bool,
    /// Their sums: only requests and hits, admitted and denied, are counted.
    pub totals: Totals,
}

/// The counts of requests of one entry key.
#[derive(Debug)]
pub struct KeyUsage {
    number: usize,
    other_name: Arc<RequestName>,
    /// The values that are not tracked individually.
    other: Counts,
}

/// The counts of requests by entry keys.
#[derive(Debug)]
pub(super) struct ByEntry {
    workers: usize,
    /// Kept over reloads, so that counts never decrease.
    keys: DashMap<EntryKey, Arc<KeyUsage>, ahash::RandomState>,
    /// Shared by all keys beyond [`MAX_KEYS`].
    other: Arc<KeyUsage>,
    next: AtomicUsize,
    values: SeriesTable<RequestName>,
}

/// The counts of the last reading.
#[derive(Debug, Default)]
pub(super) struct LastRequests {
    values: LastSeries<RequestName>,
    /// By the number of the key.
    others: LastCounts<COUNTED>,
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

    /// The counts of a configured key; the same ones after a reload.
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

    /// The number of values that have a series.
    pub(super) fn values(&self) -> usize {
        self.values.used()
    }

    /// Every value that was counted, by domain, key and value; the values of a key are followed by its `other`, if there is one.
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
        // Nearly sorted already, which makes the stable sort fast.
        all.sort_by(|a, b| (&a.name.key, a.other, &a.name.value).cmp(&(&b.name.key, b.other, &b.name.value)));
        all
    }

    /// What has been counted since the last reading, in no order.
    pub(super) fn gains(&self, last: &mut LastRequests) -> Vec<RequestCounts> {
        let mut gains = Vec::new();
        self.values.visit_gains(&mut last.values, |named, totals| {
            gains.push(RequestCounts { name: Arc::clone(&named.name), other: false, totals });
        });
        let mut other = |key: &KeyUsage| {
            let gained = gained_of(&mut last.others, key.number, key.other.read());
            if let Some(totals) = gained.map(|totals| totals.per_counter()).filter(|totals| !totals.is_zero()) {
                gains.push(RequestCounts { name: Arc::clone(&key.other_name), other: true, totals });
            }
        };
        self.keys.iter().for_each(|key| other(&key));
        other(&self.other);
        gains
    }
}

/// The name of the series for keys beyond the bound.
const OTHER: &str = "other";
/// Keys of all domains, over all reloads: 8 keys each for ten times the domains of the largest known configuration.
const MAX_KEYS: usize = 10_000;
/// The longest value that is tracked individually: names of people, tenants and partners are shorter.
const MAX_VALUE_BYTES: usize = 256;
/// A number and a value of usual length need no heap allocation.
const INLINE: usize = 64;
