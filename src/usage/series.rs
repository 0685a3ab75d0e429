//! Series by name: one for each rule, and a bounded number by value.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dashmap::DashMap;

use super::by_entry::ByEntry;
use super::domain_counts::DomainCounts;
use super::requests::Requests;
use super::series_table::{SeriesTable, Slot};
use super::{
    CounterName, Denials, Gains, KeyUsage, Labels, LastReading, RequestCounts, RuleName, RuleUsage, Series, Totals,
    UsageSnapshot, WorkerSlot,
};
use crate::units::Timestamp;

/// Everything that is counted in this process.
#[derive(Debug)]
pub struct Usage {
    workers: usize,
    requests: Requests,
    /// By full path. Kept over reloads, so that counts never decrease.
    rules: ByPath,
    /// The same for rules whose metrics are by value, and for overrides: the counts of `values`, by rule.
    behind_values: ByPath,
    /// By paths with values that clients sent; only for metrics.
    values: ByPath,
    other: Arc<RuleUsage>,
    other_behind_values: Arc<RuleUsage>,
    other_values: Arc<RuleUsage>,
    /// The number of the next rule.
    next: AtomicUsize,
    series: SeriesTable,
    by_entry: ByEntry,
    unknown_domains: DomainCounts,
    forbidden_domains: DomainCounts,
    global_shadow: AtomicU64,
    overrides_ignored: AtomicU64,
    denials: Arc<Denials>,
}

type ByPath = DashMap<String, Arc<RuleUsage>, ahash::RandomState>;

/// The sums of one series of the metrics.
#[derive(Clone, Debug)]
pub struct SeriesUsage {
    /// Its name.
    pub labels: Labels,
    /// Its sums.
    pub totals: Totals,
}

impl Usage {
    /// Without any counts yet. Rules will have this number of worker slots; at most `series` counters, and as many values of
    /// entry keys, are tracked individually.
    pub fn new(workers: usize, series: u32) -> Self {
        let other = |number| {
            let labels = Labels { rule: OTHER.into(), domain: OTHER.into(), ..Labels::default() };
            Arc::new(RuleUsage::new(labels, number, workers))
        };
        Self {
            workers,
            requests: Requests::new(workers),
            rules: DashMap::default(),
            behind_values: DashMap::default(),
            values: DashMap::default(),
            other: other(0),
            other_behind_values: other(1),
            other_values: other(2),
            next: AtomicUsize::new(3),
            series: SeriesTable::new(series),
            by_entry: ByEntry::new(workers, series),
            unknown_domains: DomainCounts::default(),
            forbidden_domains: DomainCounts::default(),
            global_shadow: AtomicU64::new(0),
            overrides_ignored: AtomicU64::new(0),
            denials: Arc::default(),
        }
    }

    /// The counts of a configured rule; the same ones after a reload.
    pub fn for_rule(&self, labels: &Labels) -> Arc<RuleUsage> {
        self.find(&self.rules, (MAX_RULES, &self.other), labels)
    }

    /// The counts of a configured rule whose metrics are by value: checks counted in [`Usage::for_values`] are also counted
    /// here.
    pub fn for_rule_by_value(&self, labels: &Labels) -> Arc<RuleUsage> {
        self.find(&self.behind_values, (MAX_RULES, &self.other_behind_values), labels)
    }

    /// The counts of all request overrides in a domain, in addition to those of [`Usage::for_values`].
    pub fn for_overrides(&self, domain: &str) -> Arc<RuleUsage> {
        let RuleName { domain, path } = RuleName::for_overrides(domain);
        self.for_rule_by_value(&Labels { domain, rule: path, ..Labels::default() })
    }

    /// The counts of a path of values for the metrics; those of `other` once there are [`MAX_VALUES`], or if the path is too long
    /// for a name.
    pub fn for_values(&self, labels: &Labels) -> Arc<RuleUsage> {
        if labels.rule.len() > MAX_PATH_BYTES {
            return Arc::clone(&self.other_values);
        }
        self.find(&self.values, (MAX_VALUES, &self.other_values), labels)
    }

