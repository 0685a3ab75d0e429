//! Sliding log: every hit that counts, with its time. Exact.
//!
//! Over when (hits in (now - length, now]) + hits > limit: never more than the limit in any half-open interval of that
//! length. A hit that is exactly `length` old is out.
//!
//! Memory: 64 bytes and 16 bytes per instant at which hits were counted, at most `limit` + 1 of them (the
//! configuration rejects limits above 65,536 for it).

use std::collections::VecDeque;

use super::{Limit, Op, Outcome, Reason, Verdict, ban};
use crate::units::{Nanos, Timestamp};

/// The state of one counter that keeps every hit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// Hits by instant, oldest first, each above 0.
    entries: VecDeque<(Timestamp, u32)>,
    /// The sum of `entries`.
    total: u64,
    /// The end of the last ban, which may have passed.
    banned_until: Option<Timestamp>,
    /// An operator set the ban, so that it does not depend on the limit.
    by_operator: bool,
    /// The length of the limit's window, for [`Log::is_fresh`].
    window: Nanos,
}

/// The parts of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogParts {
    /// Hits by instant, oldest first, each above 0.
    pub hits: Vec<(Timestamp, u32)>,
    /// The end of the last ban.
    pub banned_until: Option<Timestamp>,
    /// The ban is an operator's.
    pub by_operator: bool,
    /// The length of the window.
    pub window: Nanos,
}

impl Log {
    /// A counter that has never been used.
    pub const FRESH: Self =
        Self { entries: VecDeque::new(), total: 0, banned_until: None, by_operator: false, window: Nanos::ZERO };

    /// What is kept over a restart: the hits by instant, oldest first; the end of a ban, and whether it is an operator's; the window.
    pub fn to_parts(&self) -> LogParts {
        LogParts {
            hits: self.entries.iter().copied().collect(),
            banned_until: self.banned_until,
            by_operator: self.by_operator,
            window: self.window,
        }
    }

    /// The counter with these parts; `None` if the instants do not grow, or a number of hits is 0: no log is like that.
    pub fn from_parts(parts: LogParts) -> Option<Self> {
        let LogParts { hits, banned_until, by_operator, window } = parts;
        let in_order = hits.iter().zip(hits.iter().skip(1)).all(|((earlier, _), (later, _))| earlier < later);
        if !in_order || hits.iter().any(|(_, count)| *count == 0) {
            return None;
        }
        let total = hits.iter().map(|(_, count)| u64::from(*count)).sum();
        Some(Self { entries: hits.into(), total, banned_until, by_operator, window })
    }

