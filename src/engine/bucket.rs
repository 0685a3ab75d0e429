//! Token bucket, as GCRA (ITU-T I.371, virtual scheduling), with an optional queue.
//!
//! With T = length / limit and a bucket of `burst`: new = max(tat, now) + hits x T; admitted iff new - now <= burst x T,
//! in the queue iff new - now <= (burst + queue) x T. Bound: at most burst + queue + d / T hits in any time d.
//!
//! T is no whole number of nanoseconds (3 per second), so time is counted in ticks of 1 / limit nanoseconds, in 128
//! bits: then T is `length` ticks, and nothing is ever rounded. State: `fresh_at` is the theoretical arrival time
//! (tat), rounded up to a nanosecond; `state` how many ticks that rounding added.

use super::{Cell, Limit, Op, Outcome, Queue, QueueMode, Reason, Verdict};
use crate::units::{Nanos, Timestamp};

pub(super) fn step(limit: &Limit, burst: u32, queue: Queue, cell: Cell, now: Timestamp, op: Op) -> (Outcome, Cell) {
    if limit.max == 0 {
        return blocked(limit, cell, op);
    }
    let bucket = Bucket::at(limit, burst, queue, cell, now);
    match op {
        Op::Charge(hits) => bucket.charge(limit, cell, hits),
        Op::Refund(hits) => {
            let kept = bucket.with_debt(bucket.debt.saturating_sub(bucket.cost(hits)));
            (bucket.outcome(Verdict::ADMITTED, kept.used(), &kept, kept.until_full()), kept.cell())
        }
    }
}

/// A bucket as it stands at one instant. Ticks are 1 / limit nanoseconds.
#[derive(Clone, Copy)]
struct Bucket {
    now: Timestamp,
    ticks_per_ns: u128,
    /// Ticks that one hit costs.
    interval: u128,
    /// Ticks of a full bucket.
    full: u128,
    /// Ticks of a full bucket and of the longest wait in the queue.
    most: u128,
    has_queue: bool,
    /// Ticks until the bucket is full.
    debt: u128,
}

impl Bucket {
    fn at(limit: &Limit, burst: u32, queue: Queue, cell: Cell, now: Timestamp) -> Self {
        let ticks_per_ns = u128::from(limit.max);
        let interval = u128::from(limit.window.as_ns().max(1));
        let full = u128::from(burst) * interval;
        // A limit that was lowered since leaves a rounding above the new tick: less than a nanosecond.
        let rounding = u128::from(cell.state).min(ticks_per_ns - 1);
        let debt = (u128::from(cell.fresh_at.since(now).as_ns()) * ticks_per_ns).saturating_sub(rounding);
        let longest = match queue.mode {
            QueueMode::HoldAtMost(length) => u128::from(length.as_ns()) * ticks_per_ns,
            QueueMode::Hold | QueueMode::Advise => u128::MAX,
        };
        let wait = longest.min(u128::from(queue.size) * interval);
        Self { now, ticks_per_ns, interval, full, most: full + wait, has_queue: queue.size > 0, debt }
    }

    fn with_debt(self, debt: u128) -> Self {
        Self { debt, ..self }
    }

    fn charge(self, limit: &Limit, cell: Cell, hits: u64) -> (Outcome, Cell) {
        if hits == 0 {
            return (self.outcome(Verdict::ADMITTED, self.used(), &self, self.until_full()), cell);
        }
        let after = self.used().saturating_add(hits);
        let wanted = self.debt.saturating_add(self.cost(hits));
        if wanted <= self.most && self.is_told(wanted) {
            let kept = self.with_debt(wanted);
            let delay = self.nanos(wanted.saturating_sub(self.full));
            return (self.outcome(Verdict::Admitted { delay }, after, &kept, kept.until_full()), kept.cell());
        }
        let kept = if limit.count_denied { self.with_debt(self.debt.max(self.most.min(wanted))) } else { self };
        let reason = if self.has_queue { Reason::QueueFull } else { Reason::OverLimit };
        let outcome = self.outcome(Verdict::Denied(reason), after, &kept, kept.wait(hits));
        (outcome, if limit.count_denied { kept.cell() } else { cell })
    }

    fn outcome(self, verdict: Verdict, after: u64, kept: &Self, reset: Nanos) -> Outcome {
        Outcome { verdict, before: self.used(), after, remaining: kept.remaining(), reset }
    }

    fn cost(self, hits: u64) -> u128 {
        u128::from(hits).saturating_mul(self.interval)
    }

    /// Whether an arrival time that far ahead can still be told; at the end of time nothing is admitted any more.
    fn is_told(self, debt: u128) -> bool {
        debt.div_ceil(self.ticks_per_ns) < u128::from(Timestamp::MAX.since(self.now).as_ns())
    }

    /// Hits that the debt stands for, rounded up.
    fn used(self) -> u64 {
        u64::try_from(self.debt.div_ceil(self.interval)).unwrap_or(u64::MAX)
    }

    fn remaining(self) -> u64 {
        u64::try_from(self.full.saturating_sub(self.debt) / self.interval).unwrap_or(u64::MAX)
    }

    /// How long until `hits` more would be admitted, be it into the queue. Hits that never fit: until full.
    fn wait(self, hits: u64) -> Nanos {
        let cost = self.cost(hits);
        if cost > self.most {
            return self.until_full();
        }
        self.nanos(self.debt.saturating_add(cost).saturating_sub(self.most))
    }

    fn until_full(self) -> Nanos {
        self.nanos(self.debt)
    }

    /// Ticks as nanoseconds, rounded up: a promise is never early.
    fn nanos(self, ticks: u128) -> Nanos {
        Nanos::from_ns(u64::try_from(ticks.div_ceil(self.ticks_per_ns)).unwrap_or(u64::MAX))
    }

    fn cell(self) -> Cell {
        if self.debt == 0 {
            return Cell::FRESH;
        }
        let ahead = self.nanos(self.debt);
        let rounding = u128::from(ahead.as_ns()) * self.ticks_per_ns
            - self.debt.min(u128::from(ahead.as_ns()) * self.ticks_per_ns);
        Cell { fresh_at: self.now.plus(ahead), state: u64::try_from(rounding).unwrap_or(0) }
    }
}

/// A limit of 0 per window: nothing passes, ever.
fn blocked(limit: &Limit, cell: Cell, op: Op) -> (Outcome, Cell) {
    let (verdict, hits) = match op {
        Op::Charge(hits @ 1..) => (Verdict::Denied(Reason::OverLimit), hits),
        _ => (Verdict::ADMITTED, 0),
    };
    (Outcome { verdict, before: 0, after: hits, remaining: 0, reset: limit.window }, cell)
}
