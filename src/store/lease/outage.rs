//! What one replica admits on its own while the engine does not answer: its share of the limit.

use super::{Now, Terms};
use crate::engine::{self, Algorithm, Cell, CountDenied, LeaseShape, Limit, Op, Outcome, Queue, QueueMode, Starts};
use crate::units::Nanos;

/// The count of an outage. Windows count up to a replica's share of what was left, new ones up to its share of the limit; buckets
/// have a replica's share of rate and burst.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outage {
    cell: Cell,
    /// Hits of the window of `cell`.
    allowance: u32,
}

impl Default for Outage {
    fn default() -> Self {
        Self { cell: Cell::FRESH, allowance: 0 }
    }
}

impl Outage {
    /// Whether `hits` more are within this replica's share. `known`: what was left of the present window, and how long it lasts.
    pub(super) fn allows(&self, terms: &Terms, hits: u64, now: Now, known: Option<(u64, Nanos)>) -> bool {
        let mut after = *self;
        after.spend(terms, hits, now, known)
    }

    /// Spends them, and returns whether they are.
    pub(super) fn spend(&mut self, terms: &Terms, hits: u64, now: Now, known: Option<(u64, Nanos)>) -> bool {
        if self.cell.is_fresh(now.engine) {
            self.begin(terms, now, known);
        }
        let (outcome, next) = engine::step(&self.limit(terms), self.cell, now.engine, Op::Charge(hits));
        if outcome.admitted() {
            self.cell = next;
        }
        outcome.admitted()
    }

    /// What the share says of `hits` more, which are not spent.
    pub(super) fn outcome(&self, terms: &Terms, hits: u64, now: Now, known: Option<(u64, Nanos)>) -> Outcome {
        let mut share = *self;
        if share.cell.is_fresh(now.engine) {
            share.begin(terms, now, known);
        }
        engine::step(&share.limit(terms), share.cell, now.engine, Op::Charge(hits)).0
    }

    /// How long the window of the outage lasts.
    pub(super) fn ends_in(&self, now: Now) -> Nanos {
        self.cell.to_parts().0.since(now.engine)
    }

    fn begin(&mut self, terms: &Terms, now: Now, known: Option<(u64, Nanos)>) {
        self.cell = Cell::FRESH;
        let max = u64::from(terms.max);
        // Of a window that is known to be used up, nothing is admitted.
        let (left, is_used_up) = known.map_or((max, max == 0), |(left, _)| (left, left == 0));
        let share = (left / u64::from(terms.replicas)).max(1);
        self.allowance = if is_used_up { 0 } else { u32::try_from(share).unwrap_or(u32::MAX) };
        if let (LeaseShape::FirstRequestWindow, Some((_, lasts))) = (terms.shape, known) {
            self.cell = Cell::from_parts(now.engine.plus(lasts), 0);
        }
    }

    fn limit(&self, terms: &Terms) -> Limit {
        let (window, replicas) = (terms.window, u64::from(terms.replicas));
        let counts = CountDenied::Never;
        let fixed = |starts| Limit {
            max: self.allowance,
            window,
            algorithm: Algorithm::FixedWindow { starts },
            ban: None,
            count_denied: counts,
        };
        match terms.shape {
            LeaseShape::FirstRequestWindow => fixed(Starts::FirstRequest),
            LeaseShape::ClockWindow | LeaseShape::SlidingWindow => {
                fixed(terms.calendar().map_or(Starts::Clock, Starts::Calendar))
            }
            LeaseShape::Bucket => {
                let burst = u32::try_from(terms.burst() / replicas).unwrap_or(u32::MAX).max(1);
                let algorithm = Algorithm::TokenBucket { burst, queue: Queue { size: 0, mode: QueueMode::Hold } };
                let window = Nanos::from_ns(window.as_ns().saturating_mul(replicas));
                Limit { max: terms.max, window, algorithm, ban: None, count_denied: counts }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Timestamp;

    fn admitted(terms: &Terms, known: Option<(u64, Nanos)>, hits: u32, at: Timestamp) -> usize {
        let mut outage = Outage::default();
        let now = Now { local: at, engine: at };
        (0..hits).filter(|_| outage.spend(terms, 1, now, known)).count()
    }

    #[test]
    fn a_replica_admits_its_share() {
        let at = Timestamp::from_ns(1_700_000_000_000_000_000);
        let burst = Algorithm::TokenBucket { burst: 1_000, queue: Queue { size: 0, mode: QueueMode::Hold } };
        let limit = |max, algorithm| Limit {
            max,
            window: Nanos::from_secs(60),
            algorithm,
            ban: None,
            count_denied: CountDenied::Never,
        };
        let clock = Algorithm::FixedWindow { starts: Starts::Clock };
        for (max, algorithm, known, expected) in [
            (1_000, clock, None, 100),
            (1_000, clock, Some(500), 50),
            (1_000, clock, Some(5), 1),
            (1_000, clock, Some(0), 0),
            (3, clock, None, 1),
            (1_000, Algorithm::SlidingWindow, None, 100),
            (1_000, Algorithm::FixedWindow { starts: Starts::FirstRequest }, Some(40), 4),
            (60, burst, None, 100),
        ] {
            let terms = Terms::new(&limit(max, algorithm), 10).unwrap();
            let known = known.map(|left| (left, Nanos::SECOND));
            assert_eq!(admitted(&terms, known, 2_000, at), expected, "{max} {algorithm:?} {known:?}");
        }
    }
}