    /// Whether this counter equals one that has never been used, by the window of the last operation.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        self.fresh_at().has_come(now)
    }

    /// The instant from which on it [is fresh](Self::is_fresh); [`Timestamp::MAX`]: never.
    pub fn fresh_at(&self) -> Timestamp {
        let newest_out = self.entries.back().map_or(Timestamp::EPOCH, |(at, _)| at.plus(self.window));
        newest_out.max(self.banned_until.unwrap_or(Timestamp::EPOCH))
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<(Timestamp, u32)>()
    }

    /// The end of a ban by an operator, if there is one.
    pub fn operator_ban_end(&self) -> Option<Timestamp> {
        self.banned_until.filter(|_| self.by_operator)
    }

    /// A ban until `until` by an operator: whatever the limit is, each check is denied until then.
    pub fn operator_ban(until: Timestamp) -> Self {
        Self { banned_until: Some(until), by_operator: true, ..Self::FRESH }
    }

    /// Whether a ban runs at `now`.
    pub fn is_banned(&self, now: Timestamp) -> bool {
        self.banned_until.is_some_and(|until| until > now)
    }

    fn ban_until(&self, limit: &Limit, now: Timestamp) -> Option<Timestamp> {
        let until = if self.by_operator { self.banned_until } else { limit.ban.and(self.banned_until) };
        until.filter(|until| *until > now)
    }

    /// Drops hits that are out of the window; the cost is amortised over the hits that were added.
    fn expire(&mut self, window: Nanos, now: Timestamp) {
        while let Some((at, hits)) = self.entries.front().copied()
            && Self::is_out(at, window, now)
        {
            self.total -= u64::from(hits);
            self.entries.pop_front();
        }
        if self.entries.capacity() > 4 * self.entries.len().max(4) {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }

    /// Whether a hit no longer counts. At the end of time, where instants saturate, every hit still counts.
    fn is_out(at: Timestamp, window: Nanos, now: Timestamp) -> bool {
        at.plus(window).has_come(now)
    }

    /// Counts hits at `now`, merged with those of the same instant.
    fn push(&mut self, now: Timestamp, hits: u64, max: u32) {
        let hits = u32::try_from(hits).unwrap_or(u32::MAX);
        self.total += u64::from(hits);
        match self.entries.back_mut() {
            // The clock has stepped back: the log stays in order.
            Some((at, count)) if *at >= now => *count = count.saturating_add(hits),
            _ => self.entries.push_back((now, hits)),
        }
        self.recount();
        // Denied hits that count. Hits older than `max` newer instants matter only for refunds: they stay counted, as of the
        // next instant.
        if self.entries.len() > usize::try_from(max).unwrap_or(usize::MAX).saturating_add(1)
            && let Some((_, oldest)) = self.entries.pop_front()
            && let Some((_, next)) = self.entries.front_mut()
        {
            let merged = next.saturating_add(oldest);
            self.total -= u64::from(oldest) - u64::from(merged - *next);
            *next = merged;
        }
    }

    /// Corrects the sum after a count saturated.
    fn recount(&mut self) {
        if self.entries.back().is_some_and(|(_, count)| *count == u32::MAX) {
            self.total = self.entries.iter().map(|(_, count)| u64::from(*count)).sum();
        }
    }

    /// Removes hits, the latest first.
    fn take_back(&mut self, mut hits: u64) {
        while hits > 0
            && let Some((_, count)) = self.entries.back_mut()
        {
            let taken = u32::try_from(hits).unwrap_or(u32::MAX).min(*count);
            *count -= taken;
            self.total -= u64::from(taken);
            hits -= u64::from(taken);
            if *count == 0 {
                self.entries.pop_back();
            }
        }
    }

    /// Whether hits at a new instant would need more heap memory.
    pub fn must_grow(&self, now: Timestamp) -> bool {
        let is_new = self.entries.back().is_none_or(|(at, _)| *at < now);
        is_new && self.entries.len() == self.entries.capacity()
    }

    /// The time until `hits` more would be admitted. For hits that never fit: until the log is empty, and at least a window.
    fn wait(&self, limit: &Limit, now: Timestamp, hits: u64) -> Nanos {
        let Some(room) = u64::from(limit.max).checked_sub(hits) else {
            let empty = self.entries.back().map_or(limit.window, |(at, _)| at.plus(limit.window).since(now));
            return empty.max(limit.window);
        };
        let mut left = self.total;
        for (at, count) in &self.entries {
            if left <= room {
                break;
            }
            left -= u64::from(*count);
            if left <= room {
                return at.plus(limit.window).since(now);
            }
        }
        Nanos::ZERO
    }

    fn oldest_leaves(&self, window: Nanos, now: Timestamp) -> Nanos {
        self.entries.front().map_or(Nanos::ZERO, |(at, _)| at.plus(window).since(now))
    }
}

/// One operation on a log.
///
/// With `commit` false the verdict is the same, but only expired hits are removed from the counter. The rest of the outcome
/// then does not include the operation's own hits, and nothing is allocated.
/// Cost: amortised constant; a denied operation of n hits reads at most the n oldest entries.
pub fn step(limit: &Limit, log: &mut Log, now: Timestamp, op: Op, commit: bool) -> Outcome {
    if let Some(until) = log.ban_until(limit, now) {
        return ban::outcome(limit, until, now, op);
    }
    if log.banned_until.take().is_some() {
        log.entries.clear();
        (log.total, log.by_operator) = (0, false);
    }
    log.window = limit.window;
    log.expire(limit.window, now);
    match op {
        Op::Charge(hits) => charge(limit, log, now, hits, commit),
        Op::Refund(hits) => refund(limit, log, now, hits, commit),
    }
}

fn charge(limit: &Limit, log: &mut Log, now: Timestamp, hits: u64, commit: bool) -> Outcome {
    let max = u64::from(limit.max);
    let before = log.total;
    let after = before.saturating_add(hits);
    let admitted = after <= max;
    let counts = hits > 0 && (admitted || limit.counts_denied());
    if counts && commit {
        log.push(now, hits, limit.max);
    }
    let mut outcome = Outcome {
        verdict: if admitted { Verdict::ADMITTED } else { Verdict::Denied(Reason::OverLimit) },
        before,
        after,
        remaining: max.saturating_sub(log.total),
        reset: if admitted { log.oldest_leaves(limit.window, now) } else { log.wait(limit, now, hits) },
    };
    let ban = ban::begins(limit, now, Op::Charge(hits), &mut outcome);
    if commit && ban.is_some() {
        *log = Log { banned_until: ban, window: limit.window, ..Log::default() };
    }
    outcome
}

fn refund(limit: &Limit, log: &mut Log, now: Timestamp, hits: u64, commit: bool) -> Outcome {
    let max = u64::from(limit.max);
    let before = log.total;
    let after = before.saturating_sub(hits);
    if commit {
        log.take_back(hits);
    }
    let reset = log.oldest_leaves(limit.window, now);
    Outcome { verdict: Verdict::ADMITTED, before, after, remaining: max.saturating_sub(after), reset }
}
