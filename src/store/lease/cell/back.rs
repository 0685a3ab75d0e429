//! What goes back to the engine: unspent hits, and refunds.

use super::Lease;
use crate::engine::LeaseShape;
use crate::store::lease::size::number;
use crate::store::lease::{Now, Terms, Wish};
use crate::units::{Nanos, Timestamp};

impl Lease {
    /// Gives hits of an earlier check back, up to what this replica spent in the same window; returns the rest, which is dropped.
    pub fn refund(&mut self, terms: &Terms, hits: u64, now: Now) -> u64 {
        self.enter(terms, now);
        let taken = hits.min(self.spent);
        self.spent -= taken;
        // What an outage or a denied check is about to charge was never granted.
        let uncharged = taken.min(self.news.charged);
        self.news.charged -= uncharged;
        let granted = taken - uncharged;
        if terms.shape == LeaseShape::Bucket {
            let unreported = granted.min(self.news.reported);
            self.news.reported -= unreported;
            self.held += unreported;
            self.news.refunded = self.news.refunded.saturating_add(granted - unreported);
        } else if self.held > 0 && terms.lends {
            self.held += granted;
        } else {
            self.news.returned += granted;
        }
        self.is_over &= taken == 0;
        hits - taken
    }

    /// Once no check waits for an answer any more: what was granted to checks that were then denied stays a lease.
    pub fn settle(&mut self, terms: &Terms, now: Now) {
        self.enter(terms, now);
        let unspent = std::mem::take(&mut self.due);
        match terms.shape {
            LeaseShape::Bucket => self.news.refunded = self.news.refunded.saturating_add(unspent),
            _ => self.held += unspent,
        }
        self.settle_past(terms);
        if !terms.lends {
            self.give_back(self.held);
        }
    }

    /// Every 50 ms or so: lets go of a lease that has ended, and of what is not needed. Returns what [`wish`](Self::wish) does.
    pub fn tick(&mut self, terms: &Terms, now: Now) -> Wish {
        self.enter(terms, now);
        self.give_back(self.surplus(terms, now));
        self.wish(terms, now)
    }

    /// Gives everything back: at a drain, and when the limit was lowered. The next [`ask`](Self::ask) says so.
    pub fn drain(&mut self, terms: &Terms, now: Now) {
        self.enter(terms, now);
        self.give_back(self.held);
    }

    fn give_back(&mut self, hits: u64) {
        let hits = hits.min(self.held);
        self.held -= hits;
        if self.is_silent {
            self.lapsed += hits;
        } else {
            self.news.returned += hits;
        }
    }

    /// Hits in hand that are not expected to be spent: all of an idle lease, or a quarter of one that is too large.
    fn surplus(&self, terms: &Terms, now: Now) -> u64 {
        if self.held == 0 || self.is_under_way || self.is_silent || self.ends == Timestamp::EPOCH {
            return 0;
        }
        let left = self.ends.since(now.local);
        if terms.shape != LeaseShape::Bucket && left < WORTHLESS {
            return 0;
        }
        if self.is_idle(terms, now) {
            return self.held;
        }
        let rate = self.rate.per_second(&self.arrivals, now.local, terms.rate_horizon());
        // Traffic has moved away: a lease for as long as it was meant to last is too much.
        let has_moved = rate * MOVED < number(self.granted_at_rate);
        let horizon = if has_moved { terms.short_horizon() } else { Nanos::from_ns(self.horizon_ns(terms)) };
        let lasts = if terms.shape == LeaseShape::Bucket { horizon } else { horizon.min(left) };
        let reserve = if has_moved { 1.0 } else { 1.5 };
        let needed = ceil(reserve * rate * number(lasts.as_ns()) / 1e9);
        let surplus = self.held.saturating_sub(needed);
        if surplus >= (self.held / 4).max(1) { surplus } else { 0 }
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // It saturates.
fn ceil(value: f64) -> u64 {
    value.ceil() as u64
}

/// By a quarter fewer hits per second are a sign that traffic has moved: rates are in hits, and in hits per thousand seconds.
const MOVED: f64 = 1_333.0;
/// What goes back that shortly before the end of a window comes too late.
const WORTHLESS: Nanos = Nanos::from_ns(10_000_000);
