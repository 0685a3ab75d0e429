//! Selects the part of a snapshot that an observer receives.

use std::cmp::Reverse;
use std::sync::Arc;

use super::{CounterCounts, EntryKey, Filter, Measure, RequestCounts, RuleCounts, Totals, UsageSnapshot};

/// The part of the usage that an observer requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The filter of usage.
    pub filter: Filter,
    /// The entry keys by whose values requests are reported; then the filter has no rule.
    pub requests_by: Vec<String>,
    /// The maximum number of counters, and of values of each key.
    pub top: usize,
}

/// The part of a snapshot that an observer receives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The rules, sorted by name. If the filter has entries, with the sums of the counters that it selects.
    pub rules: Vec<RuleCounts>,
    /// The counters, those with the most hits first.
    pub counters: Vec<CounterCounts>,
    /// The sums over all selected rules.
    pub total: Totals,
    /// Checks that matched no rule, if the filter selects everything, otherwise 0.
    pub unmatched: u64,
    /// The requests by entry, key by key: the values with the most requests first, then `other`.
    pub requests: Vec<RequestCounts>,
    /// The sums over all selected values of each key.
    pub request_totals: Vec<(Arc<EntryKey>, Totals)>,
}

impl Selection {
    /// The part that the filter selects, with the `top` counters that have the most hits.
    ///
    /// Cost: linear in the snapshot; only the result is copied.
    pub fn new(snapshot: &UsageSnapshot, scope: &Scope) -> Self {
        let Scope { filter, requests_by, top } = scope;
        let keys = requests_of(snapshot, filter, requests_by);
        let counters: Vec<_> = snapshot.counters.iter().filter(|counter| filter.takes_counter(counter)).collect();
        let rules = if filter.entries.is_empty() {
            let taken = |rule: &&RuleCounts| filter.takes_rule(&rule.rule) && filter.takes_totals(&rule.totals);
            snapshot.rules.iter().filter(taken).cloned().collect()
        } else {
            rules_of(&counters)
        };
        Self {
            total: rules.iter().fold(Totals::default(), |sum, rule| sum.plus(&rule.totals)),
            rules: busiest_rules(rules),
            counters: busiest(counters, *top),
            unmatched: if filter.takes_all() { snapshot.unmatched } else { 0 },
            request_totals: keys.iter().filter_map(|values| total_of(values)).collect(),
            requests: top_requests(keys, (*top).min(MAX_REQUESTS_REPORTED), filter.only_denied),
        }
    }
}

/// The selected requests, a list for each key of each domain. Those of the snapshot are sorted by key.
fn requests_of<'s>(snapshot: &'s UsageSnapshot, filter: &Filter, by: &[String]) -> Vec<Vec<&'s RequestCounts>> {
    let wanted = |requests: &&RequestCounts| by.contains(&requests.name.key.key) && filter.takes_request(requests);
    let taken: Vec<_> = snapshot.requests.iter().filter(wanted).collect();
    taken.chunk_by(|a, b| a.name.key == b.name.key).map(<[_]>::to_vec).collect()
}

fn total_of(values: &[&RequestCounts]) -> Option<(Arc<EntryKey>, Totals)> {
    let totals = values.iter().fold(Totals::default(), |sum, value| sum.plus(&value.totals));
    values.first().map(|first| (Arc::clone(&first.name.key), totals))
}

/// For each key the values with the most requests, or the most denied ones, with ties ordered by name, and `other`. If there
/// are too many keys, each has an equal share of the report.
fn top_requests(keys: Vec<Vec<&RequestCounts>>, top: usize, by_denied: bool) -> Vec<RequestCounts> {
    let share = (MAX_REQUESTS_REPORTED / keys.len().max(1)).max(1);
    let count = |totals: &Totals| if by_denied { totals.get(Measure::RequestsDenied) } else { totals.requests() };
    let mut reported = Vec::new();
    for mut values in keys {
        values.sort_by_key(|value| (value.other, Reverse(count(&value.totals))));
        let (values, other): (Vec<_>, Vec<_>) = values.into_iter().partition(|value| !value.other);
        reported.extend(values.into_iter().take(top.min(share)).chain(other).cloned());
    }
    reported.truncate(2 * MAX_REQUESTS_REPORTED);
    reported
}

