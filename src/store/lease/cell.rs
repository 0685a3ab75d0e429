//! The lease of one counter in one replica.

mod back;
mod past;
mod requests;

use past::Past;

use super::outage::Outage;
use super::rate::{Arrivals, Pace, Rate};
use super::{Attempt, Denial, Link, Now, Status, Terms, Wish};
use crate::engine::{Cell, LeaseShape, Outcome, Reason, Verdict, WhenDown};
use crate::units::{Nanos, Timestamp};

/// What one replica may spend of one counter, and what it has to report to the engine.
///
/// Hits are admitted only by spending what the engine granted, or what is allowed while it is down. Not safe for concurrent use:
/// the lock of the counter's shard guards it. At most one of its requests is under way.
///
/// What a check needs that is charged, or denied without asking, comes first, so that it touches few lines of the cache.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Lease {
    /// Hits that may be spent until `ends`.
    held: u64,
    /// By the clock of this replica; [`Timestamp::EPOCH`]: nothing is known of a window.
    ends: Timestamp,
    /// The engine's name of the window.
    window: u64,
    /// What the engine had left when it last answered; negative: more is counted than the limit allows.
    left: i64,
    /// Nothing is asked for before that: nothing was left.
    shut_until: Timestamp,
    /// With fewer hits in hand than that the next lease is asked for.
    renewed_at: u64,
    /// Hits that were spent in this window, up to which refunds are taken.
    spent: u64,
    arrivals: Arrivals,
    /// Hits of checks that wait for the next request.
    waiting: u64,
    /// What the next request has to say.
    news: News,
    /// The number of the next request.
    number: u32,
    is_under_way: bool,
    /// More hits are counted in this window than the limit allows.
    is_over: bool,
    /// Of a bucket: a request was lost, so it is not known to which period the engine counts what is held. It may be spent, but
    /// nothing is said about it.
    is_silent: bool,
    /// When the engine will have a hit again, if nothing is left.
    more_at: Timestamp,
    /// Hits that were granted to checks that wait, and to nobody else.
    due: u64,
    /// The same of a window that has ended since.
    past: Past,
    /// The fewest hits that any check has use for which waits for the next request.
    least: u64,
    /// The number of the last request that has ended, and of the last one that was answered.
    ended: u32,
    answered: u32,
    /// The size of the lease before.
    last: u64,
    /// The rate for which the lease was granted, in hits per thousand seconds.
    granted_at_rate: u64,
    rate: Rate,
    pace: Pace,
    outage: Outage,
    /// Hits that ended unspent since [`take_lapsed`](Self::take_lapsed).
    lapsed: u64,
}

/// What happened since the last request.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct News {
    charged: u64,
    returned: u64,
    refunded: u64,
    reported: u64,
    /// The end of the window that `charged` belongs to, by the engine's clock.
    charged_until: Timestamp,
}

impl Default for Lease {
    fn default() -> Self {
        Self {
            held: 0,
            ends: Timestamp::EPOCH,
            window: 0,
            left: 0,
            shut_until: Timestamp::EPOCH,
            renewed_at: 0,
            spent: 0,
            arrivals: Arrivals::default(),
            waiting: 0,
            news: News::default(),
            number: 1,
            is_under_way: false,
            is_over: false,
            is_silent: false,
            more_at: Timestamp::EPOCH,
            due: 0,
            past: Past::default(),
            least: 0,
            ended: 0,
            answered: 0,
            last: 0,
            granted_at_rate: 0,
            rate: Rate::default(),
            pace: Pace::default(),
            outage: Outage::default(),
            lapsed: 0,
        }
    }
}

