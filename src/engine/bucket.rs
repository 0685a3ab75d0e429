//! Token bucket, as GCRA (ITU-T I.371, virtual scheduling), with an optional queue.
//!
//! With T = length / limit and a bucket of `burst`: new = max(tat, now) + hits x T; admitted iff new - now <= burst x T,
//! in the queue iff new - now <= (burst + queue) x T. Bound: at most burst + queue + d / T hits in any time d.
//!
//! T may not be a whole number of nanoseconds (3 per second), so time is counted in ticks of 1 / limit nanoseconds, in 128
//! bits: then T is `length` ticks, and nothing is ever rounded. State: `fresh_at` is the theoretical arrival time (tat),
//! rounded up to a nanosecond; the lower half of `state` is the number of ticks that rounding added, the upper half is T as
//! an `f32`.
//!
//! When a configuration changes T, a bucket keeps the hits that it lacks, not the time to regain them. The T in the state
//! converts that time to hits: the missing hits are known to one part in [`PRECISION`], and a number that close to a whole
//! one is rounded to it.
//!
//! A denied charge that counts puts the bucket in debt, at most `limit` hits below empty.

use super::{Algorithm, Cell, Limit, Op, Outcome, Queue, QueueMode, Reason, Verdict};
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

impl Cell {
    /// A bucket that lacks `hits` hits and `part_us / window` of a hit at `now`, with the window in microseconds: how shared buckets
    /// are kept.
    pub fn in_debt(limit: &Limit, now: Timestamp, hits: u64, part_us: u64) -> Self {
        let (Algorithm::TokenBucket { burst, queue }, 1..) = (limit.algorithm, limit.max) else { return Self::FRESH };
        let bucket = Bucket::at(limit, burst, queue, Self::FRESH, now);
        bucket.with_debt(bucket.cost(hits).saturating_add(u128::from(part_us) * 1_000)).cell()
    }
}

/// The state of a bucket at one instant. Ticks are 1 / limit nanoseconds.
#[derive(Clone, Copy)]
struct Bucket {
    now: Timestamp,
    ticks_per_ns: u128,
    /// T in nanoseconds, in the precision of states.
    rate: f32,
    /// Ticks that one hit costs.
    interval: u128,
    /// Ticks of a full bucket.
    full: u128,
    /// Ticks of a full bucket and of the longest wait in the queue, which the caller's timeout may shorten.
    most: u128,
    /// Ticks of a full bucket and of a full queue. A counter that owes more is in debt.
    owed_at_most: u128,
    /// The hits allowed per period, in ticks.
    allowance: u128,
    has_queue: bool,
    /// Ticks until the bucket is full.
    debt: u128,
}

impl Bucket {
    fn at(limit: &Limit, burst: u32, queue: Queue, cell: Cell, now: Timestamp) -> Self {
        let ticks_per_ns = u128::from(limit.max);
        let interval = u128::from(limit.window.as_ns().max(1));
        let full = u128::from(burst) * interval;
        let queued = u128::from(queue.size) * interval;
        let longest = match queue.mode {
            QueueMode::HoldAtMost(length) => u128::from(length.as_ns()) * ticks_per_ns,
            QueueMode::Hold | QueueMode::Advise => u128::MAX,
        };
        let empty = Self {
            now,
            ticks_per_ns,
            rate: rate(limit),
            interval,
            full,
            most: full + longest.min(queued),
            owed_at_most: full + queued,
            allowance: ticks_per_ns * interval,
            has_queue: queue.size > 0,
            debt: 0,
        };
        empty.with_debt(empty.debt_of(cell))
    }

    /// Ticks until the bucket is full, from its state.
    fn debt_of(self, cell: Cell) -> u128 {
        let ahead = u128::from(cell.fresh_at.since(self.now).as_ns()) * self.ticks_per_ns;
        if ahead == 0 {
            return 0;
        }
        let State { rate, rounding } = State::from_cell(cell);
        if rate.to_bits() == self.rate.to_bits() {
            // Limits with nearly the same T may round differently, by less than a nanosecond.
            return ahead.saturating_sub(u128::from(rounding).min(self.ticks_per_ns - 1));
        }
        let missing = missing_hits(cell.fresh_at.since(self.now), rate);
        let debt = self.cost_of_part(missing);
        // A higher rate never lengthens a wait.
        if self.rate < rate { debt.min(ahead) } else { debt }
    }

    /// Ticks that a number of hits costs, rounded up.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)] // It saturates.
    fn cost_of_part(self, hits: f64) -> u128 {
        let whole = hits.floor();
        let part = ((hits - whole) * self.interval as f64).ceil();
        (whole as u128).saturating_mul(self.interval).saturating_add(part as u128)
    }

    fn with_debt(self, debt: u128) -> Self {
        Self { debt, ..self }
    }

    fn charge(self, limit: &Limit, cell: Cell, hits: u64) -> (Outcome, Cell) {
        if hits == 0 {
            return self.peek(cell);
        }
        let after = self.used().saturating_add(hits);
        let wanted = self.debt.saturating_add(self.cost(hits));
        if wanted <= self.most && self.is_representable(wanted) {
            let kept = self.with_debt(wanted);
            let delay = self.nanos(wanted.saturating_sub(self.full));
            return (self.outcome(Verdict::Admitted { delay }, after, &kept, kept.until_full()), kept.cell());
        }
        let counts = limit.counts_denied();
        let kept = if counts { self.in_debt(wanted) } else { self };
        let outcome = self.outcome(self.denied(), after, &kept, kept.wait(limit, hits));
        (outcome, if counts { kept.cell() } else { cell })
    }

