//! Series by name: one for each rule, and a bounded number for values.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;

use super::{Count, Counts, Denials, Lane, Totals};

/// Every series of this process.
#[derive(Debug)]
pub struct Usage {
    lanes: usize,
    /// All requests, and those answered with an error.
    requests: Counts,
    /// By full path. They outlive reloads, so that counts never go back.
    rules: DashMap<String, Arc<RuleUsage>, ahash::RandomState>,
    /// Paths made of values that clients sent.
    values: DashMap<String, Arc<RuleUsage>, ahash::RandomState>,
    other: Arc<RuleUsage>,
    unknown_domains: DashMap<String, u64, ahash::RandomState>,
    other_domains: AtomicU64,
    global_shadow: AtomicU64,
    overrides_ignored: AtomicU64,
    denials: Arc<Denials>,
}

/// The counters of one rule, or of one path of values.
#[derive(Debug)]
pub struct RuleUsage {
    /// How metrics name the series.
    pub labels: Labels,
    /// Its counters.
    pub counts: Counts,
}

/// How metrics name a series.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labels {
    /// The domain.
    pub domain: String,
    /// The whole path, domain included.
    pub rule: String,
    /// The first level, `key_value`, as the reference's metrics label it.
    pub key1: String,
    /// The second level.
    pub key2: String,
}

/// The sums of one series.
#[derive(Clone, Debug)]
pub struct SeriesUsage {
    /// Its name.
    pub labels: Labels,
    /// Its sums.
    pub totals: Totals,
}

impl Labels {
    /// Names a series by its domain and the texts of its levels.
    pub fn new(domain: &str, levels: &[String]) -> Self {
        let level = |i: usize| levels.get(i).cloned().unwrap_or_default();
        let rule = std::iter::once(domain).chain(levels.iter().map(String::as_str)).collect::<Vec<_>>().join(".");
        Self { domain: domain.into(), rule, key1: level(0), key2: level(1) }
    }
}

impl RuleUsage {
    fn new(labels: Labels, lanes: usize) -> Self {
        Self { labels, counts: Counts::new(lanes) }
    }
}

impl Usage {
    /// No series yet; each will have that many lanes.
    pub fn new(lanes: usize) -> Self {
        let other = Labels { rule: OTHER.into(), domain: OTHER.into(), ..Labels::default() };
        Self {
            lanes,
            requests: Counts::new(lanes),
            rules: DashMap::default(),
            values: DashMap::default(),
            other: Arc::new(RuleUsage::new(other, lanes)),
            unknown_domains: DashMap::default(),
            other_domains: AtomicU64::new(0),
            global_shadow: AtomicU64::new(0),
            overrides_ignored: AtomicU64::new(0),
            denials: Arc::default(),
        }
    }

    /// The series of a configured rule; the same one after a reload.
    pub fn of_rule(&self, labels: &Labels) -> Arc<RuleUsage> {
        self.series(&self.rules, MAX_RULES, labels)
    }

    /// The series of a path of values, or `other` once there are [`MAX_VALUES`], and for a path that is too long for a name.
    pub fn of_values(&self, labels: &Labels) -> Arc<RuleUsage> {
        if labels.rule.len() > MAX_PATH_BYTES {
            return Arc::clone(&self.other);
        }
        self.series(&self.values, MAX_VALUES, labels)
    }

    fn series(
        &self,
        map: &DashMap<String, Arc<RuleUsage>, ahash::RandomState>,
        most: usize,
        labels: &Labels,
    ) -> Arc<RuleUsage> {
        if let Some(found) = map.get(&labels.rule) {
            return Arc::clone(&found);
        }
        if map.len() >= most {
            return Arc::clone(&self.other);
        }
        let series = || Arc::new(RuleUsage::new(labels.clone(), self.lanes));
        Arc::clone(&map.entry(labels.rule.clone()).or_insert_with(series))
    }

    /// Counts a request, decided or not.
    pub fn count_request(&self, lane: Lane, refused: bool) {
        self.requests.add(lane, Count::Checks, 1);
        if refused {
            self.requests.add(lane, Count::Errors, 1);
        }
    }

    /// All requests, and how many of them were answered with an error.
    pub fn requests(&self) -> (u64, u64) {
        let totals = self.requests.totals();
        (totals.of(Count::Checks), totals.of(Count::Errors))
    }

    /// Where refused checks pass by.
    pub fn denials(&self) -> &Arc<Denials> {
        &self.denials
    }

    /// Counts a check of a domain that is not configured.
    pub fn count_unknown_domain(&self, domain: &str) {
        if let Some(mut count) = self.unknown_domains.get_mut(domain) {
            *count += 1;
        } else if self.unknown_domains.len() < MAX_DOMAINS && domain.len() <= MAX_DOMAIN_BYTES {
            *self.unknown_domains.entry(domain.into()).or_insert(0) += 1;
        } else {
            self.other_domains.fetch_add(1, Ordering::Relaxed);
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

    /// Every series with its sums, sorted by name; `other` last, once something is in it.
    pub fn series_usage(&self) -> Vec<SeriesUsage> {
        let usage_of =
            |series: &RuleUsage| SeriesUsage { labels: series.labels.clone(), totals: series.counts.totals() };
        let mut all: Vec<_> = self.rules.iter().map(|series| usage_of(&series)).collect();
        all.extend(self.values.iter().map(|series| usage_of(&series)));
        all.sort_by(|a, b| a.labels.cmp(&b.labels));
        if self.other.counts.totals().of(Count::Checks) > 0 {
            all.push(usage_of(&self.other));
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

    /// The lanes of every series.
    pub fn lanes(&self) -> impl Iterator<Item = Lane> {
        (0..self.lanes).map(Lane)
    }
}

/// The name of the series that takes what does not fit.
const OTHER: &str = "other";
/// Rules with a series of their own, over all reloads: ten times the largest configuration known, 128 bytes a lane each.
const MAX_RULES: usize = 100_000;
/// Series by value: what a Prometheus server still scrapes with ease.
const MAX_VALUES: usize = 10_000;
/// The longest path of values that is worth a series: a client chooses them, and each is kept several times over.
const MAX_PATH_BYTES: usize = 512;
/// Unknown domains with a count of their own: a mistyped domain is found among far fewer.
const MAX_DOMAINS: usize = 100;
/// The longest domain that is worth a label.
const MAX_DOMAIN_BYTES: usize = 256;