impl Lease {
    /// A lease of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a check of `hits` can be decided, and how; it spends nothing. 0 hits look whether the counter is over its limit, and
    /// ask nobody.
    pub fn look(&mut self, terms: &Terms, hits: u64, now: Now, link: Link, attempt: Attempt) -> Status {
        self.enter(terms, now);
        if hits == 0 {
            return if self.is_over { Status::Denied(Denial::NothingLeft) } else { Status::Enough };
        }
        if hits <= self.at_hand(attempt) {
            return Status::Enough;
        }
        match link {
            Link::Down(WhenDown::Allow) => Status::Enough,
            Link::Down(WhenDown::Deny) => Status::Denied(Denial::StoreDown),
            Link::Down(WhenDown::Local) => {
                let known = self.known_left(now);
                let allows = self.outage.allows(terms, hits, now, known);
                if allows { Status::Enough } else { Status::Denied(Denial::NothingLeft) }
            }
            Link::Up => match attempt {
                Attempt::Waiting(number) if self.has_ended(number) => Status::Denied(Denial::NothingLeft),
                Attempt::First if self.is_shut(terms, hits, now) => Status::Denied(Denial::NothingLeft),
                Attempt::First | Attempt::Waiting(_) => Status::Missing,
            },
        }
    }

    /// Spends the hits of a check for which [`look`](Self::look) found enough.
    pub fn spend(&mut self, terms: &Terms, hits: u64, now: Now, link: Link, attempt: Attempt) {
        self.leave(hits, attempt);
        if hits <= self.at_hand(attempt) {
            if self.past.has(attempt) {
                // They are not refunded: their window has ended.
                self.past.due -= hits;
                return;
            }
            let is_answered = matches!(attempt, Attempt::Waiting(number) if self.has_ended(number));
            let from_due = if is_answered { self.due.min(hits) } else { 0 };
            self.due -= from_due;
            self.held -= hits - from_due;
            if terms.shape == LeaseShape::Bucket && !self.is_silent {
                self.news.reported += hits - from_due;
            }
        } else if let Link::Down(when) = link {
            if when == WhenDown::Local {
                let known = self.known_left(now);
                self.outage.spend(terms, hits, now, known);
            }
            self.charge_later(terms, hits, now);
        }
        self.spent = self.spent.saturating_add(hits);
    }

    /// A check that arrives: its hits are a part of the rate, whatever becomes of it.
    pub(super) fn arrive(&mut self, terms: &Terms, hits: u64, now: Now) {
        if hits > 0 {
            self.arrivals.add(hits, now.local, &mut self.rate, || terms.rate_horizon());
        }
    }

    /// Lets a check wait for the next request.
    pub(super) fn wait(&mut self, hits: u64) -> Attempt {
        let use_for = hits.saturating_sub(self.held).max(1);
        self.least = if self.waiting == 0 { use_for } else { self.least.min(use_for) };
        self.waiting = self.waiting.saturating_add(hits);
        Attempt::Waiting(self.number)
    }

    /// A check that waits for a request that was not yet made waits no longer.
    pub(in crate::store) fn leave(&mut self, hits: u64, attempt: Attempt) {
        if attempt == Attempt::Waiting(self.number) {
            self.waiting = self.waiting.saturating_sub(hits);
        }
    }

    /// Counts `hits` of a check that is denied, for a limit that counts them: what is in hand goes to them first, so that nobody else
    /// spends it. `is_over`: this counter denies it.
    pub(super) fn count_denied(&mut self, terms: &Terms, hits: u64, now: Now, attempt: Attempt, is_over: bool) {
        if self.past.has(attempt) {
            self.past.due -= self.past.due.min(hits);
            return;
        }
        self.is_over |= is_over;
        if hits == 0 {
            return;
        }
        let from_due = self.due.min(hits);
        let from_held = self.held.min(hits - from_due);
        self.due -= from_due;
        self.held -= from_held;
        self.charge_later(terms, hits - from_due - from_held, now);
    }

    /// Whether the engine should be asked, and how soon.
    pub fn wish(&self, terms: &Terms, now: Now) -> Wish {
        if self.is_under_way {
            return Wish::Nothing;
        }
        if self.waiting > 0 || self.news.charged > 0 {
            return Wish::Now;
        }
        let has_news = self.news.returned > 0 || self.news.refunded > 0;
        let says_when_idle = self.news.reported > 0 && !self.is_silent;
        if has_news || (says_when_idle && self.is_idle(terms, now)) || self.is_short(terms, now) {
            return Wish::Soon;
        }
        Wish::Nothing
    }

