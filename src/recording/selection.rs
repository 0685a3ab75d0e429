//! Which checks are recorded.

use std::num::NonZeroU32;

use crate::limiter::Check;

/// What a recording takes.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Only checks of these domains; none: of all.
    pub domains: Vec<String>,
    /// One in so many.
    pub one_in: NonZeroU32,
    /// Chooses by the value of this entry key: one in so many of its values, each with all of its checks, so that the counters of
    /// these values are complete. Checks without the key are not taken. `None`: chooses each check at random.
    pub sample_by: Option<String>,
    /// Makes the choice of values another one in each recording.
    pub hasher: ahash::RandomState,
}

impl Selection {
    /// Every check of every domain.
    pub fn everything() -> Self {
        Self { domains: Vec::new(), one_in: NonZeroU32::MIN, sample_by: None, hasher: ahash::RandomState::new() }
    }

    /// Whether the check is recorded; `random` is called for a sample of checks.
    pub(super) fn takes(&self, check: &Check<'_>, random: impl FnOnce() -> u64) -> bool {
        if !self.domains.is_empty() && !self.domains.iter().any(|domain| *domain == *check.domain) {
            return false;
        }
        let one_in = u64::from(self.one_in.get());
        match &self.sample_by {
            None => one_in == 1 || random().is_multiple_of(one_in),
            Some(key) => {
                let mut entries = check.descriptors.iter().flat_map(|descriptor| &descriptor.entries);
                let value = entries.find(|entry| entry.key == key.as_str()).map(|entry| &*entry.value);
                value.is_some_and(|value| self.hasher.hash_one(value).is_multiple_of(one_in))
            }
        }
    }
}
