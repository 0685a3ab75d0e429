//! What can be asked of the history.

use crate::units::Timestamp;
use crate::usage::{Filter, Totals};

/// A question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    /// The first instant; `None`: as far back as there is history.
    pub from: Option<Timestamp>,
    /// The instant after the last; `None`: now.
    pub to: Option<Timestamp>,
    /// Which usage; `only_denied` is about the range.
    pub filter: Filter,
    /// Requests, not rules and counters: those that were counted by the values of this entry key. The filter has no rule
    /// then, and no entry with another key.
    pub requests_by: Option<String>,
    /// How rows are made.
    pub groups: Groups,
    /// Rows of one page, at least one.
    pub page_size: usize,
    /// `next_page_token` of the page before; empty for the first.
    pub page_token: String,
}

/// How rows are made; nothing: one row for everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Groups {
    /// A row for each time bucket of so many minutes, aligned to the epoch.
    pub bucket_minutes: Option<u32>,
    /// A row for each domain.
    pub domain: bool,
    /// A row for each rule.
    pub rule: bool,
    /// A row for each value of this entry key.
    pub entry_key: Option<String>,
}

/// A part of the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    /// The rows, by time, domain, rule and value.
    pub rows: Vec<Row>,
    /// For the next page; empty after the last.
    pub next_page_token: String,
    /// The first instant that the history knows.
    pub history_from: Timestamp,
    /// The history ends with the process.
    pub in_memory: bool,
}

/// The usage of one group; fields that are not grouped by are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    /// The beginning of the bucket.
    pub time: Option<Timestamp>,
    /// The domain.
    pub domain: String,
    /// The rule's path.
    pub rule: String,
    /// The entry's value; empty for counters without the key, and for `other`.
    pub value: String,
    /// The requests of all values without a series of their own.
    pub other: bool,
    /// What was used.
    pub counts: Totals,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QueryError {
    /// The range is empty or inverted.
    #[error("the range is empty: from must be before to")]
    EmptyRange,
    /// A token that this database did not give for this question.
    #[error("page_token is not one of this history for this query: ask for the first page again")]
    Token,
    /// Reading took too long, or nobody waits for the answer any more.
    #[error("the query took longer than {MAX_SECONDS} s: ask for a shorter range or fewer groups")]
    TooLong,
    /// The history cannot be read.
    #[error("the history cannot be read: {0}")]
    Unavailable(String),
}

impl Groups {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn bucket_seconds(&self) -> Option<i64> {
        self.bucket_minutes.map(|minutes| i64::from(minutes.max(1)) * 60)
    }
}

impl Query {
    /// What a token belongs to: all of the question but the token and the page's size.
    pub(super) fn text(&self) -> String {
        format!("{:?} {:?} {:?} {:?} {:?}", self.from, self.to, self.filter, self.requests_by, self.groups)
    }

    /// Whether rows are of single counters, not of whole rules.
    pub(super) fn is_of_counters(&self) -> bool {
        self.groups.entry_key.is_some() || !self.filter.entries.is_empty()
    }

    /// Whether what matched no rule is a part of the answer: it has no domain, rule or entry.
    pub(super) fn is_of_everything(&self) -> bool {
        let Groups { domain, rule, entry_key, .. } = &self.groups;
        self.filter.takes_all() && self.requests_by.is_none() && !domain && !rule && entry_key.is_none()
    }
}

/// The longest that a page may take, in seconds: a pass over a full database of the default size.
pub(super) const MAX_SECONDS: u64 = 20;
