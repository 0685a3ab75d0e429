//! How often each rule has denied, exactly, from the sums that are never dropped.

use std::collections::HashMap;

use crate::usage::{Measure, Usage};

/// Reports what came since the last poll.
#[derive(Debug, Default)]
pub(super) struct RuleDenials {
    /// The sum of each rule at the last look.
    seen: HashMap<String, u64, ahash::RandomState>,
    /// Nobody has looked for a while: what came meanwhile is nobody's.
    stale: bool,
}

impl RuleDenials {
    /// Calls `report` with the domain, the path and the number of denials of each rule that has denied since the last
    /// look; the first look sees all since the process began. Cost: that of [`Usage::rule_totals`].
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

    /// Takes the place of a look when nobody wants to know.
    pub(super) fn skip(&mut self) {
        self.stale = true;
    }
}
