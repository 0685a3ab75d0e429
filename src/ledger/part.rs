//! One part of the ledger.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::record::{Change, Record};
use super::{Full, Merged, most_bytes};

/// Records by what they are about.
#[derive(Clone, Debug)]
pub(super) struct Part {
    records: BTreeMap<String, Record>,
    most_bytes: usize,
}

/// Why a text is not merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartError {
    /// A later version wrote it, in another form: it is left alone.
    #[error("a later version of Tidegate wrote it")]
    Later,
}

#[derive(Deserialize)]
struct Format {
    format: u64,
}

#[derive(Deserialize)]
struct Texts<'t> {
    #[serde(borrow)]
    records: Vec<&'t RawValue>,
}

impl Part {
    pub(super) fn new(number: usize) -> Self {
        Self { records: BTreeMap::new(), most_bytes: most_bytes(number) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(super) fn get(&self, id: &str) -> Option<&Record> {
        self.records.get(id)
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    pub(super) fn add(&mut self, change: Change, by: &str, now_us: u64) -> Result<Record, Full> {
        self.records.retain(|_, record| !record.has_ended(now_us));
        let before = self.records.get(&change.id);
        let at = before.map_or(now_us, |before| before.at_us().saturating_add(1).max(now_us));
        // What is replaced may be known longer elsewhere, and must not come back from there.
        let keep = change.keep.map(|keep| before.and_then(Record::keep).map_or(keep, |before| before.max(keep)));
        let record = Record::new(Change { keep, ..change }, by, at);
        let others = self.records.values().filter(|other| other.id() != record.id());
        let (live, dead) = others.clone().fold((0, 0), |(live, dead), other| match other.is() {
            Some(_) => (live + 1, dead),
            None => (live, dead + 1),
        });
        let bytes: usize = others.map(|other| other.text().len() + 1).sum();
        let (same, most) = if record.is().is_some() { (live, MAX_LIVE) } else { (dead, MAX_DEAD) };
        // The oldest of those that are no more have to make room for others, at the next merge.
        if record.is().is_some() && same >= most || bytes + record.text().len() + FRAME_BYTES > self.most_bytes {
            return Err(Full);
        }
        self.records.insert(record.id().to_owned(), record.clone());
        Ok(record)
    }

    pub(super) fn restore(&mut self, record: Record) -> bool {
        match self.records.entry(record.id().to_owned()) {
            Entry::Vacant(free) => {
                free.insert(record);
                true
            }
            Entry::Occupied(mut before) if before.get().order(&record).is_lt() => {
                before.insert(record);
                true
            }
            Entry::Occupied(_) => false,
        }
    }

    pub(super) fn merge(&mut self, others: Option<&str>, now_us: u64) -> Result<Merged, PartError> {
        let (theirs, unreadable) = others.map_or(Ok((Vec::new(), 0)), |text| read(text, now_us))?;
        let mut there: BTreeMap<&str, &Record> = BTreeMap::new();
        for record in &theirs {
            let latest = there.entry(record.id()).or_insert(record);
            if latest.order(record).is_lt() {
                *latest = record;
            }
        }
        let mut changed: Vec<Record> = Vec::new();
        for record in there.values() {
            if self.get(record.id()).is_none_or(|known| known.order(record).is_lt()) {
                changed.push(Record::clone(record));
                self.restore(Record::clone(record));
            }
        }
        self.records.retain(|_, record| !record.has_ended(now_us));
        self.make_room();
        changed.retain(|record| self.records.contains_key(record.id()));
        // What has ended there, and what is beyond the bounds, is no reason to write.
        let lacks = self.records.values().any(|record| there.get(record.id()) != Some(&record));
        Ok(Merged { changed, write: lacks.then(|| self.text()), unreadable })
    }

    /// Drops the oldest of what is beyond the bounds: which ones depends on the records alone.
    fn make_room(&mut self) {
        let bytes: usize = self.records.values().map(|record| record.text().len() + 1).sum();
        if self.records.len() <= MAX_DEAD && bytes + FRAME_BYTES <= self.most_bytes {
            return;
        }
        let mut all: Vec<Record> = std::mem::take(&mut self.records).into_values().collect();
        all.sort_by(|one, other| (other.is().is_some()).cmp(&one.is().is_some()).then(other.order(one)));
        let (mut live, mut dead, mut bytes) = (0, 0, FRAME_BYTES);
        for record in all {
            let (count, most) = if record.is().is_some() { (&mut live, MAX_LIVE) } else { (&mut dead, MAX_DEAD) };
            bytes += record.text().len() + 1;
            if *count >= most || bytes > self.most_bytes {
                continue;
            }
            *count += 1;
            self.records.insert(record.id().to_owned(), record);
        }
    }

    fn text(&self) -> String {
        let mut text = format!(r#"{{"format":{FORMAT},"records":["#);
        for (place, record) in self.records.values().enumerate() {
            text.push_str(if place == 0 { "\n" } else { ",\n" });
            text.push_str(record.text());
        }
        text.push_str("]}");
        text
    }
}

/// The records of a text, and how many are none. A text that is none at all has none: it is replaced.
fn read(text: &str, now_us: u64) -> Result<(Vec<Record>, usize), PartError> {
    match serde_json::from_str(text) {
        Ok(Format { format: FORMAT }) => {}
        Ok(Format { format: FORMAT.. }) => return Err(PartError::Later),
        _ => return Ok((Vec::new(), 1)),
    }
    let Ok(Texts { records: texts }) = serde_json::from_str(text) else { return Ok((Vec::new(), 1)) };
    let latest = now_us.saturating_add(MAX_AHEAD_US);
    let (mut records, mut unreadable) = (Vec::with_capacity(texts.len()), 0);
    for text in texts {
        match Record::read(text.get()).filter(|record| record.at_us() <= latest) {
            Some(record) if record.has_ended(now_us) => {}
            Some(record) => records.push(record),
            None => unreadable += 1,
        }
    }
    Ok((records, unreadable))
}

/// The form of the text. A new field needs no new one.
const FORMAT: u64 = 1;
/// What is around the records.
const FRAME_BYTES: usize = 64;
/// Records with a value: three times the share of a part of as many settings and bans as there may be.
const MAX_LIVE: usize = 512;
/// Records without one, which say that something is no more.
const MAX_DEAD: usize = 256;
/// A change that is made so much later than now was made by no clock that can be followed: nothing could replace it.
const MAX_AHEAD_US: u64 = 24 * 60 * 60 * 1_000_000;