/// The sums of counters, by rule. The counters are sorted by rule.
fn rules_of(counters: &[&CounterCounts]) -> Vec<RuleCounts> {
    let mut rules: Vec<RuleCounts> = Vec::new();
    for counter in counters {
        match rules.last_mut().filter(|last| last.rule == counter.name.rule) {
            Some(last) => last.totals.add(&counter.totals),
            None => rules.push(RuleCounts { rule: counter.name.rule.clone(), totals: counter.totals }),
        }
    }
    rules
}

fn busiest_rules(mut rules: Vec<RuleCounts>) -> Vec<RuleCounts> {
    if rules.len() > MAX_RULES_REPORTED {
        rules.select_nth_unstable_by_key(MAX_RULES_REPORTED, |rule| Reverse(rule.totals.hits()));
        rules.truncate(MAX_RULES_REPORTED);
        rules.sort_unstable_by(|a, b| a.rule.cmp(&b.rule));
    }
    rules
}

/// The counters with the most hits, with ties ordered by name, so that every report has the same ones.
fn busiest(mut counters: Vec<&CounterCounts>, top: usize) -> Vec<CounterCounts> {
    let by_hits = |a: &&CounterCounts, b: &&CounterCounts| {
        let by_name = || a.name.cmp(&b.name).then(a.other.cmp(&b.other));
        b.totals.hits().cmp(&a.totals.hits()).then_with(by_name)
    };
    if top == 0 {
        return Vec::new();
    }
    if counters.len() > top {
        counters.select_nth_unstable_by(top, by_hits);
        counters.truncate(top);
    }
    counters.sort_unstable_by(by_hits);
    counters.into_iter().cloned().collect()
}

/// Rules in one report, so that it stays below the 4 MiB that gRPC clients read by default.
const MAX_RULES_REPORTED: usize = 10_000;

