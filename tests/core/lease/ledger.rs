//! What was offered and admitted, and whether it is within the limit.

use std::collections::BTreeMap;

use tidegate::engine::{Algorithm, Limit};

/// Hits of one run.
#[derive(Debug)]
pub(crate) struct Ledger {
    limit: Limit,
    start: u64,
    /// By the engine's name of the window.
    admitted: BTreeMap<u64, u64>,
    /// By the number of the window since the start.
    offered: BTreeMap<u64, u64>,
    /// Instant and hits, of buckets.
    spent: Vec<(u64, u64)>,
    pub(crate) checks: u64,
    pub(crate) hits: u64,
    pub(crate) denied: u64,
    pub(crate) asks: u64,
    pub(crate) waited: u64,
    /// The most hits above the limit that a window or bucket had.
    excess: u64,
}

impl Ledger {
    pub(crate) fn new(limit: &Limit, start: u64) -> Self {
        Self {
            limit: *limit,
            start,
            admitted: BTreeMap::new(),
            offered: BTreeMap::new(),
            spent: Vec::new(),
            checks: 0,
            hits: 0,
            denied: 0,
            asks: 0,
            waited: 0,
            excess: 0,
        }
    }

    pub(crate) fn offer(&mut self, at: u64, hits: u64) {
        self.checks += 1;
        self.hits += hits;
        *self.offered.entry((at - self.start) / self.limit.window.as_ns()).or_default() += hits;
    }

    /// Hits that were spent in a window, at an instant of the engine's clock.
    pub(crate) fn admit(&mut self, window: u64, at: u64, hits: u64) {
        if hits == 0 {
            return;
        }
        if matches!(self.limit.algorithm, Algorithm::TokenBucket { .. }) {
            self.spent.push((at, hits));
            return;
        }
        let now = {
            let admitted = self.admitted.entry(window).or_default();
            *admitted += hits;
            *admitted
        };
        let max = u64::from(self.limit.max);
        let used = if self.limit.algorithm == Algorithm::SlidingWindow {
            let length = self.limit.window.as_ns() / 1_000;
            let elapsed = (at / 1_000).saturating_sub(window).min(length - 1);
            let previous = self.admitted.get(&(window - length)).copied().unwrap_or(0);
            now + (u128::from(previous) * u128::from(length - elapsed) / u128::from(length)) as u64
        } else {
            now
        };
        self.excess = self.excess.max(used.saturating_sub(max));
    }

    /// Hits above what the limit allows: of the worst window; of a bucket, above burst + rate x time.
    pub(crate) fn excess(&mut self) -> u64 {
        let Algorithm::TokenBucket { burst, .. } = self.limit.algorithm else { return self.excess };
        self.spent.sort_unstable();
        // Ticks are 1 / limit nanoseconds, so nothing is rounded.
        let (cost, rate) = (u128::from(self.limit.window.as_ns()), u128::from(self.limit.max));
        let (mut debt, mut last, mut worst) = (0_u128, 0, 0);
        for (at, hits) in &self.spent {
            debt = debt.saturating_sub(u128::from(at - last) * rate) + u128::from(*hits) * cost;
            last = *at;
            worst = worst.max(debt.saturating_sub(u128::from(burst) * cost).div_ceil(cost));
        }
        worst as u64
    }

    /// Admitted hits of a run.
    pub(crate) fn all_admitted(&self) -> u64 {
        self.admitted.values().sum::<u64>() + self.spent.iter().map(|(_, hits)| hits).sum::<u64>()
    }

    /// Of what fixed windows could have admitted, the part that they did not, in percent.
    pub(crate) fn under_admission(&self) -> f64 {
        let max = u64::from(self.limit.max);
        let possible: u64 = self.offered.values().map(|offered| *offered.min(&max)).sum();
        (possible as f64 - self.all_admitted() as f64) * 100.0 / possible as f64
    }

    /// Windows in which more was offered than the limit allows.
    pub(crate) fn exhausted(&self) -> usize {
        self.offered.values().filter(|offered| **offered > self.limit.max.into()).count()
    }

    /// Requests per check.
    pub(crate) fn asks_per_check(&self) -> f64 {
        self.asks as f64 / self.checks as f64
    }
}
