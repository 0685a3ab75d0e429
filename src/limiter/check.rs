//! A check, in the form common to all front ends.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::rules::{Entry, Period};
use crate::units::Nanos;

/// One check: a request to decide about.
#[derive(Clone, Debug, Default)]
pub struct Check<'a> {
    /// The domain, not empty.
    pub domain: Cow<'a, str>,
    /// The descriptors, at least one.
    pub descriptors: SmallVec<[Descriptor<'a>; 2]>,
    /// Hits of descriptors without a number of their own; 0 means 1.
    pub hits_addend: u32,
    /// How long the caller waits for a delayed reply; `None`: without a limit.
    pub timeout: Option<Nanos>,
}

/// One descriptor of a check.
#[derive(Clone, Debug, Default)]
pub struct Descriptor<'a> {
    /// The entries, in order.
    pub entries: SmallVec<[Entry<'a>; 4]>,
    /// A request override, in place of the configured limits.
    pub limit: Option<Override>,
    /// Hits of this descriptor; 0 reads the counters without charging them.
    pub hits: Option<u64>,
    /// The hits are refunded.
    pub refund: bool,
}

/// A request override: a clock-aligned fixed window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Override {
    /// Hits allowed per period.
    pub requests_per_unit: u32,
    /// The period; `None` if the unit is unknown (then the configured rules apply).
    pub period: Option<Period>,
}

impl Check<'_> {
    /// The hits that a descriptor of this check costs.
    pub fn hits(&self, descriptor: &Descriptor<'_>) -> u64 {
        descriptor.hits.unwrap_or_else(|| u64::from(self.hits_addend.max(1)))
    }
}
