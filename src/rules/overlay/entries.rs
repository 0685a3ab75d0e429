//! Values by the entries of a check.

use std::collections::HashMap;

use smallvec::SmallVec;

use crate::rules::Entry;

/// Values for checks with certain entries, found with one look-up for each set of keys.
#[derive(Clone, Debug)]
pub struct ByEntries<T> {
    /// Those with the fewest keys first.
    groups: Vec<Group<T>>,
}

/// Values by the values of one set of keys.
#[derive(Clone, Debug)]
struct Group<T> {
    keys: Vec<String>,
    values: HashMap<Key, T, ahash::RandomState>,
}

/// The values of the keys, each preceded by its length.
type Key = SmallVec<[u8; 64]>;

impl<T> Default for ByEntries<T> {
    fn default() -> Self {
        Self { groups: Vec::new() }
    }
}

impl<T> ByEntries<T> {
    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// All values.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.groups.iter().flat_map(|group| group.values.values())
    }

    /// The values for a check with these entries: those with the fewest keys first. Of a key that occurs twice, the first
    /// entry counts.
    ///
    /// Cost: a hash look-up for each set of keys.
    pub fn matching<'s>(&'s self, entries: &'s [Entry<'_>]) -> impl DoubleEndedIterator<Item = &'s T> {
        let value = |key: &str| entries.iter().find(|entry| entry.key == key).map(|entry| &*entry.value);
        self.groups.iter().filter_map(move |group| group.find(value))
    }

    /// The value of exactly these entries, which is added if there is none; `None` if there would be too many sets of keys.
    pub(super) fn entry(&mut self, entries: &[(String, String)], add: impl FnOnce() -> T) -> Option<&mut T> {
        let keys = || entries.iter().map(|(key, _)| key);
        let place = match self.groups.iter().position(|group| group.keys.iter().eq(keys())) {
            Some(place) => place,
            None if self.groups.len() >= MAX_KEY_SETS => return None,
            None => self.add_group(keys().cloned().collect()),
        };
        let mut key = Key::new();
        for (_, value) in entries {
            push(&mut key, value);
        }
        self.groups.get_mut(place).map(|group| group.values.entry(key).or_insert_with(add))
    }

    fn add_group(&mut self, keys: Vec<String>) -> usize {
        let place = self.groups.partition_point(|group| group.keys.len() <= keys.len());
        self.groups.insert(place, Group { keys, values: HashMap::default() });
        place
    }
}

impl<T> Group<T> {
    fn find<'v>(&self, value: impl Fn(&str) -> Option<&'v str>) -> Option<&T> {
        let mut key = Key::new();
        for name in &self.keys {
            push(&mut key, value(name)?);
        }
        self.values.get(&key)
    }
}

/// Sets of keys, for each of which a check is looked up.
pub(super) const MAX_KEY_SETS: usize = 16;

fn push(key: &mut Key, value: &str) {
    key.extend_from_slice(&value.len().to_le_bytes());
    key.extend_from_slice(value.as_bytes());
}