    /// Hits that could be spent: the lease, and what the engine had left when it last answered.
    pub fn remaining(&self, terms: &Terms, now: Now) -> u64 {
        let full = terms.capacity();
        if now.local >= self.ends && self.held == 0 {
            return full;
        }
        self.held.saturating_add(u64::try_from(self.left).unwrap_or(0)).min(full)
    }

    /// The outcome to report of a check, after it was charged or denied: that of the window in which it was.
    pub fn outcome(&self, terms: &Terms, hits: u64, now: Now, attempt: Attempt, is_admitted: bool) -> Outcome {
        let is_past = self.past.has(attempt);
        let remaining = if is_past { self.past.remaining(terms) } else { self.remaining(terms, now) };
        let used = terms.capacity() - remaining;
        let verdict = if is_admitted { Verdict::ADMITTED } else { Verdict::Denied(Reason::OverLimit) };
        let (before, after) =
            if is_admitted { (used.saturating_sub(hits), used) } else { (used, used.saturating_add(hits)) };
        let reset = if is_past {
            AT_ONCE
        } else if is_admitted {
            self.regains(terms, now, used)
        } else {
            self.reset(terms, now)
        };
        Outcome { verdict, before, after, remaining, reset }
    }

    /// What is left of this replica's share, and when more is, after a check that was decided by it.
    pub fn of_share(&self, terms: &Terms, hits: u64, now: Now, is_admitted: bool) -> (u64, Nanos) {
        let outcome = self.outage.outcome(terms, if is_admitted { 0 } else { hits }, now, self.known_left(now));
        (outcome.remaining, outcome.reset)
    }

    /// The counter as the engine last had it, without the hits in hand; `now` is the time of the engine. `None`: nothing is known.
    pub fn heard(&self, terms: &Terms, now: Timestamp) -> Option<Cell> {
        if self.ends == Timestamp::EPOCH || self.window == 0 {
            return None;
        }
        let capacity = i64::try_from(terms.capacity()).unwrap_or(i64::MAX);
        let counted = u64::try_from(capacity.saturating_sub(self.left)).unwrap_or(0).saturating_sub(self.held);
        let name = Timestamp::from_ns(self.window.saturating_mul(1_000));
        let window = terms.window;
        let cell = match terms.shape {
            LeaseShape::ClockWindow | LeaseShape::FirstRequestWindow => Cell::from_parts(name, counted),
            LeaseShape::SlidingWindow => Cell::from_parts(name.plus(window).plus(window), counted.min(u32::MAX.into())),
            LeaseShape::Bucket => Cell::in_debt(&terms.limit(), now, counted, 0),
        };
        (counted > 0).then_some(cell)
    }

    /// The engine's name of the window in which hits are spent now.
    pub const fn window(&self) -> u64 {
        self.window
    }

    /// Does not wait for the end of a pause before the engine is asked again.
    pub fn ask_again(&mut self) {
        (self.shut_until, self.is_over) = (Timestamp::EPOCH, false);
    }

    /// Hits that may be spent without asking.
    pub const fn held(&self) -> u64 {
        self.held
    }

    /// Hits that ended unspent since this was asked.
    pub const fn take_lapsed(&mut self) -> u64 {
        std::mem::replace(&mut self.lapsed, 0)
    }

    /// Reads from the lines of the cache that most checks need, to have them loaded; the number means nothing.
    pub const fn touch(&self) -> u64 {
        self.held ^ self.spent ^ self.news.returned ^ self.more_at.as_ns()
    }

    /// What most checks need is in the first so many bytes.
    #[cfg(test)]
    pub(in crate::store) const NEEDED_BYTES: usize = std::mem::offset_of!(Self, due);

    /// Whether it has something to say to the engine for which it does not wait until it is idle.
    pub const fn has_news(&self) -> bool {
        let News { returned, refunded, charged, reported: _, charged_until: _ } = self.news;
        returned > 0 || refunded > 0 || charged > 0
    }

