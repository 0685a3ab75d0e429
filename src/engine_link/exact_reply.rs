//! What a request of exact charges is answered with.

use redis::Value;

use crate::engine::{self, Algorithm, Cell, CountDenied, Limit, Op, Outcome, Reason, Verdict};
use crate::units::{Nanos, Timestamp};

/// The outcomes of a request.
#[derive(Clone, Debug)]
pub struct ExactReply {
    /// The time at which the charges were made, by the engine's clock.
    pub now: Timestamp,
    /// One for each check, in order.
    pub checks: Vec<CheckOutcome>,
}

/// The outcome of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckOutcome {
    /// Whether all of its counters admit.
    pub admitted: bool,
    /// One for each charge. `None`: the key has a value that is not ours, and nothing is known of the counter.
    pub outcomes: Vec<Option<Outcome>>,
}

/// One charge of a request.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) limit: Limit,
    pub(super) op: Op,
    /// The end of the window whose number is in the key.
    pub(super) window_end: Option<Timestamp>,
}

/// The verdict of the script on a charge, and the state before it.
struct Line {
    verdict: i64,
    kind: i64,
    numbers: [u64; 3],
}

impl ExactReply {
    /// Reads a reply; `None` if the script does not answer like that. `checks`: the number of charges of each.
    pub(super) fn read(reply: &Value, items: &[Item], checks: &[usize]) -> Option<Self> {
        let Value::Array(values) = reply else { return None };
        let numbers: Option<Vec<i64>> = values.iter().map(number).collect();
        let numbers = numbers?;
        let (now, lines) = numbers.split_first()?;
        let (lines, []) = lines.as_chunks::<5>() else { return None };
        if lines.len() != items.len() {
            return None;
        }
        let now = instant(u64::try_from(*now).ok()?);
        let lines: Option<Vec<_>> = lines.iter().map(Line::read).collect();
        let mut pairs = items.iter().zip(lines?);
        let checks = checks.iter().map(|charges| {
            let charges: Vec<_> = pairs.by_ref().take(*charges).collect();
            outcome_of_check(now, &charges)
        });
        Some(Self { now, checks: checks.collect() })
    }
}

fn outcome_of_check(now: Timestamp, charges: &[(&Item, Line)]) -> CheckOutcome {
    let admitted = charges.iter().all(|(_, line)| line.verdict != 0);
    let is_joint = charges.len() > 1;
    let outcomes = charges.iter().map(|(item, line)| {
        let (mut limit, mut op) = (item.limit, item.op);
        if is_joint && !admitted && matches!(op, Op::Charge(_)) && limit.count_denied != CountDenied::Always {
            if line.verdict == 0 {
                limit.count_denied = CountDenied::Never;
            } else {
                op = Op::Charge(0);
            }
        }
        line.outcome(item, &limit, now, op)
    });
    CheckOutcome { admitted, outcomes: outcomes.collect() }
}

impl Line {
    fn read(numbers: &[i64; 5]) -> Option<Self> {
        let [verdict, kind, rest @ ..] = *numbers;
        let mut read = [0; 3];
        for (to, from) in read.iter_mut().zip(rest) {
            *to = u64::try_from(from).ok()?;
        }
        Some(Self { verdict, kind, numbers: read })
    }

    /// What the engine in memory says from this state.
    fn outcome(&self, item: &Item, limit: &Limit, now: Timestamp, op: Op) -> Option<Outcome> {
        let [first, second, third] = self.numbers;
        let cell = match (self.kind, limit.algorithm) {
            (0, _) => Cell::FRESH,
            (2, _) => Cell::ban(instant(first)),
            (3, _) => return Some(log_outcome(limit, first, second, now, op)),
            (1, Algorithm::FixedWindow { .. }) => match item.window_end {
                Some(end) => Cell::from_parts(end, first),
                None => Cell::from_parts(instant(first), second),
            },
            (1, Algorithm::SlidingWindow) => {
                let end = instant(first).plus(limit.window).plus(limit.window);
                Cell::from_parts(end, second << 32 | third)
            }
            (1, Algorithm::TokenBucket { .. }) => Cell::in_debt(limit, now, first, second),
            _ => return None,
        };
        // The clock that named the window may be a little behind the engine's.
        let now = item.window_end.map_or(now, |end| now.min(end.minus(Nanos::from_ns(1))));
        Some(engine::step(limit, cell, now, op).0)
    }
}

/// The outcome of an operation on a log with `total` hits. `at` is the time of the hit on which the reset depends; 0: there is none.
fn log_outcome(limit: &Limit, total: u64, at: u64, now: Timestamp, op: Op) -> Outcome {
    let max = u64::from(limit.max);
    let leaves = if at == 0 { Nanos::ZERO } else { instant(at).plus(limit.window).since(now) };
    let hits = match op {
        Op::Refund(hits) => {
            let after = total.saturating_sub(hits);
            let remaining = max.saturating_sub(after);
            return Outcome { verdict: Verdict::ADMITTED, before: total, after, remaining, reset: leaves };
        }
        Op::Charge(hits) => hits,
    };
    let after = total.saturating_add(hits);
    let admitted = after <= max;
    let counts = hits > 0 && (admitted || limit.count_denied != CountDenied::Never);
    let verdict = if admitted { Verdict::ADMITTED } else { Verdict::Denied(Reason::OverLimit) };
    let remaining = max.saturating_sub(if counts { after } else { total });
    let reset = if hits > max { leaves.max(limit.window) } else { leaves };
    let mut outcome = Outcome { verdict, before: total, after, remaining, reset };
    engine::begin_ban(limit, now, op, &mut outcome);
    outcome
}

fn number(value: &Value) -> Option<i64> {
    if let Value::Int(number) = value { Some(*number) } else { None }
}

fn instant(micros: u64) -> Timestamp {
    Timestamp::from_ns(micros.saturating_mul(1_000))
}
