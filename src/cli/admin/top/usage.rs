//! The usage that the server reports: rules, domains and keys, each with its last counts.

use std::collections::{BTreeMap, HashMap};

use super::place::Place;
use super::track::{Sample, Track};
use crate::api::proto::tidegate::v1::{Entry, LimitInForce, RuleUsage, UsageCounts, UsageReport};
use crate::cli::admin::time::timestamp;
use crate::units::Timestamp;

/// The last report, and the tracks of what it counts.
#[derive(Debug)]
pub(super) struct Usage {
    /// The id of the server process; empty: no report yet.
    instance_id: String,
    started: Timestamp,
    at: Timestamp,
    total: Option<UsageCounts>,
    track: Track,
    domains: BTreeMap<String, Track>,
    rules: BTreeMap<String, Rule>,
    keys: HashMap<Key, Track>,
}

/// A rule, as last reported.
#[derive(Debug)]
pub(super) struct Rule {
    /// The domain.
    pub(super) domain: String,
    /// Its limits, as they are in force.
    pub(super) limits: Vec<LimitInForce>,
    /// Its counts.
    pub(super) track: Track,
}

/// A counter that is tracked individually, or the rest of its rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    /// The domain.
    pub(super) domain: String,
    /// The configured path.
    pub(super) rule: String,
    /// Key and value of each entry; none of the rest.
    pub(super) entries: Vec<(String, String)>,
}

impl Key {
    /// The entries as messages.
    pub(super) fn entries(&self) -> Vec<Entry> {
        self.entries.iter().map(|(key, value)| Entry { key: key.clone(), value: value.clone() }).collect()
    }
}

/// How a report follows the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follows {
    /// It is the first one.
    Nothing,
    /// Both are of one process.
    TheLast,
    /// The server has started again, and its counts with it.
    AnotherProcess,
}

impl Default for Usage {
    fn default() -> Self {
        Self {
            instance_id: String::new(),
            started: Timestamp::EPOCH,
            at: Timestamp::EPOCH,
            total: None,
            track: Track::new(TOTAL_INTERVALS),
            domains: BTreeMap::new(),
            rules: BTreeMap::new(),
            keys: HashMap::new(),
        }
    }
}

impl Usage {
    /// Takes over a report of what is in `place`. What is in the place, and no longer reported, is forgotten.
    pub(super) fn apply(&mut self, place: &Place, report: UsageReport) -> Follows {
        let instance = report.instance.unwrap_or_default();
        let follows = match self.instance_id.as_str() {
            "" => Follows::Nothing,
            id if id == instance.id => Follows::TheLast,
            _ => Follows::AnotherProcess,
        };
        if follows == Follows::AnotherProcess {
            *self = Self::default();
        }
        self.instance_id = instance.id;
        self.started = instance.started.as_ref().map_or(Timestamp::EPOCH, timestamp);
        self.at = report.time.as_ref().map_or(self.at, timestamp);
        let total = report.total.unwrap_or_default();
        self.track.add(Sample::new(self.at, &total));
        self.total = Some(total);
        // With an entry, the sums of rules are of a part of their counters.
        if place.entry().is_none() {
            self.apply_rules(place, report.rules);
        }
        let mut known = std::mem::take(&mut self.keys);
        for counter in report.counters.into_iter().take(MAX_KEYS) {
            let entries = counter.entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
            let key = Key { domain: counter.domain, rule: counter.rule, entries };
            let mut track = known.remove(&key).unwrap_or_else(|| Track::new(KEY_INTERVALS));
            track.add(Sample::new(self.at, &counter.counts.unwrap_or_default()));
            self.keys.insert(key, track);
        }
        follows
    }

