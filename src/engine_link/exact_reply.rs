//! What a request of exact charges is answered with.

use redis::Value;
use smallvec::{SmallVec, smallvec};

use crate::engine::{self, Algorithm, Cell, CountDenied, Limit, Log, LogParts, Op, Outcome, Reason, Verdict};
use crate::store::CounterState;
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
    /// Whether the check is admitted.
    pub admitted: bool,
    /// One for each charge. `None`: the key has a value that is not ours, and nothing is known of the counter.
    pub counters: SmallVec<[Option<SharedOutcome>; 1]>,
}

/// The outcome of one charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedOutcome {
    /// What the store in memory would have answered.
    pub outcome: Outcome,
    /// The state after the charge, by the engine's clock. Of a log only the number of hits is known: all are taken for new ones.
    pub state: CounterState,
}

/// One charge of a request.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) limit: Limit,
    pub(super) op: Op,
    /// The end of the window whose number is in the key.
    pub(super) window_end: Option<Timestamp>,
}

/// One check of a request.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    /// The places of its charges, in the order in which they were sent.
    pub(super) order: SmallVec<[usize; 1]>,
}

/// What the script says of a charge.
struct Line {
    fate: Fate,
    kind: i64,
    numbers: [u64; 3],
    hits: u64,
}

/// The script does not answer like that.
struct NotOfScript;

/// What became of a charge; see the script.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    NotOurs,
    Alone,
    Charged,
    Denied,
    Left,
}

impl ExactReply {
    /// Reads a reply; `None` if the script does not answer like that.
    pub(super) fn read(reply: &Value, items: &[Item], checks: &[Sent]) -> Option<Self> {
        let Value::BulkString(bytes) = reply else { return None };
        let (numbers, []) = bytes.as_chunks() else { return None };
        let numbers: Vec<_> = numbers.iter().map(|number| i64::from_le_bytes(*number)).collect();
        let (now, mut rest) = numbers.split_first()?;
        let now = instant(u64::try_from(*now).ok()?);
        let (mut read, mut items) = (Vec::with_capacity(checks.len()), items.iter());
        for Sent { order } in checks {
            let (admitted, lines) = rest.split_first()?;
            let (lines, others) = lines.split_at_checked(order.len() * LINE)?;
            rest = others;
            let mut counters = smallvec![None; order.len()];
            for (place, line) in order.iter().zip(lines.as_chunks::<LINE>().0) {
                *counters.get_mut(*place)? = Line::read(line)?.outcome(items.next()?, now).ok()?;
            }
            read.push(CheckOutcome { admitted: *admitted == 1, counters });
        }
        rest.is_empty().then_some(Self { now, checks: read })
    }
}

impl Line {
    fn read(numbers: &[i64; LINE]) -> Option<Self> {
        let [fate, kind, first, second, third, hits] = *numbers;
        let fate = match fate {
            -1 => Fate::NotOurs,
            0 | 2 => Fate::Alone,
            1 | 4 | 6 => Fate::Charged,
            3 => Fate::Denied,
            5 => Fate::Left,
            _ => return None,
        };
        let number = |number: i64| u64::try_from(number).ok();
        let numbers = [number(first)?, number(second)?, number(third)?];
        Some(Self { fate, kind, numbers, hits: number(hits)? })
    }

