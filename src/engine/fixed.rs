//! Fixed windows: a count that starts again with each window.
//!
//! Source: the reference service for windows aligned to the epoch; Redis `INCR` + `EXPIRE` for windows that begin with
//! the first hit. Error bound: within one window exact; across an edge up to 2 x limit in an instant (the limit at the
//! end of one window, and again at the beginning of the next).
//!
//! State: `fresh_at` is the window's end, `state` the count. So the edges of a window are found once for each counter and window,
//! and a check of a counter in use does no more for a calendar than for a clock.

use super::{Cell, Limit, Op, Outcome, Reason, Starts, Verdict};
use crate::units::{Nanos, Timestamp};

pub(super) fn step(limit: &Limit, starts: Starts, cell: Cell, now: Timestamp, op: Op) -> (Outcome, Cell) {
    let window = if cell == Cell::FRESH { open(limit, starts, now) } else { cell };
    let max = u64::from(limit.max);
    let count = window.state;
    match op {
        Op::Charge(hits) => {
            let after = count.saturating_add(hits);
            let admitted = after <= max;
            let counts = hits > 0 && (admitted || limit.counts_denied());
            let kept = if counts { after.min(Cell::MAX_COUNT) } else { count };
            let verdict = if admitted { Verdict::ADMITTED } else { Verdict::Denied(Reason::OverLimit) };
            let untouched = cell == Cell::FRESH && !counts;
            let reset = if untouched {
                untouched_reset(limit, starts, now, admitted)
            } else if hits > max && starts == Starts::FirstRequest {
                // No window ever admits it.
                limit.window
            } else {
                window.fresh_at.since(now)
            };
            let remaining = max.saturating_sub(if limit.counts_denied() { after } else { kept });
            let next = if untouched { cell } else { Cell { state: kept, ..window } };
            (Outcome { verdict, before: count, after, remaining, reset }, next)
        }
        Op::Refund(hits) => {
            let after = count.saturating_sub(hits);
            let reset = window.fresh_at.since(now);
            let next = if cell == Cell::FRESH { cell } else { Cell { state: after, ..cell } };
            (
                Outcome {
                    verdict: Verdict::ADMITTED,
                    before: count,
                    after,
                    remaining: max.saturating_sub(after),
                    reset,
                },
                next,
            )
        }
    }
}

/// The window that a first hit at `now` falls into, still empty.
fn open(limit: &Limit, starts: Starts, now: Timestamp) -> Cell {
    let fresh_at = match starts {
        Starts::Clock => limit.clock_end(now),
        Starts::FirstRequest => now.plus(limit.window),
        Starts::Calendar(calendar) => calendar.window_at(now).end,
    };
    Cell { fresh_at, state: 0 }
}

/// The reset of a counter that has no window and gets none by this operation.
fn untouched_reset(limit: &Limit, starts: Starts, now: Timestamp, admitted: bool) -> Nanos {
    match starts {
        Starts::Clock | Starts::Calendar(_) => open(limit, starts, now).fresh_at.since(now),
        // The whole allowance is available.
        Starts::FirstRequest if admitted => Nanos::ZERO,
        // More hits than the limit are never admitted, so the longest wait.
        Starts::FirstRequest => limit.window,
    }
}