    /// When [`tick`](Self::tick) has something to do next, apart from what checks and answers lead to before: soon after that, because what
    /// it has to do depends on times that are much longer.
    pub fn due(&self, terms: &Terms, now: Now) -> Timestamp {
        if self.has_news() || self.is_under_way || self.waiting > 0 || self.due > 0 || !terms.lends {
            return now.local;
        }
        let step = Nanos::from_ns((terms.short_horizon().as_ns() / LOOKS).min(LONGEST_STEP));
        let next = now.local.plus(step);
        if self.ends > now.local { next.min(self.ends) } else { next }
    }

    /// Whether it neither holds nor wants anything, so that only a check changes it.
    pub const fn is_at_rest(&self) -> bool {
        let News { returned, reported, refunded, charged, charged_until: _ } = self.news;
        let is_silent = returned == 0 && reported == 0 && refunded == 0 && charged == 0;
        is_silent && !self.is_under_way && self.waiting == 0 && self.held == 0 && self.due == 0
    }

    /// Whether nothing of this lease differs from a new one, so that it need not be kept.
    pub fn is_unused(&self, now: Now) -> bool {
        now.local >= self.ends && self.is_at_rest() && self.is_forgotten(now)
    }

    /// Whether it is at rest for so long that what it knows of its window is of little use: with little memory it need not be kept.
    pub fn is_forgettable(&self, now: Now) -> bool {
        self.is_at_rest() && self.is_forgotten(now)
    }

    fn is_forgotten(&self, now: Now) -> bool {
        self.shut_until <= now.local && self.arrivals.idle(now.local) > super::terms::LONGEST
    }

    /// Hits that a check may spend which is so far.
    pub(in crate::store) fn at_hand(&self, attempt: Attempt) -> u64 {
        match attempt {
            Attempt::Waiting(_) if self.past.has(attempt) => self.past.due,
            Attempt::Waiting(number) if self.has_ended(number) => self.held.saturating_add(self.due),
            _ => self.held,
        }
    }

    /// Whether the request of that number has ended.
    pub(in crate::store) const fn has_ended(&self, number: u32) -> bool {
        self.ended.wrapping_sub(number) < u32::MAX / 2
    }

    /// Whether a check is denied without asking.
    fn is_shut(&self, terms: &Terms, hits: u64, now: Now) -> bool {
        let never = hits > terms.capacity() && !terms.counts_denied();
        never || terms.max == 0 || now.local < self.shut_until
    }

    /// Whether no check has come for so long that the lease goes back.
    fn is_idle(&self, terms: &Terms, now: Now) -> bool {
        let idle = self.arrivals.idle(now.local);
        // Usually a check has just come: no horizon is needed.
        idle > Nanos::ZERO && idle.as_ns() >= terms.short_horizon().as_ns() / 2
    }

    /// Whether a lease of a busy counter is nearly used up.
    fn is_short(&self, terms: &Terms, now: Now) -> bool {
        if !terms.lends || self.is_silent || now.local < self.shut_until || self.held == 0 || now.local >= self.ends {
            return false;
        }
        if self.held > self.renewed_at {
            return false;
        }
        let horizon = terms.horizon(u64::try_from(self.left).unwrap_or(0)).as_ns();
        let horizon = match terms.shape {
            LeaseShape::Bucket => horizon,
            _ => horizon.min(self.ends.since(now.local).as_ns()),
        };
        let rate = self.rate.per_second(&self.arrivals, now.local, terms.rate_horizon());
        rate * super::size::number(horizon) / 1e9 >= super::size::LEAST_LEASE
    }

