//! The checks of a trace that matched no rule: a mistyped domain or key limits nothing, which no rule's sums would show.

use std::collections::HashMap;

use crate::limiter::{Check, Decision};
use crate::rules::Rule;

/// Checks and descriptors that matched no rule, by domain.
#[derive(Debug, Default)]
pub(super) struct Unmatched {
    domains: HashMap<String, UnmatchedCounts>,
    /// Shared by all domains beyond [`MAX_DOMAINS`].
    others: UnmatchedCounts,
}

#[derive(Clone, Copy, Debug, Default)]
struct UnmatchedCounts {
    /// Checks with at least one such descriptor.
    checks: u64,
    descriptors: u64,
    /// The domain is not configured.
    unknown: bool,
}

impl Unmatched {
    /// UnmatchedCounts the descriptors that neither match a rule nor have a request override. A descriptor whose rule is replaced by
    /// another rule has matched.
    pub(super) fn add(&mut self, check: &Check<'_>, decision: &Decision<'_>, rules: &[Rule]) {
        let descriptors = check.descriptors.iter().zip(&decision.statuses);
        let unmatched = descriptors.filter(|(descriptor, status)| {
            let has_none = status.rule.is_none() && status.limit.is_none();
            has_none && decision.domain.is_none_or(|domain| domain.find(rules, &descriptor.entries).is_none())
        });
        let count = unmatched.count() as u64;
        if count == 0 {
            return;
        }
        let is_full = self.domains.len() >= MAX_DOMAINS && !self.domains.contains_key(&*check.domain);
        let counts =
            if is_full { &mut self.others } else { self.domains.entry(check.domain.clone().into_owned()).or_default() };
        counts.checks += 1;
        counts.descriptors += count;
        counts.unknown = decision.domain.is_none();
    }

    /// A row for each domain with its counts and the reason, most descriptors first; none if everything matched.
    pub(super) fn rows(&self) -> Vec<Vec<String>> {
        let mut domains: Vec<_> = self.domains.iter().collect();
        domains.sort_by(|(a, x), (b, y)| y.descriptors.cmp(&x.descriptors).then_with(|| a.cmp(b)));
        let (shown, rest) = domains.split_at(domains.len().min(MAX_SHOWN));
        let others = rest
            .iter()
            .map(|(_, counts)| **counts)
            .chain([self.others])
            .fold(UnmatchedCounts::default(), UnmatchedCounts::plus);
        let mut rows: Vec<_> = shown.iter().map(|(domain, counts)| counts.row(domain, counts.because())).collect();
        rows.extend((others.checks > 0).then(|| others.row("(others)", "")));
        rows
    }
}

impl UnmatchedCounts {
    fn plus(self, other: Self) -> Self {
        Self {
            checks: self.checks + other.checks,
            descriptors: self.descriptors + other.descriptors,
            unknown: self.unknown || other.unknown,
        }
    }

    fn because(self) -> &'static str {
        if self.unknown { "unknown domain" } else { "no rule matches" }
    }

    fn row(self, domain: &str, because: &str) -> Vec<String> {
        vec![domain.to_owned(), self.checks.to_string(), self.descriptors.to_string(), because.to_owned()]
    }
}

/// Domains that are tracked individually, 100 bytes each: a trace has a few, unless clients choose them.
const MAX_DOMAINS: usize = 10_000;
/// Domains that a summary shows.
const MAX_SHOWN: usize = 20;
