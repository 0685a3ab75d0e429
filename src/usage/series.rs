//! Series by name: one for each rule, and a bounded number for values.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dashmap::DashMap;

use super::by_entry::ByEntry;
use super::requests::Requests;
use super::series_table::{SeriesTable, Slot};
use super::{
    CounterName, Denials, KeyUsage, Labels, RequestCounts, RuleName, RuleUsage, Series, Totals, UsageSnapshot,
    WorkerSlot,
};
use crate::units::Timestamp;

/// Everything that is counted in this process.
#[derive(Debug)]
pub struct Usage {
    workers: usize,
    requests: Requests,
    /// By full path. They outlive reloads, so that counts never go back.
    rules: ByPath,
    /// The same for rules whose metrics are by value, and for overrides: what `values` counts, by its rule.
    behind_values: ByPath,
    /// Paths made of values that clients sent; for metrics only.
    values: ByPath,
    other: Arc<RuleUsage>,
    other_behind_values: Arc<RuleUsage>,
    other_values: Arc<RuleUsage>,
    /// The number of the next rule.
    next: AtomicUsize,
    series: SeriesTable,
    by_entry: ByEntry,
    unknown_domains: DashMap<String, u64, ahash::RandomState>,
    other_domains: AtomicU64,
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
    /// Nothing is counted yet; rules will have that many worker slots, and at most `series` single counters a series, and as
    /// many values of the entry keys that requests are counted by.
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
            unknown_domains: DashMap::default(),
            other_domains: AtomicU64::new(0),
            global_shadow: AtomicU64::new(0),
            overrides_ignored: AtomicU64::new(0),
            denials: Arc::default(),
        }
    }

    /// The counts of a configured rule; the same ones after a reload.
    pub fn for_rule(&self, labels: &Labels) -> Arc<RuleUsage> {
        self.find(&self.rules, (MAX_RULES, &self.other), labels)
    }

    /// The counts of a configured rule whose metrics are by value: whatever [`Usage::for_values`] counts of it is also
    /// counted here.
    pub fn for_rule_by_value(&self, labels: &Labels) -> Arc<RuleUsage> {
        self.find(&self.behind_values, (MAX_RULES, &self.other_behind_values), labels)
    }

    /// The counts of all request overrides in a domain, in addition to those of [`Usage::for_values`].
    pub fn for_overrides(&self, domain: &str) -> Arc<RuleUsage> {
        let RuleName { domain, path } = RuleName::for_overrides(domain);
        self.for_rule_by_value(&Labels { domain, rule: path, ..Labels::default() })
    }

    /// The metrics' counts of a path of values, or `other` once there are [`MAX_VALUES`], and for a path that is too
    /// long for a name.
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

    /// The series of a counter of `rule`: its own for as long as there are any left, from then on always the same.
    ///
    /// `key` is unique to the counter among all rules; `entries` are asked for only when it is new. Cost: one
    /// look-up; for a counter that is made, not for each check.
    pub fn series(&self, rule: &RuleUsage, key: &[u8], entries: impl FnOnce() -> Vec<(String, String)>) -> Series {
        let name = || CounterName { rule: Arc::clone(rule.name()), entries: entries() };
        self.series.series(key, rule.number, name)
    }

    /// Where a series counts.
    pub fn slot(&self, series: Series) -> Option<&Slot> {
        self.series.slot(series)
    }

    /// How many series are given, and how many there are at most.
    pub fn series_used(&self) -> (usize, usize) {
        (self.series.used(), self.series.limit())
    }

    /// Where the requests of a domain are counted by the values of an entry key; the same place after a reload.
    pub fn for_entry_key(&self, domain: &str, key: &str) -> Arc<KeyUsage> {
        self.by_entry.for_key(domain, key)
    }

    /// Counts one request with this value of the key. Cost: one look-up, and two atomic additions.
    pub fn count_by_entry(&self, worker: WorkerSlot, key: &KeyUsage, value: &str, hits: u64, denied: bool) {
        self.by_entry.count(worker, key, value, hits, denied);
    }

    /// How many values of entry keys have a series; there are at most as many as counters with one.
    pub fn entry_values_used(&self) -> usize {
        self.by_entry.values()
    }

    /// The requests of every value of the entry keys that domains name, as [`UsageSnapshot::requests`].
    pub fn requests_by_entry(&self) -> Vec<RequestCounts> {
        self.by_entry.read()
    }

    /// Everything as it is now. Cost: a sum over the worker slots of every rule and one over all series; for threads that do
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

    /// Every rule with its sums, as in a snapshot, but in no order. Cost: a sum over the worker slots of every rule and one over all
    /// series; no name is copied.
    pub fn rule_totals(&self) -> impl Iterator<Item = (Arc<RuleName>, Totals)> {
        let in_series = self.series.by_rule();
        let rules = self.reported_rules();
        let mut sums: HashMap<_, Totals, ahash::RandomState> =
            HashMap::with_capacity_and_hasher(rules.len(), <_>::default());
        for rule in rules {
            // A rule whose metrics were by value for a while is there twice.
            let sum = sums.entry(Arc::clone(rule.name())).or_default();
            sum.add(&rule.counts.totals());
            sum.add(&in_series.get(&rule.number).copied().unwrap_or_default());
        }
        sums.into_iter()
    }

    /// The rules that reports name: the configured ones, and what did not fit once something is counted there.
    fn reported_rules(&self) -> Vec<Arc<RuleUsage>> {
        let configured = self.rules.iter().chain(self.behind_values.iter()).map(|rule| Arc::clone(&rule));
        let other = [&self.other, &self.other_behind_values].into_iter();
        configured.chain(other.filter(|rule| rule.counts.totals().requests() > 0).cloned()).collect()
    }

    /// Counts a request, decided or not.
    pub fn count_request(&self, worker: WorkerSlot, failed: bool) {
        self.requests.count(worker, failed);
    }

    /// Counts checks (each descriptor one) that matched no rule.
    pub fn count_unmatched(&self, worker: WorkerSlot, checks: usize) {
        self.requests.count_unmatched(worker, checks as u64);
    }

    /// All requests, and how many of them were answered with an error.
    pub fn requests(&self) -> (u64, u64) {
        self.requests.all()
    }

    /// Where denied checks pass by.
    pub fn denials(&self) -> &Arc<Denials> {
        &self.denials
    }

    /// Counts the descriptors of a check whose domain is not configured.
    pub fn count_unknown_domain(&self, domain: &str, descriptors: usize) {
        let descriptors = descriptors as u64;
        if let Some(mut count) = self.unknown_domains.get_mut(domain) {
            *count += descriptors;
        } else if self.unknown_domains.len() < MAX_DOMAINS && domain.len() <= MAX_DOMAIN_BYTES {
            *self.unknown_domains.entry(domain.into()).or_insert(0) += descriptors;
        } else {
            self.other_domains.fetch_add(descriptors, Ordering::Relaxed);
        }
    }

    /// Counts a check that only global shadow mode let pass.
    pub fn count_global_shadow(&self) {
        self.global_shadow.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an override without a usable unit.
    pub fn count_override_ignored(&self) {
        self.overrides_ignored.fetch_add(1, Ordering::Relaxed);
    }

    /// Checks that only global shadow mode let pass.
    pub fn global_shadow(&self) -> u64 {
        self.global_shadow.load(Ordering::Relaxed)
    }

    /// Overrides without a usable unit.
    pub fn overrides_ignored(&self) -> u64 {
        self.overrides_ignored.load(Ordering::Relaxed)
    }

    /// How much of its limit each rule has used at most in the minute of `now` and the one before, from 0 to 1, sorted by
    /// name. Of several limits it is the share of the governing one.
    pub fn saturation(&self, now: Timestamp) -> Vec<(Arc<RuleName>, f64)> {
        let of = |rule: &RuleUsage| (Arc::clone(rule.name()), rule.counts.saturation(now));
        let mut all: Vec<_> = self.rules.iter().map(|rule| of(&rule)).collect();
        all.extend(self.behind_values.iter().map(|rule| of(&rule)));
        all.sort_by(|(a, _), (b, _)| (&a.domain, &a.path).cmp(&(&b.domain, &b.path)));
        all
    }

    /// Every series of the metrics with its sums, sorted by name; `other` last, once something is in it.
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

    /// Checks of domains that are not configured, by domain; those that do not fit as `other`.
    pub fn unknown_domains(&self) -> Vec<(String, u64)> {
        let mut all: Vec<_> = self.unknown_domains.iter().map(|entry| (entry.key().clone(), *entry.value())).collect();
        all.sort();
        let other = self.other_domains.load(Ordering::Relaxed);
        if other > 0 {
            all.push((OTHER.into(), other));
        }
        all
    }
}

/// The name of the series that takes what does not fit.
const OTHER: &str = "other";
/// Rules with a series of their own, over all reloads: ten times the largest configuration known, 128 bytes a worker slot each.
const MAX_RULES: usize = 100_000;
/// Series by value: what a Prometheus server still scrapes with ease.
const MAX_VALUES: usize = 10_000;
/// The longest path of values that is worth a series: a client chooses them, and each is kept several times over.
const MAX_PATH_BYTES: usize = 512;
/// Unknown domains with a count of their own: a mistyped domain is found among far fewer.
const MAX_DOMAINS: usize = 100;
/// The longest domain that is worth a label.
const MAX_DOMAIN_BYTES: usize = 256;
