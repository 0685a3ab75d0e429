//! A filter of usage.

use super::{CounterCounts, CounterName, Denial, Measure, RequestCounts, RuleName, Totals};

/// Selects a part of the usage. All given conditions must hold; an empty filter selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this domain.
    pub domain: Option<String>,
    /// Only the rule with this path.
    pub rule: Option<String>,
    /// Only counters with these entries, key and value.
    pub entries: Vec<(String, String)>,
    /// Only rules, counters and values with denials.
    pub only_denied: bool,
}

impl Filter {
    /// Whether it selects everything, including checks that matched no rule.
    pub fn takes_all(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it may select a rule of this name.
    pub fn takes_rule(&self, rule: &RuleName) -> bool {
        self.takes_name(&rule.domain, &rule.path)
    }

    /// Whether it may select a series with these sums.
    pub fn takes_totals(&self, totals: &Totals) -> bool {
        !self.only_denied || totals.get(Measure::RequestsDenied) > 0
    }

    /// Whether it selects a counter.
    pub fn takes_counter(&self, counter: &CounterCounts) -> bool {
        self.takes_totals(&counter.totals) && self.takes_name_of(&counter.name)
    }

    /// Whether it selects the requests with one value of a key, which is their only entry.
    pub fn takes_request(&self, requests: &RequestCounts) -> bool {
        let RequestCounts { name, other, totals } = requests;
        let is_it = |(key, value): &(String, String)| !other && *key == name.key.key && *value == name.value;
        self.takes_totals(totals) && self.takes_name(&name.key.domain, "") && self.entries.iter().all(is_it)
    }

    /// Whether it selects a denied check: a limit of the rule denied it, and its descriptors have the entries.
    pub fn takes_denial(&self, denial: &Denial) -> bool {
        denial.limits().any(|limit| self.takes_name(&denial.domain, &limit.rule))
            && self.entries.iter().all(|wanted| denial.has_entry(wanted))
    }

    fn takes_name_of(&self, name: &CounterName) -> bool {
        self.takes_rule(&name.rule) && self.takes_entries(&name.entries)
    }

    fn takes_name(&self, domain: &str, rule: &str) -> bool {
        let is = |wanted: &Option<String>, given: &str| wanted.as_ref().is_none_or(|wanted| wanted == given);
        is(&self.domain, domain) && is(&self.rule, rule)
    }

    fn takes_entries(&self, entries: &[(String, String)]) -> bool {
        self.entries.iter().all(|wanted| entries.contains(wanted))
    }
}
