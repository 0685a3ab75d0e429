//! A second configuration that decides the same checks, on counters of its own, without an effect on any answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::{Check, Code, Decision, Limiter, Settings, Status, WorkerSlot};
use crate::rules::{Overlay, RuleSet};
use crate::store::{Occupancy, WhenFull};
use crate::units::Timestamp;

/// A candidate configuration, and how its decisions compare with those in force.
#[derive(Debug)]
pub struct Candidate {
    rules: Arc<RuleSet>,
    limiter: Limiter,
    /// By worker: written by one thread, read by all.
    workers: Vec<WorkerCounts>,
    /// What comparisons have taken from the workers.
    taken: Mutex<Named>,
}

/// What one worker has counted.
#[derive(Debug)]
struct WorkerCounts {
    checks: AtomicU64,
    differing: AtomicU64,
    /// By the index of the candidate's rule.
    rules: Vec<RuleCounts>,
    /// What is counted by name: only for checks on which the two differ, or that match no rule of the candidate.
    named: Mutex<Named>,
}

#[derive(Debug, Default)]
struct RuleCounts {
    checks: AtomicU64,
    denied_in_force: AtomicU64,
    denied_by_candidate: AtomicU64,
    only_in_force: AtomicU64,
    only_candidate: AtomicU64,
}

#[derive(Debug, Default)]
struct Named {
    /// By the path of the rule in force: checks that match no rule of the candidate.
    unmatched: HashMap<String, RuleDifference>,
    /// By rule and entries.
    counters: HashMap<CounterName, CounterDifference>,
}

/// How both decided the descriptors of a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleDifference {
    /// Descriptors decided.
    pub checks: u64,
    /// Denied by the rules in force.
    pub denied_in_force: u64,
    /// Denied by the candidate.
    pub denied_by_candidate: u64,
    /// Denied by the rules in force only.
    pub only_in_force: u64,
    /// Denied by the candidate only.
    pub only_candidate: u64,
}

/// The path of a rule, and the entries of a descriptor.
pub type CounterName = (String, Vec<(String, String)>);

/// How often both differ on one counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CounterDifference {
    /// Denied by the rules in force only.
    pub only_in_force: u64,
    /// Denied by the candidate only.
    pub only_candidate: u64,
}

/// The comparison so far.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Checks that the candidate decided.
    pub checks: u64,
    /// Checks that only one of the two denies.
    pub differing: u64,
    /// By the path of the rule, the most different first.
    pub rules: Vec<(String, RuleDifference)>,
    /// By rule and entries, the most different first.
    pub counters: Vec<(CounterName, CounterDifference)>,
    /// The memory of its counters.
    pub occupancy: Occupancy,
}

impl Candidate {
    pub(super) fn new(now: Timestamp, rules: Arc<RuleSet>, overlay: &Overlay, settings: &Settings) -> Self {
        let limiter = Limiter::new(Settings {
            counter_budget_bytes: settings.counter_budget_bytes / BUDGET_SHARE,
            // Nothing of it is answered: what it cannot count must not look like a denial.
            when_full: WhenFull::Allow,
            usage_series: 0,
            counts_usage: false,
            ..*settings
        });
        limiter.put_in_force(now, Arc::clone(&rules), overlay);
        let worker = || WorkerCounts {
            checks: AtomicU64::new(0),
            differing: AtomicU64::new(0),
            rules: rules.rules().iter().map(|_| RuleCounts::default()).collect(),
            named: Mutex::default(),
        };
        let workers = (0..settings.workers).map(|_| worker()).collect();
        Self { rules, limiter, workers, taken: Mutex::default() }
    }

    /// Its rules.
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }

    pub(super) fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    /// Decides a check that has been decided by the rules in force, and counts the difference.
    ///
    /// Cost: that of a decision, and a short lock of the worker's own if the two differ.
    pub(super) fn check(&self, worker: WorkerSlot, now: Timestamp, check: &Check<'_>, in_force: &Decision<'_>) {
        let Some(view) = self.limiter.view() else { return };
        let decision = view.check(worker, now, check);
        let Some(counts) = self.workers.get(worker.0) else { return };
        add(&counts.checks, 1);
        add(&counts.differing, u64::from(decision.code != in_force.code));
        let statuses = check.descriptors.iter().zip(in_force.statuses.iter().zip(&decision.statuses));
        for (descriptor, (before, after)) in statuses {
            let difference = RuleDifference::of(before, after);
            match after.rule.and_then(|rule| counts.rules.get(rule.index)) {
                Some(rule) => rule.add(difference),
                None => {
                    if let Some(rule) = before.rule {
                        counts.named.lock().add_unmatched(&rule.path, difference);
                    }
                }
            }
            if difference.only_in_force + difference.only_candidate > 0
                && let Some(rule) = after.rule.or(before.rule)
            {
                let pairs = descriptor.entries.iter().map(|entry| (cut(&entry.key), cut(&entry.value))).collect();
                counts.named.lock().add_counter(&rule.path, pairs, difference);
            }
        }
    }

    /// The comparison so far. Cost: linear in the rules, and in the counters on which both differ.
    pub fn comparison(&self) -> Comparison {
        let mut rules: HashMap<&str, RuleDifference> = HashMap::new();
        let mut taken = self.taken.lock();
        for worker in &self.workers {
            for (rule, counts) in self.rules.rules().iter().zip(&worker.rules) {
                rules.entry(&rule.path).or_default().add(counts.read());
            }
            // The thread that compares has the lowest priority: the worker must not wait while it copies.
            let named = std::mem::take(&mut *worker.named.lock());
            taken.merge(named);
        }
        for (path, difference) in &taken.unmatched {
            rules.entry(path).or_default().add(*difference);
        }
        let mut rules: Vec<_> = rules.into_iter().map(|(path, difference)| (path.to_owned(), difference)).collect();
        rules.sort_by(|(path, one), (other, two)| two.total().cmp(&one.total()).then_with(|| path.cmp(other)));
        let mut counters: Vec<_> = taken.counters.iter().collect();
        let total = |difference: &CounterDifference| difference.only_in_force + difference.only_candidate;
        counters.sort_by(|(name, one), (other, two)| total(two).cmp(&total(one)).then_with(|| name.cmp(other)));
        counters.truncate(MAX_SHOWN);
        let counters = counters.into_iter().map(|(name, difference)| (name.clone(), *difference)).collect();
        let sum = |count: fn(&WorkerCounts) -> &AtomicU64| {
            self.workers.iter().map(|worker| count(worker).load(Ordering::Relaxed)).sum()
        };
        Comparison {
            checks: sum(|worker| &worker.checks),
            differing: sum(|worker| &worker.differing),
            rules,
            counters,
            occupancy: self.limiter.store().occupancy(),
        }
    }
}