    /// Begins again where the window has ended.
    fn enter(&mut self, terms: &Terms, now: Now) {
        if self.news.charged > 0 && now.engine >= self.news.charged_until {
            self.news.charged = 0;
        }
        if self.ends == Timestamp::EPOCH || now.local < self.ends {
            return;
        }
        match terms.shape {
            LeaseShape::SlidingWindow => self.news.returned += self.held,
            LeaseShape::Bucket => (self.news.reported, self.news.returned) = (0, 0),
            LeaseShape::ClockWindow | LeaseShape::FirstRequestWindow => self.news.returned = 0,
        }
        self.lapsed += self.held;
        self.held = 0;
        self.ends = Timestamp::EPOCH;
        if terms.shape != LeaseShape::Bucket {
            self.end_window();
        }
        (self.spent, self.left, self.is_over, self.is_silent) = (0, 0, false, false);
        if terms.shape != LeaseShape::Bucket {
            self.shut_until = Timestamp::EPOCH;
        }
        if terms.shape == LeaseShape::FirstRequestWindow {
            self.window = 0;
        }
    }

    /// What is left of the window, as far as it is known.
    fn known_left(&self, now: Now) -> Option<(u64, Nanos)> {
        (now.local < self.ends).then(|| (u64::try_from(self.left).unwrap_or(0), self.ends.since(now.local)))
    }

    /// Hits that the engine learns of with the next request, in whatever state the counter is.
    fn charge_later(&mut self, terms: &Terms, hits: u64, now: Now) {
        if hits == 0 {
            return;
        }
        self.news.charged = self.news.charged.saturating_add(hits).min(MAX_CHARGED);
        self.news.charged_until = match terms.shape {
            LeaseShape::ClockWindow | LeaseShape::SlidingWindow => terms.clock_end(now.engine),
            LeaseShape::FirstRequestWindow if now.local < self.ends => now.engine.plus(self.ends.since(now.local)),
            LeaseShape::FirstRequestWindow => now.engine.plus(self.outage.ends_in(now)),
            LeaseShape::Bucket => now.engine.plus(terms.window),
        };
    }

    /// When denied: the time until the same check can succeed.
    fn reset(&self, terms: &Terms, now: Now) -> Nanos {
        match terms.shape {
            LeaseShape::ClockWindow => self.until_clock_end(terms, now),
            LeaseShape::FirstRequestWindow if now.local < self.ends => self.ends.since(now.local),
            _ => {
                let at = self.more_at.max(self.shut_until);
                if at > now.local { at.since(now.local) } else { terms.window }
            }
        }
    }

    /// When admitted: the time until the counter regains allowance that it lacks.
    fn regains(&self, terms: &Terms, now: Now, used: u64) -> Nanos {
        match terms.shape {
            LeaseShape::Bucket => {
                let ns = u128::from(used) * u128::from(terms.window.as_ns()) / u128::from(terms.max.max(1));
                Nanos::from_ns(u64::try_from(ns).unwrap_or(u64::MAX))
            }
            LeaseShape::ClockWindow | LeaseShape::SlidingWindow => self.until_clock_end(terms, now),
            LeaseShape::FirstRequestWindow if used == 0 => Nanos::ZERO,
            LeaseShape::FirstRequestWindow => self.ends.since(now.local),
        }
    }

    /// The time until the end of the window in which hits are spent. What is known of the engine's clock may be a little wrong, so that it
    /// shows another window than the one that hits were granted for.
    fn until_clock_end(&self, terms: &Terms, now: Now) -> Nanos {
        let length = terms.window;
        if now.local >= self.ends || self.window == 0 {
            return terms.clock_end(now.engine).since(now.engine);
        }
        let named = Timestamp::from_ns(self.window.saturating_mul(1_000));
        let end = if terms.shape == LeaseShape::SlidingWindow { named.plus(length) } else { named };
        end.since(now.engine).clamp(AT_ONCE, length)
    }
}

/// An idle lease goes back after half of its horizon; so often that is looked for in a horizon.
const LOOKS: u64 = 16;
/// The longest time between two looks at a lease that holds hits, in nanoseconds.
const LONGEST_STEP: u64 = 500_000_000;
/// Until the end of a window that has ended.
const AT_ONCE: Nanos = Nanos::from_ns(1);
/// Hits that are charged at once after an outage: whole numbers of scripts are exact up to 2^53.
const MAX_CHARGED: u64 = 1 << 50;
