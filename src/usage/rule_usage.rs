//! The counts of one rule.

use std::sync::Arc;

use super::{CounterName, Counts, Labels, RuleName};

/// The counters of one rule, or of one path of values.
#[derive(Debug)]
pub struct RuleUsage {
    /// The labels of the series in the metrics.
    pub labels: Labels,
    /// Its counters.
    pub counts: Counts,
    /// Unique in this process.
    pub(super) number: usize,
    /// The rule's name, as the name of its counters that are not tracked individually.
    pub(super) other_name: Arc<CounterName>,
}

impl RuleUsage {
    pub(super) fn new(labels: Labels, number: usize, workers: usize) -> Self {
        let rule = Arc::new(RuleName { domain: labels.domain.clone(), path: labels.rule.clone() });
        let other_name = Arc::new(CounterName { rule, entries: Vec::new() });
        Self { labels, counts: Counts::new(workers), number, other_name }
    }

    /// The rule's name.
    pub fn name(&self) -> &Arc<RuleName> {
        &self.other_name.rule
    }
}