/// Values of entry keys in one report, without an `other` for each key: as many as counters, for the same reason.
const MAX_REQUESTS_REPORTED: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::super::{CounterName, RequestName, RuleName};
    use super::*;

    fn rule(path: &str) -> Arc<RuleName> {
        let domain = path.split('.').next().unwrap().to_owned();
        Arc::new(RuleName { domain, path: path.to_owned() })
    }

    fn counter(path: &str, values: &[(&str, &str)], allowed: u64, denied: u64) -> CounterCounts {
        let entries = values.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        let name = Arc::new(CounterName { rule: rule(path), entries });
        CounterCounts { name, other: values.is_empty(), totals: Totals::of_checks(allowed, denied) }
    }

    fn snapshot() -> UsageSnapshot {
        let sums =
            |path: &str, allowed, denied| RuleCounts { rule: rule(path), totals: Totals::of_checks(allowed, denied) };
        UsageSnapshot {
            rules: vec![sums("api.partner", 60, 5), sums("api.partner.path", 7, 0), sums("web.user", 9, 1)],
            counters: vec![
                counter("api.partner", &[("partner", "acme")], 30, 5),
                counter("api.partner", &[("partner", "b")], 20, 0),
                counter("api.partner", &[], 10, 0),
                counter("api.partner.path", &[("partner", "acme"), ("path", "/pay")], 7, 0),
                counter("web.user", &[("user", "acme")], 9, 1),
            ],
            unmatched: 3,
            requests: vec![
                requests("api", "tenant", "t", 4, 0),
                requests("api", "user", "ann", 3, 3),
                requests("api", "user", "bob", 0, 4),
                requests("api", "user", "cy", 9, 0),
                requests("api", "user", "", 1, 1),
                requests("web", "user", "ann", 5, 0),
            ],
        }
    }

    fn requests(domain: &str, key: &str, value: &str, allowed: u64, denied: u64) -> RequestCounts {
        let key = Arc::new(EntryKey { domain: domain.to_owned(), key: key.to_owned() });
        let name = Arc::new(RequestName { key, value: value.to_owned() });
        RequestCounts { name, other: value.is_empty(), totals: Totals::of_checks(allowed, denied) }
    }

    /// The rules with their requests, the counters' requests in order, all requests, unmatched.
    type Reported = (Vec<(&'static str, u64)>, Vec<u64>, u64, u64);

    fn check(filter: &Filter, top: usize, want: &Reported) {
        let scope = Scope { filter: filter.clone(), requests_by: Vec::new(), top };
        let reported = Selection::new(&snapshot(), &scope);
        assert_eq!((&*reported.requests, &*reported.request_totals), (&[][..], &[][..]), "nobody asked for requests");
        let rules: Vec<_> =
            reported.rules.iter().map(|rule| (rule.rule.path.as_str(), rule.totals.requests())).collect();
        let counters: Vec<_> = reported.counters.iter().map(|counter| counter.totals.requests()).collect();
        assert_eq!((rules, counters, reported.total.requests(), reported.unmatched), *want, "{filter:?} top {top}");
    }

    #[test]
    fn filters_and_top() {
        let all = Filter::default;
        let some = |text: &str| Some(text.to_owned());
        let entry = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
        let every = vec![("api.partner", 65), ("api.partner.path", 7), ("web.user", 10)];
        for (filter, top, want) in [
            (all(), 9, (every.clone(), vec![35, 20, 10, 10, 7], 82, 3)),
            (all(), 2, (every.clone(), vec![35, 20], 82, 3)),
            (all(), 3, (every.clone(), vec![35, 20, 10], 82, 3)),
            (all(), 0, (every, vec![], 82, 3)),
            (
                Filter { domain: some("api"), ..all() },
                9,
                (vec![("api.partner", 65), ("api.partner.path", 7)], vec![35, 20, 10, 7], 72, 0),
            ),
            (Filter { rule: some("api.partner.path"), ..all() }, 9, (vec![("api.partner.path", 7)], vec![7], 7, 0)),
            (Filter { domain: some("web"), rule: some("api.partner"), ..all() }, 9, (vec![], vec![], 0, 0)),
            (
                Filter { only_denied: true, ..all() },
                9,
                (vec![("api.partner", 65), ("web.user", 10)], vec![35, 10], 75, 0),
            ),
            (
                Filter { entries: entry("partner", "acme"), ..all() },
                9,
                (vec![("api.partner", 35), ("api.partner.path", 7)], vec![35, 7], 42, 0),
            ),
            (
                Filter { entries: entry("partner", "acme"), only_denied: true, ..all() },
                9,
                (vec![("api.partner", 35)], vec![35], 35, 0),
            ),
            (Filter { entries: entry("partner", "nobody"), ..all() }, 9, (vec![], vec![], 0, 0)),
        ] {
            check(&filter, top, &want);
        }
    }

    #[test]
    fn requests_by_key_with_their_totals() {
        let by = |keys: &[&str]| keys.iter().map(ToString::to_string).collect::<Vec<_>>();
        let all = Filter::default;
        let api = || Filter { domain: Some("api".to_owned()), ..all() };
        let bob = Filter { entries: vec![("user".to_owned(), "bob".to_owned())], ..all() };
        for (requests_by, filter, top, want, totals) in [
            (by(&["path"]), all(), 9, "", ""),
            (by(&["tenant"]), all(), 9, "api t 4+0", "api 4+0"),
            (
                by(&["user"]),
                all(),
                9,
                "api cy 9+0, api ann 3+3, api bob 0+4, api other 1+1, web ann 5+0",
                "api 13+8, web 5+0",
            ),
            (by(&["user"]), api(), 1, "api cy 9+0, api other 1+1", "api 13+8"),
            (by(&["user"]), api(), 0, "api other 1+1", "api 13+8"),
            (
                by(&["tenant", "user"]),
                Filter { only_denied: true, ..api() },
                2,
                "api bob 0+4, api ann 3+3, api other 1+1",
                "api 4+8",
            ),
            (by(&["tenant", "user"]), bob, 9, "api bob 0+4", "api 0+4"),
        ] {
            let reported = Selection::new(&snapshot(), &Scope { filter, requests_by: requests_by.clone(), top });
            let counts = |totals: &Totals| {
                format!("{}+{}", totals.get(Measure::RequestsAllowed), totals.get(Measure::RequestsDenied))
            };
            let row = |row: &RequestCounts| {
                let value = if row.other { "other" } else { &row.name.value };
                format!("{} {value} {}", row.name.key.domain, counts(&row.totals))
            };
            let rows: Vec<_> = reported.requests.iter().map(row).collect();
            let sums = reported.request_totals.iter().map(|(key, totals)| format!("{} {}", key.domain, counts(totals)));
            let sums: Vec<_> = sums.collect();
            assert_eq!(
                (rows.join(", "), sums.join(", ")),
                (want.to_owned(), totals.to_owned()),
                "{requests_by:?} {top}"
            );
        }
    }
}
