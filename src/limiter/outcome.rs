//! The outcomes of the limits of one descriptor.

use smallvec::SmallVec;

use super::resolve::Limited;
use crate::engine::{Limit, Outcome};
use crate::store::Charged;

/// The outcomes of one descriptor's limits, in their order, and the index of the governing one.
#[derive(Debug)]
pub(super) struct Outcomes {
    pub(super) charged: SmallVec<[Charged; 1]>,
    /// The index of the governing limit; meaningless without limits.
    governing: usize,
}

impl Outcomes {
    /// The outcomes of `limits`, which have the same order as `charged`.
    pub(super) fn new(limits: &[Limited<'_>], charged: SmallVec<[Charged; 1]>) -> Self {
        let governing = if charged.len() > 1 { governing(limits, &charged) } else { 0 };
        Self { charged, governing }
    }

    /// The outcome of the only limit.
    pub(super) fn of_one(charged: Charged) -> Self {
        Self { charged: SmallVec::from_buf([charged]), governing: 0 }
    }

    /// The governing limit among `limits`, with its outcome: the one that denies (of several the one with the longest wait), else
    /// the one with the least share left.
    pub(super) fn governing<'a, 'v>(&'a self, limits: &'a [Limited<'v>]) -> Option<(&'a Limited<'v>, &'a Outcome)> {
        limits.get(self.governing).zip(self.charged.get(self.governing).map(|charged| &charged.outcome))
    }

    /// The index of the governing limit.
    pub(super) fn governing_index(&self) -> usize {
        self.governing
    }

    /// Each limit with its outcome.
    pub(super) fn with_limits<'a, 'v>(
        &'a self,
        limits: &'a [Limited<'v>],
    ) -> impl Iterator<Item = (&'a Limited<'v>, &'a Outcome)> {
        limits.iter().zip(self.charged.iter().map(|charged| &charged.outcome))
    }
}

fn governing(limits: &[Limited<'_>], charged: &[Charged]) -> usize {
    let outcomes =
        || limits.iter().zip(charged).enumerate().map(|(i, (limited, charged))| (i, limited, &charged.outcome));
    let denying = outcomes().filter(|(.., outcome)| !outcome.admitted()).max_by_key(|(.., outcome)| outcome.reset);
    let found = denying.or_else(|| outcomes().min_by_key(|(_, limited, outcome)| share_left(limited.limit(), outcome)));
    found.map_or(0, |(i, ..)| i)
}

/// The share of its capacity that a limit has left, in millionths.
fn share_left(limit: &Limit, outcome: &Outcome) -> u128 {
    u128::from(outcome.remaining) * 1_000_000 / u128::from(limit.capacity().max(1))
}
