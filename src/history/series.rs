//! The series of the history.

use std::sync::Arc;

#[cfg(test)]
use crate::usage::EntryKey;
use crate::usage::{CounterName, RequestName, RuleName, Totals};

/// What a series counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum SeriesKind {
    /// Checks that matched no rule.
    Unmatched = 0,
    /// A rule, always with exact counts.
    Rule = 1,
    /// A counter: one rule for one set of entry values.
    Counter = 2,
    /// The counters of a rule that are not tracked individually.
    Other = 3,
    /// Requests with one value of an entry key in `usage: by` of the domain.
    Request = 4,
    /// Requests with values of an entry key that are not tracked individually.
    OtherRequests = 5,
}

impl SeriesKind {
    /// The kinds about rules.
    pub(super) const OF_RULES: [Self; 3] = [Self::Rule, Self::Counter, Self::Other];
    /// The kinds about requests by entry.
    pub(super) const OF_REQUESTS: [Self; 2] = [Self::Request, Self::OtherRequests];

    /// Kinds as a list in SQL.
    pub(super) fn list(kinds: &[Self]) -> String {
        kinds.iter().map(|kind| (*kind as i64).to_string()).collect::<Vec<_>>().join(", ")
    }
}

/// A series, which has rows of its own. Its names are shared with the usage, so copies are cheap.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Series {
    /// See [`SeriesKind::Unmatched`].
    Unmatched,
    /// See [`SeriesKind::Rule`].
    Rule(Arc<RuleName>),
    /// See [`SeriesKind::Counter`].
    Counter(Arc<CounterName>),
    /// See [`SeriesKind::Other`]; only the rule of the name matters.
    Other(Arc<CounterName>),
    /// See [`SeriesKind::Request`].
    Request(Arc<RequestName>),
    /// See [`SeriesKind::OtherRequests`]; only the key of the name matters.
    OtherRequests(Arc<RequestName>),
}

/// A series with what it has used since the last reading.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    /// The series.
    pub series: Series,
    /// The counts since the last reading; since the process started in the first one.
    pub used: Totals,
}

/// Passes on what every series has used since the last reading; called by one thread, off the decision path.
///
/// A series that has used nothing may be missing, and one may be there twice. The reader bounds the number of series.
pub(crate) type ReadUsage = Box<dyn FnMut(&mut dyn FnMut(Reading)) + Send>;

impl Series {
    /// What the series counts.
    pub(crate) fn kind(&self) -> SeriesKind {
        match self {
            Self::Unmatched => SeriesKind::Unmatched,
            Self::Rule(_) => SeriesKind::Rule,
            Self::Counter(_) => SeriesKind::Counter,
            Self::Other(_) => SeriesKind::Other,
            Self::Request(_) => SeriesKind::Request,
            Self::OtherRequests(_) => SeriesKind::OtherRequests,
        }
    }

    /// The domain; empty for [`SeriesKind::Unmatched`].
    pub(crate) fn domain(&self) -> &str {
        match self {
            Self::Unmatched => "",
            Self::Rule(name) => &name.domain,
            Self::Counter(name) | Self::Other(name) => &name.rule.domain,
            Self::Request(name) | Self::OtherRequests(name) => &name.key.domain,
        }
    }

    /// The configured path of the rule, domain included; for requests the entry key; empty for [`SeriesKind::Unmatched`].
    pub(crate) fn rule(&self) -> &str {
        match self {
            Self::Unmatched => "",
            Self::Rule(name) => &name.path,
            Self::Counter(name) | Self::Other(name) => &name.rule.path,
            Self::Request(name) | Self::OtherRequests(name) => &name.key.key,
        }
    }

    /// The entries, key and value, of a [`SeriesKind::Counter`]; the one entry of a [`SeriesKind::Request`].
    pub(crate) fn entries(&self) -> Vec<(&str, &str)> {
        match self {
            Self::Unmatched | Self::Rule(_) | Self::Other(_) | Self::OtherRequests(_) => Vec::new(),
            Self::Counter(name) => name.entries.iter().map(|(key, value)| (&**key, &**value)).collect(),
            Self::Request(name) => vec![(&name.key.key, &name.value)],
        }
    }
}

#[cfg(test)]
impl Series {
    pub(super) fn for_rule(domain: &str, rule: &str) -> Self {
        Self::Rule(Arc::new(RuleName { domain: domain.into(), path: rule.into() }))
    }

    pub(super) fn for_counter(domain: &str, rule: &str, entries: Vec<(String, String)>) -> Self {
        let rule = Arc::new(RuleName { domain: domain.into(), path: rule.into() });
        Self::Counter(Arc::new(CounterName { rule, entries }))
    }

    pub(super) fn for_other(domain: &str, rule: &str) -> Self {
        let rule = Arc::new(RuleName { domain: domain.into(), path: rule.into() });
        Self::Other(Arc::new(CounterName { rule, entries: Vec::new() }))
    }

    pub(super) fn for_request(domain: &str, key: &str, value: &str) -> Self {
        let key = Arc::new(EntryKey { domain: domain.into(), key: key.into() });
        Self::Request(Arc::new(RequestName { key, value: value.into() }))
    }

    pub(super) fn for_other_requests(domain: &str, key: &str) -> Self {
        let key = Arc::new(EntryKey { domain: domain.into(), key: key.into() });
        Self::OtherRequests(Arc::new(RequestName { key, value: String::new() }))
    }
}
