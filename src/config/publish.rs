//! Puts configurations in force, whatever source they come from, and keeps how that went.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::rules::{LiftedCounts, RuleSet};

/// The one place from which configurations come into force, numbered and whole.
///
/// A source of rules (files; others may follow) loads, and hands over what it loaded, or its errors.
pub(crate) struct Publisher {
    status: ArcSwap<ReloadStatus>,
    apply: Mutex<Box<dyn FnMut(RuleSet) + Send>>,
}

/// How loading has gone so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReloadStatus {
    /// The number of the configuration in force: 1 for the first, 0 for none.
    pub(crate) generation: u64,
    /// The failure since then, if the last load failed: the configuration in force is not that of the source.
    pub(crate) last_error: Option<FailedLoad>,
    /// Loads that succeeded.
    pub(crate) successes: u64,
    /// Loads that failed.
    pub(crate) failures: u64,
}

/// A load that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FailedLoad {
    /// Every error, `file:line: message`; of more than 1,000 the first, and how many more there are.
    pub(crate) errors: Vec<String>,
}

/// What was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Loaded {
    /// The number of this configuration, from 1.
    pub(crate) generation: u64,
    /// Its files.
    pub(crate) files: usize,
    /// Its domains.
    pub(crate) domains: usize,
    /// Its rules.
    pub(crate) rules: usize,
    /// What of it is switched off.
    pub(crate) lifted: LiftedCounts,
}

impl Publisher {
    /// Nothing is in force yet. `apply` receives each configuration, usually to
    /// [replace](crate::limiter::Limiter::replace_rules) the rules in force; it must not call back.
    pub(crate) fn new(apply: impl FnMut(RuleSet) + Send + 'static) -> Self {
        Self { status: ArcSwap::default(), apply: Mutex::new(Box::new(apply)) }
    }

    /// How loading has gone so far. Cost: one atomic load; never waits.
    pub(crate) fn status(&self) -> Arc<ReloadStatus> {
        self.status.load_full()
    }

    /// Puts the rules of that many files in force.
    pub(crate) fn publish(&self, files: usize, rules: RuleSet) -> Loaded {
        let mut apply = self.apply.lock();
        let before = self.status.load();
        let loaded = Loaded {
            generation: before.generation + 1,
            files,
            domains: rules.domains().count(),
            rules: rules.rules().len(),
            lifted: rules.lifted_counts(),
        };
        apply(rules);
        self.status.store(Arc::new(ReloadStatus {
            generation: loaded.generation,
            last_error: None,
            successes: before.successes + 1,
            failures: before.failures,
        }));
        loaded
    }

    /// Counts a load that failed; the configuration in force stays.
    pub(crate) fn reject(&self, errors: Vec<String>) {
        let _one_at_a_time = self.apply.lock();
        let mut status = ReloadStatus::clone(&self.status.load());
        status.failures += 1;
        status.last_error = Some(FailedLoad { errors });
        self.status.store(Arc::new(status));
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("status", &self.status).finish_non_exhaustive()
    }
}
