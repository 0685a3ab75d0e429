//! The differences between two configurations: domains and rules added and removed, and values from old to new.

use std::collections::HashMap;

use super::{Charge, Domain, Level, Period, Rule, RuleLimit, RuleSet, Sharing};
use crate::engine::{Algorithm, Ban, BanWhen, CountDenied, Queue, QueueMode, Starts};

/// The difference between two configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Rules that are new.
    pub added: usize,
    /// Rules that are gone.
    pub removed: usize,
    /// Rules with different values.
    pub changed: usize,
    /// The changes, one per line: removed, changed, added. At most [`MAX_LINES`], then the number of further ones.
    pub lines: Vec<String>,
}

/// Compares two configurations. Rules are the same if their domain and the keys and values of their levels are, wherever in
/// the files they are. For `alerts`, `response` and `metadata` only the fact that they changed is reported.
///
/// Cost: linear in the number of rules; off the decision path.
pub fn changes(old: &RuleSet, new: &RuleSet) -> Changes {
    let (before, after) = (Index::new(old), Index::new(new));
    let (removed, added) = (missing(old, &after), missing(new, &before));
    let changed = changed_rules(&before, new);
    let mut lines = lines_of("removed", old, new, &removed);
    lines.extend(new.domains().filter_map(|domain| changed_domain(old.domain(&domain.name)?, domain)));
    lines.extend(changed.iter().cloned());
    lines.extend(lines_of("added", new, old, &added));
    if lines.len() > MAX_LINES {
        let more = lines.len() - MAX_LINES;
        lines.truncate(MAX_LINES);
        lines.push(format!("and {more} more changes"));
    }
    Changes { added: added.len(), removed: removed.len(), changed: changed.len(), lines }
}

/// The rules of one configuration, by the identity that they have in both.
struct Index<'r>(HashMap<Key<'r>, &'r Rule>);

/// A domain, and the keys and values of a rule's levels.
type Key<'r> = (&'r str, Vec<(&'r str, &'r str)>);

impl<'r> Index<'r> {
    fn new(rules: &'r RuleSet) -> Self {
        Self(rules.rules().iter().map(|rule| (Self::key(rule), rule)).collect())
    }