impl RuleDifference {
    fn of(in_force: &Status<'_>, candidate: &Status<'_>) -> Self {
        let denied = |status: &Status<'_>| status.code == Code::OverLimit;
        let (before, after) = (denied(in_force), denied(candidate));
        Self {
            checks: 1,
            denied_in_force: before.into(),
            denied_by_candidate: after.into(),
            only_in_force: (before && !after).into(),
            only_candidate: (after && !before).into(),
        }
    }

    fn add(&mut self, other: Self) {
        self.checks += other.checks;
        self.denied_in_force += other.denied_in_force;
        self.denied_by_candidate += other.denied_by_candidate;
        self.only_in_force += other.only_in_force;
        self.only_candidate += other.only_candidate;
    }

    /// What is listed first: the difference, then the number of checks.
    fn total(&self) -> (u64, u64) {
        (self.only_in_force + self.only_candidate, self.checks)
    }
}

impl RuleCounts {
    fn add(&self, difference: RuleDifference) {
        add(&self.checks, difference.checks);
        add(&self.denied_in_force, difference.denied_in_force);
        add(&self.denied_by_candidate, difference.denied_by_candidate);
        add(&self.only_in_force, difference.only_in_force);
        add(&self.only_candidate, difference.only_candidate);
    }

    fn read(&self) -> RuleDifference {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        RuleDifference {
            checks: read(&self.checks),
            denied_in_force: read(&self.denied_in_force),
            denied_by_candidate: read(&self.denied_by_candidate),
            only_in_force: read(&self.only_in_force),
            only_candidate: read(&self.only_candidate),
        }
    }
}

impl Named {
    fn add_unmatched(&mut self, path: &str, difference: RuleDifference) {
        if let Some(known) = self.unmatched.get_mut(path) {
            known.add(difference);
        } else if self.unmatched.len() < MAX_NAMED {
            self.unmatched.insert(path.to_owned(), difference);
        }
    }

    fn add_counter(&mut self, path: &str, entries: Vec<(String, String)>, difference: RuleDifference) {
        let RuleDifference { only_in_force, only_candidate, .. } = difference;
        self.add_named((path.to_owned(), entries), CounterDifference { only_in_force, only_candidate }, MAX_NAMED);
    }

    fn add_named(&mut self, name: CounterName, difference: CounterDifference, most: usize) {
        let is_full = self.counters.len() >= most;
        if is_full && !self.counters.contains_key(&name) {
            return;
        }
        let known = self.counters.entry(name).or_default();
        known.only_in_force += difference.only_in_force;
        known.only_candidate += difference.only_candidate;
    }

    /// Adds what a worker has counted.
    fn merge(&mut self, other: Self) {
        for (path, difference) in other.unmatched {
            self.add_unmatched(&path, difference);
        }
        for (name, difference) in other.counters {
            self.add_named(name, difference, MAX_TAKEN);
        }
    }
}

/// Adds to a count that only one thread writes.
fn add(count: &AtomicU64, more: u64) {
    if more > 0 {
        count.store(count.load(Ordering::Relaxed) + more, Ordering::Relaxed);
    }
}

fn cut(text: &str) -> String {
    text.get(..text.floor_char_boundary(MAX_TEXT_BYTES)).unwrap_or_default().to_owned()
}

/// The candidate's counters may use this share of the memory budget, in addition to it.
const BUDGET_SHARE: usize = 4;
/// Counters and rules that are counted by name, for each worker: more help nobody to find what differs.
const MAX_NAMED: usize = 2_000;
/// Counters that are counted by name in all.
const MAX_TAKEN: usize = 10_000;
/// Counters that are listed.
const MAX_SHOWN: usize = 20;
/// Bytes of a key or a value that are kept.
const MAX_TEXT_BYTES: usize = 100;