    fn apply_rules(&mut self, place: &Place, rules: Vec<RuleUsage>) {
        let mut known = std::mem::take(&mut self.rules);
        let mut domains: BTreeMap<String, Sample> = BTreeMap::new();
        for RuleUsage { domain, rule, counts, limits } in rules.into_iter().take(MAX_RULES) {
            let mut track = known.remove(&rule).map_or_else(|| Track::new(RULE_INTERVALS), |known| known.track);
            let sample = Sample::new(self.at, &counts.unwrap_or_default());
            track.add(sample);
            let sum = domains.entry(domain.clone()).or_default();
            *sum = sum.plus(sample);
            self.rules.insert(rule, Rule { domain, limits, track });
        }
        let room = MAX_RULES.saturating_sub(self.rules.len());
        let elsewhere = known.into_iter().filter(|(path, rule)| !place.has_rule(&rule.domain, path));
        self.rules.extend(elsewhere.take(room));
        if place.rule().is_some() {
            return;
        }
        for (domain, sum) in domains {
            self.domains.entry(domain).or_insert_with(|| Track::new(RULE_INTERVALS)).add(sum);
        }
        let rules = &self.rules;
        self.domains.retain(|domain, _| rules.values().any(|rule| rule.domain == *domain));
    }

    /// Forgets the totals, which are of another place.
    pub(super) fn leave(&mut self) {
        self.total = None;
        self.track = Track::new(TOTAL_INTERVALS);
    }

    /// Whether the last report came from this process.
    pub(super) fn is_of(&self, instance_id: &str) -> bool {
        self.instance_id == instance_id
    }

    /// When the counts were read; `None` before the first report.
    pub(super) fn at(&self) -> Option<Timestamp> {
        (!self.instance_id.is_empty()).then_some(self.at)
    }

    /// When the server started.
    pub(super) fn started(&self) -> Timestamp {
        self.started
    }

    /// The sums of the place, and their track; `None` until they are reported.
    pub(super) fn total(&self) -> Option<(&UsageCounts, &Track)> {
        self.total.as_ref().map(|total| (total, &self.track))
    }

    /// Every domain with rules.
    pub(super) fn domains(&self) -> impl Iterator<Item = (&str, &Track)> {
        self.domains.iter().map(|(domain, track)| (domain.as_str(), track))
    }

    /// The rules in a place.
    pub(super) fn rules<'u>(&'u self, place: &'u Place) -> impl Iterator<Item = (&'u str, &'u Rule)> {
        let rules = self.rules.iter().map(|(path, rule)| (path.as_str(), rule));
        rules.filter(|(path, rule)| place.has_rule(&rule.domain, path))
    }

    /// A rule, by its path.
    pub(super) fn rule(&self, path: &str) -> Option<&Rule> {
        self.rules.get(path)
    }

    /// The keys in a place, in no order.
    pub(super) fn keys<'u>(&'u self, place: &'u Place) -> impl Iterator<Item = (&'u Key, &'u Track)> {
        self.keys.iter().filter(|(key, _)| {
            let has_entry = |entry: &Entry| key.entries.iter().any(|(k, v)| *k == entry.key && *v == entry.value);
            place.has_rule(&key.domain, &key.rule) && place.entry().is_none_or(has_entry)
        })
    }

    /// A key.
    pub(super) fn key(&self, key: &Key) -> Option<&Track> {
        self.keys.get(key)
    }
}

/// As many as the server reports.
const MAX_RULES: usize = 10_000;
/// As many as the server reports at most.
pub(super) const MAX_KEYS: usize = 1_000;
/// What a wide terminal shows of the total.
const TOTAL_INTERVALS: usize = 120;
/// What a row shows.
const RULE_INTERVALS: usize = 30;
/// Enough for a rate and a short sparkline.
const KEY_INTERVALS: usize = 12;

#[cfg(test)]
mod tests {
    use prost_types::Timestamp as WireTime;

    use super::*;
    use crate::api::proto::tidegate::v1::{CounterUsage, ServerInstance};

    fn counts(checks: u64) -> UsageCounts {
        UsageCounts { num_requests: checks, ..UsageCounts::default() }
    }