    fn find(&self, map: &ByPath, (most, other): (usize, &Arc<RuleUsage>), labels: &Labels) -> Arc<RuleUsage> {
        if let Some(found) = map.get(&labels.rule) {
            return Arc::clone(&found);
        }
        if map.len() >= most {
            return Arc::clone(other);
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let made = || Arc::new(RuleUsage::new(labels.clone(), number, self.workers));
        Arc::clone(&map.entry(labels.rule.clone()).or_insert_with(made))
    }

    /// The series of a counter of `rule`: always the same one, or none if no series was left for a new counter.
    ///
    /// `key` is unique among the counters of all rules; `entries` is called only for a new one. Cost: one look-up, when a counter
    /// is created and not for each check.
    pub fn series(&self, rule: &RuleUsage, key: &[u8], entries: impl FnOnce() -> Vec<(String, String)>) -> Series {
        let name = || CounterName { rule: Arc::clone(rule.name()), entries: entries() };
        self.series.series(key, rule.number, name)
    }

    /// The counts of a series.
    pub fn slot(&self, series: Series) -> Option<&Slot> {
        self.series.slot(series)
    }

    /// Loads the counts of series that are about to be added to, so that these are in the processor's caches. Their misses overlap.
    pub fn load_ahead(&self, series: &[Series]) {
        std::hint::black_box(series.iter().filter_map(|series| self.slot(*series)?.first()).fold(0, u64::wrapping_add));
    }

    /// The number of series in use, and the maximum.
    pub fn series_used(&self) -> (usize, usize) {
        (self.series.used(), self.series.limit())
    }

    /// The counts of requests of a domain by the values of an entry key; the same ones after a reload.
    pub fn for_entry_key(&self, domain: &str, key: &str) -> Arc<KeyUsage> {
        self.by_entry.for_key(domain, key)
    }

    /// Counts one request with this value of the key. Cost: one look-up, and two atomic additions.
    pub fn count_by_entry(&self, worker: WorkerSlot, key: &KeyUsage, value: &str, hits: u64, denied: bool) {
        self.by_entry.count(worker, key, value, hits, denied);
    }

    /// The number of values of entry keys that have a series; its maximum is that of counters.
    pub fn entry_values_used(&self) -> usize {
        self.by_entry.values()
    }

    /// The requests of every value of the entry keys that domains name, as [`UsageSnapshot::requests`].
    pub fn requests_by_entry(&self) -> Vec<RequestCounts> {
        self.by_entry.read()
    }

    /// All counts as they are now. Cost: a sum over the worker slots of every rule and one over all series; for threads that do
    /// not decide.
    pub fn snapshot(&self) -> UsageSnapshot {
        let rules = self.reported_rules();
        let mut snapshot =
            UsageSnapshot::read(rules.iter(), &self.series, self.by_entry.read(), self.requests.unmatched());
        snapshot
            .rules
            .retain(|rule| !rule.totals.is_zero() || *rule.rule != RuleName::for_overrides(&rule.rule.domain));
        snapshot
    }

    /// What has been counted since the last reading, for threads that do not decide. Cost: five loads for each series, a sum over the
    /// worker slots of every rule, and memory for what has been counted; for a series that counted nothing no name is read.
    pub fn gains(&self, last: &mut LastReading) -> Gains {
        let unmatched = self.requests.unmatched();
        let unmatched = unmatched.wrapping_sub(std::mem::replace(&mut last.unmatched, unmatched));
        let requests = self.by_entry.gains(&mut last.requests);
        let mut gains = Gains { requests, unmatched, ..Gains::default() };
        let mut in_series = HashMap::default();
        self.series.visit_gains(&mut last.counters, |named, gained| {
            gains.add_counter(&mut in_series, named, gained);
        });
        let mut add = |rule: &RuleUsage| gains.add_rule(&in_series, rule, last.gained_by(rule));
        for rule in self.rules.iter().chain(self.behind_values.iter()) {
            add(&rule);
        }
        for rule in [&self.other, &self.other_behind_values] {
            add(rule);
        }
        gains
    }

    /// Every rule with its sums, as in a snapshot, but in no order. Cost: a sum over the worker slots of every rule and one over
    /// all series; no name is copied.
    pub fn rule_totals(&self) -> impl Iterator<Item = (Arc<RuleName>, Totals)> {
        let in_series = self.series.by_rule();
        let rules = self.reported_rules();
        let mut sums: HashMap<_, Totals, ahash::RandomState> =
            HashMap::with_capacity_and_hasher(rules.len(), <_>::default());
        for rule in rules {
            // A rule whose metrics were by value for some time occurs twice.
            let sum = sums.entry(Arc::clone(rule.name())).or_default();
            sum.add(&rule.counts.totals());
            sum.add(&in_series.get(&rule.number).copied().unwrap_or_default());
        }
        sums.into_iter()
    }

    /// The rules that are reported: the configured ones, and `other` once it has counts.
    fn reported_rules(&self) -> Vec<Arc<RuleUsage>> {
        let configured = self.rules.iter().chain(self.behind_values.iter()).map(|rule| Arc::clone(&rule));
        let other = [&self.other, &self.other_behind_values].into_iter();
        configured.chain(other.filter(|rule| rule.counts.totals().requests() > 0).cloned()).collect()
    }

    /// Counts a request, decided or not.
    pub fn count_request(&self, worker: WorkerSlot, failed: bool) {
        self.requests.count(worker, failed);
    }

    /// Counts checks (one per descriptor) that matched no rule.
    pub fn count_unmatched(&self, worker: WorkerSlot, checks: usize) {
        self.requests.count_unmatched(worker, checks as u64);
    }

    /// All requests, and how many of them were answered with an error.
    pub fn requests(&self) -> (u64, u64) {
        self.requests.all()
    }

    /// The feed of denied checks.
    pub fn denials(&self) -> &Arc<Denials> {
        &self.denials
    }

    /// Counts the descriptors of a check whose domain is not configured.
    pub fn count_unknown_domain(&self, domain: &str, descriptors: usize) {
        self.unknown_domains.add(Some(domain), descriptors as u64);
    }

    /// Counts a check of a domain that its client may not check; `None`: one that is not configured.
    pub fn count_forbidden(&self, domain: Option<&str>) {
        self.forbidden_domains.add(domain, 1);
    }

    /// Counts a check that was admitted only because of global shadow mode.
    pub fn count_global_shadow(&self) {
        self.global_shadow.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an override without a usable unit.
    pub fn count_override_ignored(&self) {
        self.overrides_ignored.fetch_add(1, Ordering::Relaxed);
    }

    /// Checks that were admitted only because of global shadow mode.
    pub fn global_shadow(&self) -> u64 {
        self.global_shadow.load(Ordering::Relaxed)
    }

    /// Overrides without a usable unit.
    pub fn overrides_ignored(&self) -> u64 {
        self.overrides_ignored.load(Ordering::Relaxed)
    }

    /// The largest used share of the limit of each rule in the minute of `now` and the one before, from 0 to 1, sorted by name.
    /// For several limits it is the share of the governing one.
    pub fn saturation(&self, now: Timestamp) -> Vec<(Arc<RuleName>, f64)> {
        let of = |rule: &RuleUsage| (Arc::clone(rule.name()), rule.counts.saturation(now));
        let mut all: Vec<_> = self.rules.iter().map(|rule| of(&rule)).collect();
        all.extend(self.behind_values.iter().map(|rule| of(&rule)));
        all.sort_by(|(a, _), (b, _)| (&a.domain, &a.path).cmp(&(&b.domain, &b.path)));
        all
    }

    /// Every series of the metrics with its sums, sorted by name; `other` is last, once it has counts.
    pub fn series_usage(&self) -> Vec<SeriesUsage> {
        let in_series = self.series.by_rule();
        let usage_of = |rule: &RuleUsage| {
            let other = rule.counts.totals();
            let totals = in_series.get(&rule.number).map_or(other, |sum| other.plus(sum));
            SeriesUsage { labels: rule.labels.clone(), totals }
        };
        let mut all: Vec<_> = self.rules.iter().map(|rule| usage_of(&rule)).collect();
        all.extend(self.values.iter().map(|rule| usage_of(&rule)));
        all.sort_by(|a, b| a.labels.cmp(&b.labels));
        let mut other = usage_of(&self.other);
        other.totals = other.totals.plus(&usage_of(&self.other_values).totals);
        if other.totals.requests() > 0 {
            all.push(other);
        }
        all
    }

    /// Checks of domains that are not configured, by domain; those beyond the bound as `other`.
    pub fn unknown_domains(&self) -> Vec<(String, u64)> {
        let mut counts = self.unknown_domains.read(OTHER);
        counts.retain(|(_, count)| *count > 0);
        counts
    }

    /// Checks of domains that their client may not check, by domain; those of unknown domains as `other`, which is there from the
    /// beginning.
    pub fn forbidden_domains(&self) -> Vec<(String, u64)> {
        self.forbidden_domains.read(OTHER)
    }
}

/// The name of the series for everything beyond a bound.
const OTHER: &str = "other";
/// Rules with a series, over all reloads: ten times the largest known configuration, each 128 bytes per worker slot.
const MAX_RULES: usize = 100_000;
/// Series by value: a number that a Prometheus server scrapes easily.
const MAX_VALUES: usize = 10_000;
/// The longest path of values that has a series: clients choose them, and each is stored several times.
const MAX_PATH_BYTES: usize = 512;
