//! Sliding window counter: two adjacent aligned windows, the earlier one weighed by its share of the last `window`.
//!
//! Source: Cloudflare, "How we built rate limiting capable of scaling to millions of domains" (2017).
//! Estimate = previous x (1 - elapsed / length) + current; over when estimate + hits > limit.
//!
//! Error bound. The hits of the previous window are assumed to be evenly distributed. Too many: at worst 2 x limit - 1 in a
//! trailing window (the limit at the very end of one window, then as fast as admitted), but never more than
//! elapsed / length x limit after an edge, where a fixed window admits the limit at once. Too few: hits that a client spent
//! at the beginning of a window still count until the end of the next one, even if it was idle since.
//!
//! State: `fresh_at` is the end of the window after the current one, `state` the two counts, previous in the upper half.
//! All arithmetic is exact: the estimate is compared as a fraction, in 128 bits.

use super::{Cell, Limit, Op, Outcome, Reason, Verdict};
use crate::units::{Nanos, Timestamp};

/// The two windows at one instant.
#[derive(Clone, Copy)]
struct Windows {
    /// Hits in the previous window.
    previous: u32,
    /// Hits in the current window.
    current: u32,
    /// When the current window began.
    begun: Timestamp,
    /// The time since then, less than the length.
    elapsed_ns: u64,
    /// The length of a window.
    length_ns: u64,
}

pub(super) fn step(limit: &Limit, cell: Cell, now: Timestamp, op: Op) -> (Outcome, Cell) {
    let windows = Windows::at(limit, cell, now);
    let before = windows.estimate_ceil();
    match op {
        Op::Charge(hits) => {
            let admitted = windows.allows(limit, hits);
            let counts = hits > 0 && (admitted || limit.counts_denied());
            let kept = if counts { windows.with_current(hits) } else { windows };
            let remaining = kept.remaining(limit);
            let (verdict, reset) = if admitted {
                (Verdict::ADMITTED, kept.regains(limit, now))
            } else {
                (Verdict::Denied(Reason::OverLimit), kept.wait(limit, now, hits))
            };
            let next = if counts { kept.cell() } else { cell };
            (Outcome { verdict, before, after: before.saturating_add(hits), remaining, reset }, next)
        }
        Op::Refund(hits) => {
            let kept = windows.without(hits);
            let outcome = Outcome {
                verdict: Verdict::ADMITTED,
                before,
                after: kept.estimate_ceil(),
                remaining: kept.remaining(limit),
                reset: kept.regains(limit, now),
            };
            (outcome, if cell == Cell::FRESH { cell } else { kept.cell() })
        }
    }
}

impl Windows {
    fn at(limit: &Limit, cell: Cell, now: Timestamp) -> Self {
        let length_ns = limit.window.as_ns().max(1);
        let elapsed_ns = now.as_ns() % length_ns;
        let begun = now.minus(Nanos::from_ns(elapsed_ns));
        let fresh = Self { previous: 0, current: 0, begun, elapsed_ns, length_ns };
        if cell == Cell::FRESH {
            return fresh;
        }
        let previous = u32::try_from(cell.state >> 32).unwrap_or(u32::MAX);
        let current = u32::try_from(cell.state & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        let cell_begun = cell.fresh_at.minus(Nanos::from_ns(length_ns.saturating_mul(2)));
        if now < cell_begun {
            // The clock stepped back: stay at the beginning of the window that was current.
            return Self { previous, current, begun: cell_begun, elapsed_ns: 0, length_ns };
        }
        if begun == cell_begun {
            return Self { previous, current, ..fresh };
        }
        // One below the largest count: if the upper half were full, this could be mistaken for a ban.
        Self { previous: current.min(u32::MAX - 1), ..fresh }
    }

    fn cell(self) -> Cell {
        let length = Nanos::from_ns(self.length_ns);
        let state = u64::from(self.previous) << 32 | u64::from(self.current);
        Cell { fresh_at: self.begun.plus(length).plus(length), state }
    }

    /// The share of the previous window that still counts, times the length.
    fn weighed_previous(self) -> u128 {
        u128::from(self.previous) * u128::from(self.length_ns - self.elapsed_ns)
    }

    fn estimate_ceil(self) -> u64 {
        let weighed = self.weighed_previous().div_ceil(u128::from(self.length_ns));
        u64::try_from(weighed).unwrap_or(u64::MAX).saturating_add(self.current.into())
    }

    fn allows(self, limit: &Limit, hits: u64) -> bool {
        let whole = (u128::from(self.current) + u128::from(hits)).saturating_mul(self.length_ns.into());
        self.weighed_previous().saturating_add(whole) <= u128::from(limit.max) * u128::from(self.length_ns)
    }

    fn remaining(self, limit: &Limit) -> u64 {
        u64::from(limit.max).saturating_sub(self.estimate_ceil())
    }

    fn with_current(self, hits: u64) -> Self {
        let hits = u32::try_from(hits).unwrap_or(u32::MAX);
        Self { current: self.current.saturating_add(hits), ..self }
    }

    /// Removes refunded hits, the latest first.
    fn without(self, hits: u64) -> Self {
        let from_current = u32::try_from(hits).unwrap_or(u32::MAX).min(self.current);
        let rest = u32::try_from(hits - u64::from(from_current)).unwrap_or(u32::MAX);
        Self { current: self.current - from_current, previous: self.previous.saturating_sub(rest), ..self }
    }

    /// The time until `hits` more would be admitted.
    fn wait(self, limit: &Limit, now: Timestamp, hits: u64) -> Nanos {
        let length = Nanos::from_ns(self.length_ns);
        let room = |used: u64| u64::from(limit.max).checked_sub(used.saturating_add(hits));
        let at = if let Some(room) = room(self.current.into()) {
            self.begun.plus(decayed(self.previous, room, self.length_ns))
        } else if let Some(room) = room(0) {
            self.begun.plus(length).plus(decayed(self.current, room, self.length_ns))
        } else {
            // More hits than the limit are never admitted, so the time until no hit counts any more.
            self.begun.plus(length).plus(length)
        };
        at.since(now)
    }

    /// The time until one more hit could be spent; zero if the whole allowance is available.
    fn regains(self, limit: &Limit, now: Timestamp) -> Nanos {
        let remaining = self.remaining(limit);
        if remaining >= limit.max.into() { Nanos::ZERO } else { self.wait(limit, now, remaining + 1) }
    }
}

/// The time into the next window after which `count` hits of a window weigh at most `room`.
fn decayed(count: u32, room: u64, length_ns: u64) -> Nanos {
    if u64::from(count) <= room {
        return Nanos::ZERO;
    }
    let weighs_until = u128::from(room) * u128::from(length_ns) / u128::from(count);
    Nanos::from_ns(length_ns - u64::try_from(weighs_until).unwrap_or(length_ns).min(length_ns))
}