    /// What the engine in memory says from this state. `None`: the value is not ours.
    fn outcome(&self, item: &Item, now: Timestamp) -> Result<Option<SharedOutcome>, NotOfScript> {
        let mut limit = item.limit;
        limit.count_denied = match (self.fate, limit.count_denied) {
            (Fate::NotOurs, _) => return Ok(None),
            (Fate::Alone, count) => count,
            (Fate::Charged | Fate::Left, CountDenied::Always) => CountDenied::Always,
            _ => CountDenied::Never,
        };
        // The script's numbers are bounded, those of the charge are not.
        let op = match (self.fate, item.op) {
            (Fate::Alone, op) | (_, op @ Op::Refund(_)) => op,
            (_, Op::Charge(hits)) if self.hits == hits.min(MAX_HITS) => Op::Charge(hits),
            (_, Op::Charge(_)) => Op::Charge(self.hits),
        };
        let [first, second, third] = self.numbers;
        let cell = match (self.kind, limit.algorithm) {
            (0, _) => Cell::FRESH,
            (2, _) => Cell::ban(instant(first)),
            (3, _) => return Ok(Some(log_outcome(&limit, first, second, now, op))),
            (1, Algorithm::FixedWindow { .. }) => match item.window_end {
                Some(end) => Cell::from_parts(end, first),
                None => Cell::from_parts(instant(first), second),
            },
            (1, Algorithm::SlidingWindow) => {
                let end = instant(first).plus(limit.window).plus(limit.window);
                Cell::from_parts(end, second << 32 | third)
            }
            (1, Algorithm::TokenBucket { .. }) => Cell::in_debt(&limit, now, first, second),
            _ => return Err(NotOfScript),
        };
        Ok(Some(cell_outcome(item, &limit, cell, now, op)))
    }
}

/// The outcome of an operation on any state but a log.
pub(super) fn cell_outcome(item: &Item, limit: &Limit, cell: Cell, now: Timestamp, op: Op) -> SharedOutcome {
    // The clock that named the window may be a little behind the engine's.
    let now = item.window_end.map_or(now, |end| now.min(end.minus(Nanos::from_ns(1))));
    let (outcome, next) = engine::step(limit, cell, now, op);
    let state = match limit.algorithm {
        Algorithm::SlidingLog => {
            CounterState::Log(Box::new(log_of(limit, now, 0, cell.is_banned(now).then_some(cell.to_parts().0))))
        }
        _ => CounterState::Cell(next),
    };
    SharedOutcome { outcome, state }
}

/// The outcome of an operation on a log with `total` hits. `at` is the time of the hit on which the reset depends; 0: there is none.
fn log_outcome(limit: &Limit, total: u64, at: u64, now: Timestamp, op: Op) -> SharedOutcome {
    let max = u64::from(limit.max);
    let leaves = if at == 0 { Nanos::ZERO } else { instant(at).plus(limit.window).since(now) };
    let hits = match op {
        Op::Refund(hits) => {
            let after = total.saturating_sub(hits);
            let remaining = max.saturating_sub(after);
            let outcome = Outcome { verdict: Verdict::ADMITTED, before: total, after, remaining, reset: leaves };
            return SharedOutcome { outcome, state: CounterState::Log(Box::new(log_of(limit, now, after, None))) };
        }
        Op::Charge(hits) => hits,
    };
    let after = total.saturating_add(hits);
    let admitted = after <= max;
    let counts = hits > 0 && (admitted || limit.count_denied != CountDenied::Never);
    let verdict = if admitted { Verdict::ADMITTED } else { Verdict::Denied(Reason::OverLimit) };
    let kept = if counts { after } else { total };
    let reset = if hits > max { leaves.max(limit.window) } else { leaves };
    let mut outcome = Outcome { verdict, before: total, after, remaining: max.saturating_sub(kept), reset };
    let ban = engine::begin_ban(limit, now, op, &mut outcome);
    SharedOutcome { outcome, state: CounterState::Log(Box::new(log_of(limit, now, kept, ban))) }
}

/// A log of so many hits at `now`, or with a ban.
fn log_of(limit: &Limit, now: Timestamp, hits: u64, banned_until: Option<Timestamp>) -> Log {
    let hits = u32::try_from(hits).unwrap_or(u32::MAX);
    let hits = if hits == 0 || banned_until.is_some() { Vec::new() } else { vec![(now, hits)] };
    let parts = LogParts { hits, banned_until, by_operator: false, window: limit.window };
    Log::from_parts(parts).unwrap_or(Log::FRESH)
}

fn instant(micros: u64) -> Timestamp {
    Timestamp::from_ns(micros.saturating_mul(1_000))
}

/// Numbers of a charge in a reply.
const LINE: usize = 6;
/// More hits at once are charged as this many: whole numbers of scripts are exact up to 2^53.
pub(super) const MAX_HITS: u64 = 1 << 50;
