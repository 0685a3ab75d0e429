//! One change.

use std::cmp::Ordering;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::units::Timestamp;

/// A change that is to be noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What is changed: a JSON array of which the first text is its kind.
    pub id: String,
    /// The value, as JSON; `None`: there is none any more.
    pub is: Option<String>,
    /// Who changes it, and why, as JSON.
    pub note: String,
    /// Until when the record is to be known, by the engine's clock; `None`: as long as it is the latest.
    pub keep: Option<Timestamp>,
}

/// One change, as a text that others may have written: `{"id": [...], "at": 1, "by": "...", "keep": 2, "note": {...}, "is": ...}`, with times in
/// microseconds since the epoch. Other fields are kept, and mean nothing here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    id: String,
    at: u64,
    by: String,
    keep: Option<u64>,
    note: Box<str>,
    is: Option<Box<str>>,
    text: Box<str>,
}

/// The fields that have a meaning here.
#[derive(Deserialize)]
struct Fields<'t> {
    id: Vec<Value>,
    at: u64,
    by: String,
    #[serde(default)]
    keep: Option<u64>,
    #[serde(default, borrow)]
    note: Option<&'t RawValue>,
    #[serde(default, borrow)]
    is: Option<&'t RawValue>,
}

impl Record {
    /// A record of a change that is made here.
    pub(super) fn new(change: Change, by: &str, at: u64) -> Self {
        let Change { id, is, note, keep } = change;
        let keep = keep.map(Timestamp::as_us);
        let by_text = Value::from(by).to_string();
        let kept = keep.map(|keep| format!(r#","keep":{keep}"#)).unwrap_or_default();
        let value = is.as_deref().unwrap_or("null");
        let text = format!(r#"{{"id":{id},"at":{at},"by":{by_text}{kept},"note":{note},"is":{value}}}"#);
        Self {
            id,
            at,
            by: by.to_owned(),
            keep,
            note: note.into(),
            is: is.map(String::into_boxed_str),
            text: text.into(),
        }
    }

    /// Reads a record; `None`: it is none, or beyond the bounds.
    pub fn read(text: &str) -> Option<Self> {
        let Fields { id, at, by, keep, note, is } = serde_json::from_str(text).ok()?;
        // In one form, however it was written.
        let id = Value::from(id).to_string();
        if id.len() > MAX_ID_BYTES || by.len() > MAX_BY_BYTES {
            return None;
        }
        let is = is.map(RawValue::get).filter(|is| *is != "null").map(Into::into);
        let note = note.map_or("null", RawValue::get).into();
        Some(Self { id, at, by, keep, note, is, text: text.into() })
    }

    /// What is changed.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// When, by the engine's clock.
    pub fn at(&self) -> Timestamp {
        Timestamp::from_ns(self.at.saturating_mul(1_000))
    }

    /// The replica that made the change.
    pub fn by(&self) -> &str {
        &self.by
    }

    /// The value, as JSON; `None`: there is none any more.
    pub fn is(&self) -> Option<&str> {
        self.is.as_deref()
    }

    /// Who made the change, and why, as JSON.
    pub fn note(&self) -> &str {
        &self.note
    }

    /// Until when it is to be known, by the engine's clock.
    pub fn keep(&self) -> Option<Timestamp> {
        self.keep.map(|keep| Timestamp::from_ns(keep.saturating_mul(1_000)))
    }

    /// As it is passed on.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(super) const fn at_us(&self) -> u64 {
        self.at
    }

    /// Whether it need not be known any more.
    pub(super) fn has_ended(&self, now_us: u64) -> bool {
        self.keep.is_some_and(|keep| keep < now_us)
    }

    /// Which of two records about the same thing is the later one. Two that were made in the same microsecond have an order too, the same everywhere.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        (self.at, &self.by, &self.text).cmp(&(other.at, &other.by, &other.text))
    }
}

/// What is changed: a rule's path and some entries.
const MAX_ID_BYTES: usize = 32 << 10;
/// The name of a replica.
const MAX_BY_BYTES: usize = 64;
