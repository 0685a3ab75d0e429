//! What operators changed at run time, as replicas share it: a map from what was changed to its latest change.
//!
//! PURE. Each change is a [`Record`]; of two records about the same thing the later one counts, wherever they are, and however often and
//! in whatever order they are merged. So replicas that have heard of the same changes have the same ledger: it is a last-writer-wins map
//! (Shapiro et al., "A comprehensive study of Convergent and Commutative Replicated Data Types", 2011, section 3.2). The time of a change is that
//! of the engine of shared counters, and later than all that was known of the same thing where it was made.
//!
//! The ledger has [`PARTS`], so that a change need not carry all others. What is in a record is the business of those who make it: records of a
//! kind that is not known here are kept, and passed on as they are.

mod part;
mod record;

pub use part::PartError;
pub use record::{Change, Record};

use part::Part;
use sha2::{Digest as _, Sha256};

use crate::units::Timestamp;

/// Every change that counts.
#[derive(Clone, Debug)]
pub struct Ledger {
    parts: Vec<Part>,
}

/// What a merge has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Records that are new here.
    pub changed: Vec<Record>,
    /// What the others have to get; `None`: they have all of it.
    pub write: Option<String>,
    /// Records that cannot be read.
    pub unreadable: usize,
}

/// A change that the ledger has no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is too large, or there are too many")]
pub struct Full;

impl Default for Ledger {
    fn default() -> Self {
        Self { parts: (0..PARTS).map(Part::new).collect() }
    }
}

impl Ledger {
    /// Notes a change that is made here at `now`, by the engine's clock. Returns it as a record, later than any other about the same thing.
    ///
    /// # Errors
    /// There is no room. Then nothing has changed.
    pub fn record(&mut self, change: Change, by: &str, now: Timestamp) -> Result<Record, Full> {
        let part = self.parts.get_mut(part_of(&change.id)).ok_or(Full)?;
        part.add(change, by, now.as_us())
    }

    /// Keeps a record that was kept before. Returns whether it is the latest about its thing.
    pub fn restore(&mut self, record: Record) -> bool {
        let part = self.parts.get_mut(part_of(record.id()));
        part.is_some_and(|part| part.restore(record))
    }

    /// Merges what others have of a part; `None`: nothing.
    ///
    /// # Errors
    /// It is not that of a ledger, or of a later version. Then nothing has changed.
    pub fn merge(&mut self, part: usize, others: Option<&str>, now: Timestamp) -> Result<Merged, PartError> {
        match self.parts.get_mut(part) {
            Some(part) => part.merge(others, now.as_us()),
            None => Ok(Merged::default()),
        }
    }

    /// Whether a part has no record.
    pub fn is_empty(&self, part: usize) -> bool {
        self.parts.get(part).is_none_or(Part::is_empty)
    }

    /// The latest record about a thing.
    pub fn get(&self, id: &str) -> Option<&Record> {
        self.parts.get(part_of(id))?.get(id)
    }

    /// Every record, by part and id.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.parts.iter().flat_map(Part::records)
    }

    /// When the latest change was made, by the engine's clock.
    pub fn latest(&self) -> Option<Timestamp> {
        self.records().map(Record::at).max()
    }
}

/// The part of the records about a thing.
pub fn part_of(id: &str) -> usize {
    if id == RULES {
        return RULES_PART;
    }
    let hash = Sha256::digest(id);
    hash.first().map_or(0, |byte| usize::from(*byte)) % RULES_PART
}

/// The id of the rules that were promoted, which have a part of their own: they are large.
pub const RULES: &str = r#"["rules"]"#;
/// The part of the promoted rules.
pub const RULES_PART: usize = 64;
/// The parts. A change carries the other records of its part.
pub const PARTS: usize = RULES_PART + 1;
/// The text of a part, in bytes: some hundred records with long names.
pub const MAX_PART_BYTES: usize = 1 << 20;
/// The same of the part with promoted rules: the files of a candidate, of which each character may be escaped.
pub const MAX_RULES_BYTES: usize = 12 << 20;

/// The longest text of a part.
pub const fn most_bytes(part: usize) -> usize {
    if part == RULES_PART { MAX_RULES_BYTES } else { MAX_PART_BYTES }
}

#[cfg(test)]
mod tests;
