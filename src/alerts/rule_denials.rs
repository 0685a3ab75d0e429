//! The exact number of denials of each rule, from sums that are never dropped.

use std::collections::HashMap;

use crate::usage::{Measure, Usage};

/// Reports the denials since the last poll.
#[derive(Debug, Default)]
pub(super) struct RuleDenials {
    /// The sum of each rule at the last poll.
    seen: HashMap<String, u64, ahash::RandomState>,
    /// Polls were skipped: the denials in between are not reported.
    stale: bool,
}

impl RuleDenials {
    /// Calls `report` with the domain, the path and the number of denials of each rule that has denied since the last poll; the
    /// first poll reports all since the process started. Cost: that of [`Usage::rule_totals`].
    pub(super) fn poll(&mut self, usage: &Usage, mut report: impl FnMut(&str, &str, u64)) {
        for (rule, totals) in usage.rule_totals() {
            let denied = totals.get(Measure::RequestsDenied);
            let seen = self.seen.get(&rule.path).copied().unwrap_or(0);
            if denied > seen {
                if !self.stale {
                    report(&rule.domain, &rule.path, denied - seen);
                }
                self.seen.insert(rule.path.clone(), denied);
            }
        }
        self.stale = false;
    }

    /// Called in place of a poll when no alert needs the numbers.
    pub(super) fn skip(&mut self) {
        self.stale = true;
    }
}
