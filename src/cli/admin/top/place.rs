//! Where the view is: in everything, a domain, a rule, or at the counters with one entry.

use super::words::entry_text;
use crate::api::proto::tidegate::v1::{Entry, EntryFilter, ListCountersRequest, UsageFilter};

/// The part of the usage that is shown. The streams and lists of the server are filtered by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    /// Every domain that the token may see.
    #[default]
    Everything,
    /// One domain.
    Domain(String),
    /// One rule.
    Rule {
        /// The domain.
        domain: String,
        /// The configured path.
        rule: String,
    },
    /// The counters of one rule that have one entry.
    Value {
        /// The domain.
        domain: String,
        /// The configured path.
        rule: String,
        /// The entry.
        entry: Entry,
    },
}

impl Place {
    /// The domain, below everything.
    pub(super) fn domain(&self) -> Option<&str> {
        match self {
            Self::Everything => None,
            Self::Domain(domain) | Self::Rule { domain, .. } | Self::Value { domain, .. } => Some(domain),
        }
    }

    /// The rule, at a rule or below.
    pub(super) fn rule(&self) -> Option<&str> {
        match self {
            Self::Everything | Self::Domain(_) => None,
            Self::Rule { rule, .. } | Self::Value { rule, .. } => Some(rule),
        }
    }

    /// The entry, at the counters of a value.
    pub(super) fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Value { entry, .. } => Some(entry),
            _ => None,
        }
    }

    /// Whether a rule of a domain is in it.
    pub(super) fn has_rule(&self, domain: &str, rule: &str) -> bool {
        self.domain().is_none_or(|own| own == domain) && self.rule().is_none_or(|own| own == rule)
    }

    /// The place above.
    pub(super) fn up(&self) -> Option<Self> {
        match self.clone() {
            Self::Everything => None,
            Self::Domain(_) => Some(Self::Everything),
            Self::Rule { domain, .. } => Some(Self::Domain(domain)),
            Self::Value { domain, rule, .. } => Some(Self::Rule { domain, rule }),
        }
    }

    /// The filter of the streams.
    pub(super) fn filter(&self) -> UsageFilter {
        let entry = |Entry { key, value }: &Entry| EntryFilter { key: key.clone(), value: value.clone() };
        UsageFilter {
            domain: self.domain().unwrap_or_default().to_owned(),
            rule: self.rule().unwrap_or_default().to_owned(),
            entries: self.entry().map(entry).into_iter().collect(),
            only_denied: false,
        }
    }

    /// The request for its counters, without a page; with `denied` for those that deny.
    pub(super) fn counters(&self, denied: bool) -> ListCountersRequest {
        ListCountersRequest {
            domain: self.domain().unwrap_or_default().to_owned(),
            rule: self.rule().unwrap_or_default().to_owned(),
            entries: self.entry().cloned().into_iter().collect(),
            denied,
            top: MAX_COUNTERS,
            page_token: String::new(),
            banned: false,
            queued: false,
            shared: false,
        }
    }

    /// The way to it in words: `all domains > api > api.user > user=alice`.
    pub(super) fn trail(&self) -> String {
        let entry = self.entry().map(entry_text);
        let below = [self.domain(), self.rule(), entry.as_deref()];
        below.into_iter().flatten().fold("all domains".to_owned(), |trail, name| format!("{trail} > {name}"))
    }
}

/// As many as one page of the server has.
pub(super) const MAX_COUNTERS: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let (domain, rule) = ("api".to_owned(), "api.user".to_owned());
        let entry = Entry { key: "user".into(), value: "ann".into() };
        let places = [
            (Place::Everything, "all domains", "api.user api.path shop.user"),
            (Place::Domain(domain.clone()), "all domains > api", "api.user api.path"),
            (Place::Rule { domain: domain.clone(), rule: rule.clone() }, "all domains > api > api.user", "api.user"),
            (Place::Value { domain, rule, entry }, "all domains > api > api.user > user=ann", "api.user"),
        ];
        for (place, trail, rules) in &places {
            assert_eq!(place.trail(), *trail);
            let all = [("api", "api.user"), ("api", "api.path"), ("shop", "shop.user")];
            let has = all.iter().filter(|(domain, rule)| place.has_rule(domain, rule)).map(|(_, rule)| *rule);
            assert_eq!(has.collect::<Vec<_>>().join(" "), *rules, "{trail}");
            let UsageFilter { domain, rule, entries, only_denied } = place.filter();
            let request = place.counters(true);
            assert_eq!((request.domain, request.rule, request.entries.len()), (domain, rule, entries.len()), "{trail}");
            assert!(request.denied && !only_denied, "{trail}");
        }
        for pair in places.windows(2) {
            assert_eq!(pair[1].0.up().as_ref(), Some(&pair[0].0));
        }
        assert_eq!(Place::Everything.up(), None);
    }
}
