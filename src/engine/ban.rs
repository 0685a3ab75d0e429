//! A ban of fixed length: it begins once, is never renewed, and is followed by a fresh counter.

use super::{BanWhen, Limit, Op, Outcome, Reason, Verdict};
use crate::units::Timestamp;

/// The outcome of any operation while a ban runs until `until`.
pub(super) fn outcome(limit: &Limit, until: Timestamp, now: Timestamp, op: Op) -> Outcome {
    let full = limit.capacity();
    let verdict = match op {
        Op::Charge(_) => Verdict::Denied(Reason::Banned),
        Op::Refund(_) => Verdict::ADMITTED,
    };
    let hits = if let Op::Charge(hits) = op { hits } else { 0 };
    Outcome { verdict, before: full, after: full.saturating_add(hits), remaining: 0, reset: until.since(now) }
}

/// The end of the ban that `outcome` begins, if it begins one; then `outcome` is changed to have nothing left until then.
pub fn begins(limit: &Limit, now: Timestamp, op: Op, outcome: &mut Outcome) -> Option<Timestamp> {
    let ban = limit.ban?;
    if !matches!(op, Op::Charge(1..)) {
        return None;
    }
    let reached = ban.when == BanWhen::Reached && outcome.remaining == 0;
    if outcome.admitted() && !reached {
        return None;
    }
    outcome.remaining = 0;
    outcome.reset = ban.length;
    Some(now.plus(ban.length))
}
