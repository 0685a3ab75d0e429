//! What is counted apart.

use std::sync::Arc;

use crate::usage::Totals;

/// What a series counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// What belongs to no rule: checks that matched none.
    Unmatched = 0,
    /// A rule, always and exactly.
    Rule = 1,
    /// A counter: one rule for one set of entry values.
    Counter = 2,
    /// The counters of a rule that have no series of their own.
    Other = 3,
    /// Requests with one value of an entry key that their domain names in `usage: by`.
    Request = 4,
    /// The requests of an entry key whose values have no series of their own.
    OtherRequests = 5,
}

impl Kind {
    /// Those that are about rules.
    pub(super) const OF_RULES: [Self; 3] = [Self::Rule, Self::Counter, Self::Other];
    /// Those that are about requests by entry.
    pub(super) const OF_REQUESTS: [Self; 2] = [Self::Request, Self::OtherRequests];

    /// Kinds as a list of SQL.
    pub(super) fn list(kinds: &[Self]) -> String {
        kinds.iter().map(|kind| (*kind as i64).to_string()).collect::<Vec<_>>().join(", ")
    }
}

/// What is counted apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Series {
    /// What it counts.
    pub kind: Kind,
    /// The domain; empty for [`Kind::Unmatched`].
    pub domain: String,
    /// The configured path of the rule, domain included; empty for [`Kind::Unmatched`]. Of requests the entry key.
    pub rule: String,
    /// The entries, key and value, of a [`Kind::Counter`]; the one entry of a [`Kind::Request`].
    pub entries: Vec<(String, String)>,
}

/// A series with its cumulative counts.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The series.
    pub series: Arc<Series>,
    /// Its counts since the process started, or since the series began.
    pub counts: Totals,
}

/// Reads the cumulative counts of every series that counted anything; called by one thread, off the decision path.
///
/// A series that is missing in one reading begins at 0 when it is back. The reader bounds the number of series.
pub type ReadUsage = Box<dyn Fn() -> Vec<Reading> + Send>;

impl Series {
    /// The series of what matched no rule.
    pub fn unmatched() -> Self {
        Self { kind: Kind::Unmatched, domain: String::new(), rule: String::new(), entries: Vec::new() }
    }

    /// The series of a rule.
    pub fn rule(domain: &str, rule: &str) -> Self {
        Self { kind: Kind::Rule, domain: domain.into(), rule: rule.into(), entries: Vec::new() }
    }

    /// The series of a counter.
    pub fn counter(domain: &str, rule: &str, entries: Vec<(String, String)>) -> Self {
        Self { kind: Kind::Counter, entries, ..Self::rule(domain, rule) }
    }

    /// The series of a rule's counters that have none of their own.
    pub fn other(domain: &str, rule: &str) -> Self {
        Self { kind: Kind::Other, ..Self::rule(domain, rule) }
    }

    /// The series of the requests with one value of an entry key.
    pub fn request(domain: &str, key: &str, value: &str) -> Self {
        Self { kind: Kind::Request, entries: vec![(key.into(), value.into())], ..Self::rule(domain, key) }
    }

    /// The series of the requests of an entry key whose values have none of their own.
    pub fn other_requests(domain: &str, key: &str) -> Self {
        Self { kind: Kind::OtherRequests, ..Self::rule(domain, key) }
    }
}