    fn find(&self, rule: &'r Rule) -> Option<&'r Rule> {
        self.0.get(&Self::key(rule)).copied()
    }

    fn key(rule: &'r Rule) -> Key<'r> {
        let levels = rule.levels.iter().map(|level| (&*level.key, &*level.value));
        (&rule.domain, levels.collect())
    }
}

/// The rules that the other configuration does not have.
fn missing<'r>(rules: &'r RuleSet, other: &Index<'r>) -> Vec<&'r Rule> {
    rules.rules().iter().filter(|rule| other.find(rule).is_none()).collect()
}

/// A line for each domain that only `set` has, and for each of its `rules` in the domains that both have.
fn lines_of(what: &str, set: &RuleSet, other: &RuleSet, rules: &[&Rule]) -> Vec<String> {
    let mut by_domain: HashMap<&str, usize> = HashMap::new();
    for rule in rules {
        *by_domain.entry(&rule.domain).or_default() += 1;
    }
    let is_shared = |name: &str| other.domain(name).is_some();
    let domains = set.domains().filter(|domain| !is_shared(&domain.name)).map(|domain| {
        let count = by_domain.get(&*domain.name).copied().unwrap_or(0);
        format!("domain {what}: {} ({count} rule{})", domain.name, if count == 1 { "" } else { "s" })
    });
    let rules = rules.iter().filter(|rule| is_shared(&rule.domain));
    domains.chain(rules.map(|rule| format!("rule {what}: {}: {}", rule.path, summary(rule)))).collect()
}

fn changed_domain(old: &Domain, new: &Domain) -> Option<String> {
    let values = |domain: &Domain| {
        let charge = match domain.charge {
            Charge::Independent => "independent",
            Charge::AllOrNothing => "all_or_nothing",
        };
        let by = if domain.usage_by.is_empty() { NONE.to_owned() } else { domain.usage_by.join(" ") };
        let sharing = domain.sharing.as_ref().map_or_else(|| NONE.to_owned(), sharing_text);
        vec![
            ("enabled", domain.enabled.to_string()),
            ("charge", charge.to_owned()),
            ("usage by", by),
            ("sharing", sharing),
        ]
    };
    let mut found = differences("", &values(old), &values(new));
    found.extend((old.response != new.response).then(|| "response changed".to_owned()));
    found.extend((old.alerts != new.alerts).then(|| "alerts changed".to_owned()));
    line("domain", &new.name, &found)
}

fn changed_rules(before: &Index<'_>, new: &RuleSet) -> Vec<String> {
    let found = |old: &Rule, new: &Rule| [limit_changes(old, new), rule_changes(old, new)].concat();
    let rules = new.rules().iter();
    rules.filter_map(|rule| line("rule", &rule.path, &found(before.find(rule)?, rule))).collect()
}

/// Limits are compared by position. If the number of limits changed, both lists are shown in full.
fn limit_changes(old: &Rule, new: &Rule) -> Vec<String> {
    if old.limits.len() != new.limits.len() {
        return vec![format!("{} -> {}", summary(old), summary(new))];
    }
    let is_list = new.limits.len() > 1;
    let pairs = old.limits.iter().zip(&new.limits).zip(1..).filter(|((old, new), _)| !is_same(old, new));
    let found = pairs.flat_map(|((old, new), place)| {
        let of = if is_list { format!("limit {place}: ") } else { String::new() };
        differences(&of, &limit_values(old), &limit_values(new))
    });
    found.collect()
}

/// Most limits do not change at a reload: texts are made only for those that do.
fn is_same(old: &RuleLimit, new: &RuleLimit) -> bool {
    let values = |limit: &RuleLimit| (limit.enabled, limit.period, limit.limit);
    (&old.name, values(old), &old.sharing) == (&new.name, values(new), &new.sharing)
}

fn rule_changes(old: &Rule, new: &Rule) -> Vec<String> {
    let mut found = differences("", &rule_values(old), &rule_values(new));
    found.extend((old.metadata != new.metadata).then(|| "metadata changed".to_owned()));
    found
}

fn rule_values(rule: &Rule) -> Vec<Value> {
    let levels = |is_set: fn(&Level) -> bool| rule.levels.iter().any(is_set).to_string();
    vec![
        ("shadow_mode", rule.shadow_mode.to_string()),
        ("quota_mode", rule.quota_mode.to_string()),
        ("replaces", if rule.replaces.is_empty() { NONE.to_owned() } else { rule.replaces.join(" ") }),
        ("detailed_metric", rule.detailed_metric.to_string()),
        ("share_threshold", levels(|level| level.share_threshold)),
        ("value_to_metric", levels(|level| level.value_to_metric)),
    ]
}

/// A limit by the keys of its block.
fn limit_values(limit: &RuleLimit) -> Vec<Value> {
    let (mut starts, mut burst, mut queue) = (NONE.to_owned(), NONE.to_owned(), NONE.to_owned());
    let algorithm = match limit.limit.algorithm {
        Algorithm::FixedWindow { starts: Starts::Clock | Starts::Calendar(_) } => "fixed_window",
        Algorithm::FixedWindow { starts: Starts::FirstRequest } => {
            "first_request".clone_into(&mut starts);
            "fixed_window"
        }
        Algorithm::SlidingWindow => "sliding_window",
        Algorithm::SlidingLog => "sliding_log",
        Algorithm::TokenBucket { burst: size, queue: waiting } => {
            burst = size.to_string();
            queue = queue_text(waiting);
            "token_bucket"
        }
    };
    vec![
        ("requests_per_unit", limit.requests_per_unit.to_string()),
        ("period", period_text(&limit.period)),
        ("algorithm", algorithm.to_owned()),
        ("starts", starts),
        ("burst", burst),
        ("queue", queue),
        ("ban", limit.limit.ban.map_or_else(|| NONE.to_owned(), ban_text)),
        ("count_denied", count_denied_text(limit.limit.count_denied)),
        ("enabled", limit.enabled.to_string()),
        ("sharing", sharing_text(&limit.sharing)),
        ("name", if limit.name.is_empty() { NONE.to_owned() } else { limit.name.clone() }),
    ]
}

fn period_text(period: &Period) -> String {
    period.calendar.map_or_else(|| period.length.to_string(), ToString::to_string)
}

/// `sharing` as it is written: a word, or a map.
fn sharing_text(sharing: &Sharing) -> String {
    let Sharing { mode, when_down, slot } = sharing;
    let parts = [
        mode.map(|mode| ("mode", mode.name().to_owned())),
        when_down.map(|when| ("when_down", when.name().to_owned())),
        slot.clone().map(|key| ("slot", key)),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    match &*parts {
        [] => NONE.to_owned(),
        [("mode", mode)] => mode.clone(),
        parts => {
            format!("{{{}}}", parts.iter().map(|(key, value)| format!("{key}: {value}")).collect::<Vec<_>>().join(", "))
        }
    }
}

fn count_denied_text(count_denied: CountDenied) -> String {
    match count_denied {
        CountDenied::Never => "false",
        // Not configured: true as long as the limit is charged on its own.
        CountDenied::Alone => NONE,
        CountDenied::Always => "true",
    }
    .to_owned()
}

fn queue_text(queue: Queue) -> String {
    match queue {
        Queue { size: 0, .. } => NONE.to_owned(),
        Queue { size, mode: QueueMode::Advise } => format!("{size} (advise)"),
        Queue { size, .. } => size.to_string(),
    }
}

fn ban_text(ban: Ban) -> String {
    match ban.when {
        BanWhen::Reached => ban.length.to_string(),
        BanWhen::Exceeded => format!("{} when exceeded", ban.length),
    }
}

/// A key and its value.
type Value = (&'static str, String);

/// The keys whose values differ: `requests_per_unit 3 -> 5`.
fn differences(of: &str, old: &[Value], new: &[Value]) -> Vec<String> {
    let changed = old.iter().zip(new).filter(|(old, new)| old != new);
    changed.map(|((key, old), (_, new))| format!("{of}{key} {old} -> {new}")).collect()
}

fn line(what: &str, name: &str, differences: &[String]) -> Option<String> {
    (!differences.is_empty()).then(|| format!("{what} changed: {name}: {}", differences.join(", ")))
}

/// A rule's limits in short: `10 per 1s and 1000 per 1day`.
fn summary(rule: &Rule) -> String {
    if rule.limits.is_empty() {
        return "unlimited".to_owned();
    }
    let limits =
        rule.limits.iter().map(|limit| format!("{} per {}", limit.requests_per_unit, period_text(&limit.period)));
    limits.collect::<Vec<_>>().join(" and ")
}

const NONE: &str = "none";

/// More lines would hide what matters in the log; `check` of both files shows everything.
const MAX_LINES: usize = 20;

#[cfg(test)]
mod tests {
    use super::super::{LoadOptions, SourceFile, load};
    use super::*;

    fn rules(files: &[&str]) -> RuleSet {
        let file =
            |(at, text): (usize, &&str)| SourceFile { name: format!("{at}.yaml"), text: text.as_bytes().to_vec() };
        let files: Vec<_> = files.iter().enumerate().map(file).collect();
        load(&files, LoadOptions::default()).unwrap()
    }

    /// A domain `d` with these descriptors.
    fn d(descriptors: &str) -> String {
        format!("domain: d\ndescriptors:\n{descriptors}\n")
    }

    const K: &str = "- {key: k, rate_limit: {unit: minute, requests_per_unit: 3}}";

    #[test]
    fn changes_from_old_to_new() {
        let cases: &[(&str, &str, &[&str])] = &[
            (K, K, &[]),
            (
                K,
                "- {key: k, rate_limit: {unit: minute, requests_per_unit: 5}}",
                &["rule changed: d.k: requests_per_unit 3 -> 5"],
            ),
            (
                K,
                "- {key: k, shadow_mode: true, rate_limit: {unit: hour, requests_per_unit: 3, enabled: false, name: n}}",
                &[
                    "rule changed: d.k: period 1m -> 1h, enabled true -> false, name none -> n, shadow_mode false -> true",
                ],
            ),
            (
                "- {key: k, rate_limit: {unit: second, requests_per_unit: 3, starts: first_request, ban: 1m}}",
                "- {key: k, rate_limit: {unit: second, requests_per_unit: 3, algorithm: token_bucket, burst: 9, queue: {size: 2, mode: advise}, ban: {for: 2m, when: exceeded}}}",
                &["rule changed: d.k: algorithm fixed_window -> token_bucket, starts first_request -> none, \
                   burst none -> 9, queue none -> 2 (advise), ban 1m -> 2m when exceeded"],
            ),
            (K, "- {key: k, rate_limit: {unlimited: true}}", &["rule changed: d.k: 3 per 1m -> unlimited"]),
            (
                K,
                "- {key: k, rate_limits: [{unit: second, requests_per_unit: 1}, {unit: minute, requests_per_unit: 3}]}",
                &["rule changed: d.k: 3 per 1m -> 1 per 1s and 3 per 1m"],
            ),
            (
                "- {key: k, rate_limits: [{unit: second, requests_per_unit: 1}, {unit: minute, requests_per_unit: 3}]}",
                "- {key: k, rate_limits: [{unit: second, requests_per_unit: 1}, {unit: minute, requests_per_unit: 4}]}",
                &["rule changed: d.k: limit 2: requests_per_unit 3 -> 4"],
            ),
            (
                K,
                "- {key: k, metadata: {a: b}, rate_limit: {unit: minute, requests_per_unit: 3, replaces: [{name: x}]}}",
                &["rule changed: d.k: replaces none -> x, metadata changed"],
            ),
            // A different value makes a different rule; the position of a rule does not matter.
            (
                "- {key: k, value: a, rate_limit: {unit: minute, requests_per_unit: 3}}\n- {key: j, rate_limit: {unit: day, requests_per_unit: 1}}",
                "- {key: j, rate_limit: {unit: day, requests_per_unit: 1}}\n- {key: k, value: b, rate_limit: {unit: minute, requests_per_unit: 3}}",
                &["rule removed: d.k_a: 3 per 1m", "rule added: d.k_b: 3 per 1m"],
            ),
            // Rules with the same path are distinguished by their levels.
            (
                "- {key: a_b, rate_limit: {unit: day, requests_per_unit: 1}}",
                "- {key: a, value: b, rate_limit: {unit: day, requests_per_unit: 1}}",
                &["rule removed: d.a_b: 1 per 1day", "rule added: d.a_b: 1 per 1day"],
            ),
            (
                K,
                "- {key: k, rate_limit: {unit: minute, requests_per_unit: 3}}\nenabled: false\ncharge: all_or_nothing\nresponse: {headers: [retry_after]}",
                &["domain changed: d: enabled true -> false, charge independent -> all_or_nothing, response changed"],
            ),
        ];
        for (old, new, expected) in cases {
            let found = changes(&rules(&[&d(old)]), &rules(&[&d(new)]));
            assert_eq!(found.lines, *expected, "{old}\n{new}");
            let of = |what: &str| expected.iter().filter(|line| line.starts_with(what)).count();
            let counts = (found.added, found.removed, found.changed);
            assert_eq!(counts, (of("rule added"), of("rule removed"), of("rule changed")), "{old}\n{new}");
        }
    }

    #[test]
    fn a_domain_that_comes_or_goes_is_one_line() {
        let (kept, other) = (
            d(K),
            "domain: e\ndescriptors: [{key: a, rate_limit: {unit: day, requests_per_unit: 1}}, {key: b, rate_limit: {unlimited: true}}]",
        );
        let (small, large) = (rules(&[&kept]), rules(&[&kept, other, "domain: f"]));
        let found = changes(&small, &large);
        assert_eq!(found.lines, ["domain added: e (2 rules)", "domain added: f (0 rules)"]);
        assert_eq!((found.added, found.removed, found.changed), (2, 0, 0));
        let found = changes(&large, &small);
        assert_eq!(found.lines, ["domain removed: e (2 rules)", "domain removed: f (0 rules)"]);
        assert_eq!((found.added, found.removed, found.changed), (0, 2, 0));
    }

    #[test]
    fn many_changes_are_cut() {
        let many = |requests: u32| {
            let descriptor = |n| format!("- {{key: k{n}, rate_limit: {{unit: day, requests_per_unit: {requests}}}}}\n");
            rules(&[&d(&(0..50).map(descriptor).collect::<String>())])
        };
        let found = changes(&many(1), &many(2));
        assert_eq!((found.changed, found.lines.len()), (50, MAX_LINES + 1));
        assert_eq!(found.lines[0], "rule changed: d.k0: requests_per_unit 1 -> 2");
        assert_eq!(found.lines[MAX_LINES], "and 30 more changes");
    }
}