    /// A charge of 0 hits. Denied while the bucket is in debt; a state with another rate is updated.
    fn peek(self, cell: Cell) -> (Outcome, Cell) {
        let in_debt = self.debt > self.owed_at_most;
        let verdict = if in_debt { self.denied() } else { Verdict::ADMITTED };
        let reset = if in_debt { self.nanos(self.debt - self.owed_at_most) } else { self.until_full() };
        let next = if State::from_cell(cell).rate.to_bits() == self.rate.to_bits() { cell } else { self.cell() };
        (self.outcome(verdict, self.used(), &self, reset), next)
    }

    /// The bucket with the hits of a denied charge that counts: at most one period's allowance beyond a full queue.
    fn in_debt(self, wanted: u128) -> Self {
        let deepest = self.owed_at_most.saturating_add(self.allowance);
        let kept = self.with_debt(self.debt.max(wanted.min(deepest)));
        if self.is_representable(kept.debt) { kept } else { self }
    }

    fn denied(self) -> Verdict {
        Verdict::Denied(if self.has_queue { Reason::QueueFull } else { Reason::OverLimit })
    }

    fn outcome(self, verdict: Verdict, after: u64, kept: &Self, reset: Nanos) -> Outcome {
        Outcome { verdict, before: self.used(), after, remaining: kept.remaining(), reset }
    }

    fn cost(self, hits: u64) -> u128 {
        u128::from(hits).saturating_mul(self.interval)
    }

    /// Whether an arrival time that far ahead can be represented; otherwise, at the end of time, nothing is admitted.
    fn is_representable(self, debt: u128) -> bool {
        debt.div_ceil(self.ticks_per_ns) < u128::from(Timestamp::MAX.since(self.now).as_ns())
    }

    /// The debt in hits, rounded up.
    fn used(self) -> u64 {
        u64::try_from(self.debt.div_ceil(self.interval)).unwrap_or(u64::MAX)
    }

    fn remaining(self) -> u64 {
        u64::try_from(self.full.saturating_sub(self.debt) / self.interval).unwrap_or(u64::MAX)
    }

    /// The time until `hits` more would be admitted, at least to the queue. For hits that never fit: until full, and at least a
    /// period.
    fn wait(self, limit: &Limit, hits: u64) -> Nanos {
        let cost = self.cost(hits);
        if cost > self.most {
            return self.until_full().max(limit.window);
        }
        self.nanos(self.debt.saturating_add(cost).saturating_sub(self.most))
    }

    fn until_full(self) -> Nanos {
        self.nanos(self.debt)
    }

    /// Ticks as nanoseconds, rounded up, so that a reported time is never too early.
    fn nanos(self, ticks: u128) -> Nanos {
        Nanos::from_ns(u64::try_from(ticks.div_ceil(self.ticks_per_ns)).unwrap_or(u64::MAX))
    }

    fn cell(self) -> Cell {
        if self.debt == 0 {
            return Cell::FRESH;
        }
        let ahead = self.nanos(self.debt);
        let rounding = (u128::from(ahead.as_ns()) * self.ticks_per_ns).saturating_sub(self.debt);
        let state = State { rate: self.rate, rounding: u32::try_from(rounding).unwrap_or(0) };
        Cell { fresh_at: self.now.plus(ahead), state: state.packed() }
    }
}

/// The two halves of a cell's state. It is never mistaken for a ban, whose upper half is not a number.
#[derive(Clone, Copy)]
struct State {
    /// T in nanoseconds when the state was written.
    rate: f32,
    /// Ticks by which `fresh_at` is later than the theoretical arrival time, less than a nanosecond.
    rounding: u32,
}

impl State {
    fn from_cell(cell: Cell) -> Self {
        let [rate, rounding] = [cell.state >> u32::BITS, cell.state & u64::from(u32::MAX)];
        let half = |half: u64| u32::try_from(half).unwrap_or(0);
        Self { rate: f32::from_bits(half(rate)), rounding: half(rounding) }
    }

    fn packed(self) -> u64 {
        u64::from(self.rate.to_bits()) << u32::BITS | u64::from(self.rounding)
    }
}

/// T, in the precision of states.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)] // To one part in PRECISION.
fn rate(limit: &Limit) -> f32 {
    (limit.window.as_ns().max(1) as f64 / f64::from(limit.max)) as f32
}

/// The missing hits of a bucket that is full after `until_full`, at one hit per `rate` nanoseconds.
#[allow(clippy::cast_precision_loss)] // Far beyond what matters.
fn missing_hits(until_full: Nanos, rate: f32) -> f64 {
    let rate = f64::from(rate);
    if rate <= 0.0 {
        return 0.0;
    }
    let missing = until_full.as_ns() as f64 / rate;
    // `until_full` is known to a nanosecond.
    let unsure = missing / PRECISION + 1.0 / rate;
    if (missing - missing.round()).abs() <= unsure { missing.round() } else { missing }
}

/// The precision of T in states: an `f32` has 24 significant bits, one of which is lost to rounding.
const PRECISION: f64 = 8_388_608.0;

/// A limit of 0 per window: nothing is ever admitted.
fn blocked(limit: &Limit, cell: Cell, op: Op) -> (Outcome, Cell) {
    let (verdict, hits) = match op {
        Op::Charge(hits @ 1..) => (Verdict::Denied(Reason::OverLimit), hits),
        _ => (Verdict::ADMITTED, 0),
    };
    (Outcome { verdict, before: 0, after: hits, remaining: 0, reset: limit.window }, cell)
}
