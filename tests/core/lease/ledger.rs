//! What was offered and admitted, and whether it is within the limit.

use std::collections::BTreeMap;

use tidegate::engine::{self, Algorithm, Cell, Limit, Op};
use tidegate::units::Timestamp;

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
    /// The latest instant at which a hit was spent.
    latest: u64,
    pub(crate) checks: u64,
    pub(crate) denied: u64,
    pub(crate) asks: u64,
    pub(crate) waited: u64,
    /// Late answers whose leases still had time.
    pub(crate) kept_late: u64,
    /// The same checks on one counter in memory, and what it admits.
    reference: Cell,
    pub(crate) possible: u64,
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
            latest: 0,
            checks: 0,
            denied: 0,
            asks: 0,
            waited: 0,
            kept_late: 0,
            reference: Cell::FRESH,
            possible: 0,
            excess: 0,
        }
    }

    pub(crate) fn offer(&mut self, at: u64, hits: u64) {
        self.checks += 1;
        *self.offered.entry((at - self.start) / self.limit.window.as_ns()).or_default() += hits;
        let (outcome, next) = engine::step(&self.limit, self.reference, Timestamp::from_ns(at), Op::Charge(hits));
        self.reference = next;
        self.possible += if outcome.admitted() { hits } else { 0 };
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
        let admitted = self.admitted.entry(window).or_default();
        *admitted += hits;
        let now = *admitted;
        let max = u64::from(self.limit.max);
        let used = if self.limit.algorithm == Algorithm::SlidingWindow {
            let length = self.limit.window.as_ns() / 1_000;
            // What came later in time may have been spent earlier: its grant was smaller.
            self.latest = self.latest.max(at);
            let elapsed = (self.latest / 1_000).saturating_sub(window).min(length - 1);
            let previous = self.admitted.get(&(window - length)).copied().unwrap_or(0);
            now + (u128::from(previous) * u128::from(length - elapsed) / u128::from(length)) as u64
        } else {
            now
        };
        self.excess = self.excess.max(used.saturating_sub(max));
    }

    /// Hits of a lease are spent within its window, by the engine's clock.
    pub(crate) fn check_time(&mut self, window: u64, at: u64, from_held: u64) {
        let end = match self.limit.algorithm {
            Algorithm::FixedWindow { .. } => window,
            Algorithm::SlidingWindow => window + self.limit.window.as_ns() / 1_000,
            _ => return,
        };
        if from_held > 0 && at / 1_000 >= end {
            self.excess = self.excess.max(from_held);
        }
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

    /// Of what one counter in memory admits, the part that was not admitted, in percent.
    pub(crate) fn under_admission(&self) -> f64 {
        (self.possible as f64 - self.all_admitted() as f64) * 100.0 / self.possible as f64
    }

    /// The most hits that a fixed window admitted which began from `from` to `to`.
    pub(crate) fn most_admitted(&self, from: u64, to: u64) -> u64 {
        let length = self.limit.window.as_ns() / 1_000;
        let windows = self.admitted.iter().filter(|(end, _)| (from..to).contains(&((*end - length) * 1_000)));
        windows.map(|(_, admitted)| *admitted).max().unwrap_or(0)
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
