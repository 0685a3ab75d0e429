//! Counts by domain, for names that clients choose.

use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;

/// Counts by domain; those beyond the bound together, as `other`.
#[derive(Debug, Default)]
pub(super) struct DomainCounts {
    by_domain: DashMap<String, u64, ahash::RandomState>,
    other: AtomicU64,
}

impl DomainCounts {
    /// Counts something of a domain; `None`: of `other`.
    pub(super) fn add(&self, domain: Option<&str>, count: u64) {
        let Some(domain) = domain.filter(|domain| domain.len() <= MAX_DOMAIN_BYTES) else {
            self.other.fetch_add(count, Ordering::Relaxed);
            return;
        };
        if let Some(mut known) = self.by_domain.get_mut(domain) {
            *known += count;
        } else if self.by_domain.len() < MAX_DOMAINS {
            *self.by_domain.entry(domain.into()).or_insert(0) += count;
        } else {
            self.other.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// All counts, sorted by domain; `other` is last.
    pub(super) fn read(&self, other: &str) -> Vec<(String, u64)> {
        let mut all: Vec<_> = self.by_domain.iter().map(|entry| (entry.key().clone(), *entry.value())).collect();
        all.sort();
        all.push((other.into(), self.other.load(Ordering::Relaxed)));
        all
    }
}

/// Domains with a count of their own: to find a mistyped one, or one that a client must not check, far fewer are enough.
const MAX_DOMAINS: usize = 100;
/// The longest domain that has a label.
const MAX_DOMAIN_BYTES: usize = 256;