    fn report(process: &str, second: i64, rules: &[(&str, u64)], keys: &[(&str, u64)]) -> UsageReport {
        let started = Some(WireTime { seconds: 1, nanos: 0 });
        let rule = |(path, checks): &(&str, u64)| RuleUsage {
            domain: path.split('.').next().unwrap().to_owned(),
            rule: (*path).to_owned(),
            counts: Some(counts(*checks)),
            limits: vec![],
        };
        let key = |(value, checks): &(&str, u64)| CounterUsage {
            domain: "api".into(),
            rule: "api.user".into(),
            entries: vec![Entry { key: "user".into(), value: (*value).to_owned() }],
            other: false,
            counts: Some(counts(*checks)),
        };
        UsageReport {
            instance: Some(ServerInstance { id: process.to_owned(), started, replicas: 0 }),
            time: Some(WireTime { seconds: second, nanos: 0 }),
            rules: rules.iter().map(rule).collect(),
            counters: keys.iter().map(key).collect(),
            total: Some(counts(rules.iter().map(|(_, checks)| checks).sum())),
            ..UsageReport::default()
        }
    }

    /// Checks of domains, rules and keys.
    type Shown<'u> = [Vec<(&'u str, u64)>; 3];

    fn shown(usage: &Usage) -> Shown<'_> {
        let checks = |track: &Track| track.last().unwrap().checks;
        let mut keys: Vec<_> =
            usage.keys(&Place::Everything).map(|(key, track)| (&*key.entries[0].1, checks(track))).collect();
        keys.sort_unstable();
        let rules = usage.rules(&Place::Everything).map(|(path, rule)| (path, checks(&rule.track))).collect();
        [usage.domains().map(|(domain, track)| (domain, checks(track))).collect(), rules, keys]
    }

    #[test]
    fn reports_follow_each_other() {
        let mut usage = Usage::default();
        assert_eq!(usage.at(), None);
        let all = &Place::Everything;
        let first = report("a", 10, &[("api.user", 5), ("api.path", 3), ("shop.user", 7)], &[("ann", 5)]);
        assert_eq!(usage.apply(all, first), Follows::Nothing);
        let everything =
            [vec![("api", 8), ("shop", 7)], vec![("api.path", 3), ("api.user", 5), ("shop.user", 7)], vec![("ann", 5)]];
        assert_eq!(shown(&usage), everything);

        // In a domain, others are as they were; a rule that is gone, and a key that is not among the first, are forgotten.
        let api = Place::Domain("api".into());
        let second = report("a", 11, &[("api.user", 15)], &[("bob", 9)]);
        assert_eq!(usage.apply(&api, second), Follows::TheLast);
        let later = [vec![("api", 15), ("shop", 7)], vec![("api.user", 15), ("shop.user", 7)], vec![("bob", 9)]];
        assert_eq!(shown(&usage), later);
        assert_eq!(usage.rule("api.user").unwrap().track.rates().checks, Some(10.0));

        // The sums of a value are not those of the rule.
        let entry = Entry { key: "user".into(), value: "bob".into() };
        let value = Place::Value { domain: "api".into(), rule: "api.user".into(), entry };
        usage.apply(&value, report("a", 12, &[("api.user", 9)], &[("bob", 9)]));
        assert_eq!(shown(&usage), later);
        assert_eq!(usage.total().unwrap().0.num_requests, 9);
        usage.leave();
        assert!(usage.total().is_none());

        let again = report("b", 13, &[("api.user", 1)], &[]);
        assert_eq!(usage.apply(all, again), Follows::AnotherProcess);
        assert_eq!(shown(&usage), [vec![("api", 1)], vec![("api.user", 1)], vec![]]);
        assert_eq!(usage.rule("api.user").unwrap().track.rates().checks, None);
    }

    #[test]
    fn a_server_with_more_rules_and_keys_than_the_bounds_takes_no_more_memory() {
        let mut usage = Usage::default();
        let names: Vec<_> = (0..20_000).map(|n| format!("api.{n}")).collect();
        let many: Vec<_> = names.iter().map(|name| (&**name, 1)).collect();
        for domain in ["api", "shop"] {
            usage.apply(&Place::Domain(domain.into()), report("a", 10, &many, &many));
            assert!(usage.rules.len() <= MAX_RULES && usage.keys.len() <= MAX_KEYS);
        }
    }
}
