//! How often each rule has refused, exactly, from the sums that are never dropped.

use std::collections::HashMap;

use crate::usage::{Measure, Usage};

/// Tells what came since the last look.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// The sum of each rule at the last look.
    seen: HashMap<String, u64, ahash::RandomState>,
    /// Nobody has looked for a while: what came meanwhile is nobody's.
    stale: bool,
}

impl Refusals {
    /// Calls `tell` with the domain, the path and the number of refusals of each rule that has refused since the last
    /// look; the first look sees all since the process began. Cost: that of [`Usage::rule_totals`].
    pub(super) fn look(&mut self, usage: &Usage, mut tell: impl FnMut(&str, &str, u64)) {
        for (rule, totals) in usage.rule_totals() {
            let refused = totals.get(Measure::RequestsDenied);
            let seen = self.seen.get(&rule.path).copied().unwrap_or(0);
            if refused > seen {
                if !self.stale {
                    tell(&rule.domain, &rule.path, refused - seen);
                }
                self.seen.insert(rule.path.clone(), refused);
            }
        }
        self.stale = false;
    }

    /// Takes the place of a look when nobody wants to know.
    pub(super) fn look_away(&mut self) {
        self.stale = true;
    }
}
