//! Series by name: a bounded number, assigned to counters, or to values of an entry key, when they are first seen.
//!
//! A series is kept when its counter expires, and is never assigned to another, so that reported numbers only grow. When all
//! series are in use, new counters are counted with their rule or key, as `other`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use parking_lot::Mutex;

use super::last_counts::gained;
use super::measure::{Counters, PER_COUNTER};
use super::{RuleName, Totals};

/// The name of a counter in reports: one rule for one set of entry values. Ordered by rule, then entries.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CounterName {
    /// Its rule.
    pub rule: Arc<RuleName>,
    /// The entries, key and value; parts that the rule fixes have the configured text.
    pub entries: Vec<(String, String)>,
}

/// The number of a series; 0: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Series(pub u32);

/// The counts of one series, on a cache line of their own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Slot(pub(super) Counters<PER_COUNTER>);

/// The name of a series; names are ordered as they are reported.
pub(super) trait SeriesName: Ord {
    /// The length of the parts that clients sent.
    fn bytes(&self) -> usize;
}

impl SeriesName for CounterName {
    fn bytes(&self) -> usize {
        self.entries.iter().map(|(key, value)| key.len() + value.len()).sum()
    }
}

/// All series with names of one kind.
///
/// Counting takes the read lock of one shard of `by_key`. Only a new series takes the lock of `all`, which readers of the
/// usage hold while they copy it.
#[derive(Debug)]
pub(super) struct SeriesTable<N = CounterName> {
    slots: Box<[Slot]>,
    by_key: DashMap<Box<[u8]>, Series, ahash::RandomState>,
    all: Mutex<Vec<Named<N>>>,
    /// The length of `all`.
    used: AtomicUsize,
    /// The names in order. Written only by readers of the usage.
    sorted: Mutex<Arc<[Named<N>]>>,
}

/// The series of a table at its last reading, by number.
#[derive(Debug)]
pub(super) struct LastSeries<N>(Vec<(Named<N>, [u64; PER_COUNTER])>);

impl<N> Default for LastSeries<N> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// A series in use.
#[derive(Debug)]
pub(super) struct Named<N = CounterName> {
    pub(super) name: Arc<N>,
    pub(super) series: Series,
    /// The number of the rule or the entry key.
    pub(super) rule: usize,
}

impl<N> Clone for Named<N> {
    fn clone(&self) -> Self {
        Self { name: Arc::clone(&self.name), ..*self }
    }
}

impl Slot {
    pub(super) fn totals(&self) -> Totals {
        Totals::from_counted(self.0.values())
    }

    /// The first count: all of them are loaded with it.
    pub(super) fn first(&self) -> Option<u64> {
        self.0.values().next()
    }
}

impl<N: SeriesName> SeriesTable<N> {
    /// A table for `limit` series, each 64 bytes and its name.
    pub(super) fn new(limit: u32) -> Self {
        let slots = std::iter::repeat_with(Slot::default).take(usize::try_from(limit).unwrap_or(0)).collect();
        let (by_key, all, sorted) = (DashMap::default(), Mutex::default(), Mutex::new(Arc::from([])));
        Self { slots, by_key, all, used: AtomicUsize::new(0), sorted }
    }

    pub(super) fn slot(&self, series: Series) -> Option<&Slot> {
        self.slots.get(usize::try_from(series.0).ok()?.checked_sub(1)?)
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn limit(&self) -> usize {
        self.slots.len()
    }

    /// The series of the counter with this key, the next free one for a new counter; none if all are in use, or the name of the
    /// counter is longer than [`MAX_NAME_BYTES`].
    pub(super) fn series(&self, key: &[u8], rule: usize, name: impl FnOnce() -> N) -> Series {
        if self.slots.is_empty() || key.len() > MAX_NAME_BYTES {
            return Series::default();
        }
        if let Some(series) = self.by_key.get(key) {
            return *series;
        }
        if self.used() >= self.slots.len() { Series::default() } else { self.assign(key, rule, name()) }
    }

    fn assign(&self, key: &[u8], rule: usize, name: N) -> Series {
        if name.bytes() > MAX_NAME_BYTES {
            return Series::default();
        }
        match self.by_key.entry(key.into()) {
            Entry::Occupied(given) => *given.get(),
            Entry::Vacant(place) => {
                let mut all = self.all.lock();
                if all.len() >= self.slots.len() {
                    return Series::default();
                }
                let series = Series(u32::try_from(all.len() + 1).unwrap_or(0));
                all.push(Named { name: Arc::new(name), series, rule });
                self.used.store(all.len(), Ordering::Relaxed);
                *place.insert(series)
            }
        }
    }

    /// The sums of each rule's series, by the rule's number.
    pub(super) fn by_rule(&self) -> HashMap<usize, Totals, ahash::RandomState> {
        let mut sums: HashMap<_, Totals, _> = HashMap::default();
        for named in &*self.all.lock() {
            sums.entry(named.rule).or_default().add(&self.slot(named.series).map(Slot::totals).unwrap_or_default());
        }
        sums
    }

    /// Visits every series that has counted something since the last reading, with what it has counted. Cost: a few loads for each series
    /// in use.
    pub(super) fn visit_gains(&self, last: &mut LastSeries<N>, mut visit: impl FnMut(&Named<N>, Totals)) {
        if self.used() > last.0.len() {
            let known = last.0.len();
            last.0.extend(self.all.lock().iter().skip(known).map(|named| (named.clone(), [0; PER_COUNTER])));
        }
        for (named, counts) in &mut last.0 {
            let now = self.slot(named.series).map(|slot| slot.0.read());
            if let Some(totals) = now.and_then(|now| gained(counts, now)) {
                visit(named, totals);
            }
        }
    }

    /// Every series in use, by name. Cost: sorts them when there are new ones.
    pub(super) fn sorted(&self) -> Arc<[Named<N>]> {
        let mut sorted = self.sorted.lock();
        if self.used() > sorted.len() {
            let mut all = self.all.lock().clone();
            all.sort_unstable_by(|a, b| a.name.cmp(&b.name).then(a.series.0.cmp(&b.series.0)));
            *sorted = all.into();
        }
        Arc::clone(&sorted)
    }
}

/// The longest name that a series has, in bytes: 10,000 of them take 20 MiB at most.
const MAX_NAME_BYTES: usize = 1024;
