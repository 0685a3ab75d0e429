//! Queries of the history, and their results.

use crate::units::{Nanos, Timestamp};
use crate::usage::{Filter, Totals};

/// A query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    /// The first instant; `None`: the beginning of the history.
    pub from: Option<Timestamp>,
    /// The instant after the last; `None`: now.
    pub to: Option<Timestamp>,
    /// The usage to select; `only_denied` applies to the whole range.
    pub filter: Filter,
    /// Selects requests in place of rules and counters: those counted by the values of this entry key. Then the filter has no
    /// rule, and no entry with another key.
    pub requests_by: Option<String>,
    /// How the usage is grouped in rows.
    pub groups: Groups,
    /// The number of rows of one page, at least one.
    pub page_size: usize,
    /// `next_page_token` of the previous page; empty for the first one.
    pub page_token: String,
}

/// How the usage is grouped in rows; without any group, one row for everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Groups {
    /// A row for each time bucket of this many minutes, aligned to the epoch.
    pub bucket_minutes: Option<u32>,
    /// A row for each domain.
    pub domain: bool,
    /// A row for each rule.
    pub rule: bool,
    /// A row for each value of this entry key.
    pub entry_key: Option<String>,
    /// A row for each counter, and one for those that are not tracked individually; not with `entry_key`.
    pub counter: bool,
}

/// A page of the result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    /// The rows, by time, domain, rule and value.
    pub rows: Vec<Row>,
    /// The token for the next page; empty on the last one.
    pub next_page_token: String,
    /// The beginning of the history.
    pub history_from: Timestamp,
    /// The history is only in memory.
    pub in_memory: bool,
    /// The lengths of rows that are kept, the shortest first, each with the instant from which on all of them are there.
    pub kept: Vec<(Nanos, Timestamp)>,
}

/// The usage of one group. Fields that are not grouped by are empty.
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
    /// Whether these are the requests of all values, or the counters, that are not tracked individually.
    pub other: bool,
    /// The counter's entries.
    pub entries: Vec<(String, String)>,
    /// The usage.
    pub counts: Totals,
}

/// Why a query cannot be answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QueryError {
    /// The range is empty or inverted.
    #[error("the range is empty: from must be before to")]
    EmptyRange,
    /// The token is not from this database, or for another query.
    #[error("page_token is not valid for this query and history: start again with the first page")]
    Token,
    /// Reading took too long, or the caller has gone away.
    #[error("the query took longer than {MAX_SECONDS} s: use a shorter range or fewer groups")]
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
    /// Identifies the query that a token belongs to: everything except the token and the page size.
    pub(super) fn text(&self) -> String {
        format!("{:?} {:?} {:?} {:?} {:?}", self.from, self.to, self.filter, self.requests_by, self.groups)
    }

    /// Whether rows are about single counters, not whole rules.
    pub(super) fn is_of_counters(&self) -> bool {
        self.groups.entry_key.is_some() || self.groups.counter || !self.filter.entries.is_empty()
    }

    /// Whether checks that matched no rule are a part of the result: they have no domain, rule or entry.
    pub(super) fn is_of_everything(&self) -> bool {
        let Groups { domain, rule, entry_key, counter, .. } = &self.groups;
        self.filter.takes_all() && self.requests_by.is_none() && !domain && !rule && !counter && entry_key.is_none()
    }
}

/// The longest time for a page, in seconds: enough for a pass over a full database of the default size.
pub(super) const MAX_SECONDS: u64 = 20;
