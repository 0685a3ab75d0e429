//! Buckets of which tokens are lent.
//!
//! Tokens that were lent count against the burst until the replica says that they are spent, or until they lapse: the bucket is
//! refilled only up to what is not lent. So what it holds and what is lent never exceed the burst, and in any time d at most
//! burst + rate x d hits are admitted. Lent tokens are summed in two periods of twice the horizon each; those of a period lapse
//! at the end of the next one, when the replica has long ended its lease.

use super::{micros, muldiv, signed};
use crate::store::lease::size;
use crate::store::lease::{Answer, Ask, Terms};

/// The state of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bucket {
    /// When the debt was as it is here.
    time: u64,
    /// Tokens until the bucket is full: whole ones, and a part in units of 1 / window.
    hits: u64,
    part: u64,
    /// The length of the window, in which `part` is measured.
    window: u64,
    /// When the present period began, which is also its name.
    turn: u64,
    /// The length of the periods.
    length: u64,
    /// The name of the period before; 0: none.
    before: u64,
    /// Tokens lent in this period, and in the one before.
    lent: u64,
    lent_before: u64,
}

impl Bucket {
    pub(super) fn full(terms: &Terms, now: u64) -> Self {
        let length = period(terms);
        let window = terms.window_us();
        Self { time: now, hits: 0, part: 0, window, turn: now, length, before: 0, lent: 0, lent_before: 0 }
    }

    /// The answer, and whether the state has to be kept.
    pub(super) fn answer(&mut self, terms: &Terms, ask: &Ask, now: u64) -> (Answer, bool) {
        self.advance(terms, now);
        self.settle_lent(ask);
        self.hits = self.hits.saturating_sub(ask.refunded);
        let burst = terms.burst();
        if ask.charged > 0 {
            let deepest = burst + u64::from(terms.max);
            self.hits = self.hits.max(self.hits.saturating_add(ask.charged).min(deepest));
        }
        self.hold_lent();
        let room = burst.saturating_sub(self.used());
        let at_once = if room >= ask.least { room.min(ask.waiting) } else { 0 };
        let lease = if at_once < ask.waiting { 0 } else { size::of_bucket(terms, ask, room - at_once) };
        self.hits += at_once + lease;
        self.lent += lease;
        let answer = Answer {
            at_once,
            lease,
            left: signed(burst) - signed(self.used()),
            lasts: micros((self.turn + 2 * self.length).saturating_sub(now)),
            window: self.turn,
            wait: micros(self.wait(terms)),
        };
        (answer, at_once + lease > 0 || ask.is_news())
    }

    /// The debt in whole tokens, rounded up.
    fn used(&self) -> u64 {
        self.hits + u64::from(self.part > 0)
    }

    /// Refills up to what is lent, period by period.
    fn advance(&mut self, terms: &Terms, now: u64) {
        self.rescale(terms);
        if now < self.time {
            // The clock has stepped back: the bucket is full no earlier than it was to be.
            let (back, rest) = muldiv(self.time - now, terms.max.into(), self.window);
            self.hits += back;
            self.part += rest;
            if self.part >= self.window {
                self.hits += 1;
                self.part -= self.window;
            }
            self.time = now;
            return;
        }
        for _ in 0..2 {
            let end = self.turn + self.length;
            if now < end {
                break;
            }
            self.regain(terms, end);
            self.before = self.turn;
            self.turn = end;
            self.length = self.length.max(period(terms));
            self.lent_before = self.lent;
            self.lent = 0;
        }
        if self.lent == 0 && self.lent_before == 0 {
            self.length = period(terms);
            if now >= self.turn + self.length {
                (self.turn, self.before) = (now, 0);
            }
        }
        self.regain(terms, now);
    }

    /// A part of a token in the units of the window that is in force.
    fn rescale(&mut self, terms: &Terms) {
        let window = terms.window_us();
        if window != self.window {
            let (part, rest) = muldiv(self.part, window, self.window);
            self.part = part + u64::from(rest > 0);
            if self.part >= window {
                self.hits += 1;
                self.part -= window;
            }
            self.window = window;
        }
    }

    fn regain(&mut self, terms: &Terms, until: u64) {
        if until > self.time {
            let (regained, rest) = muldiv(until - self.time, terms.max.into(), self.window);
            let borrow = u64::from(self.part < rest);
            let whole = regained.saturating_add(borrow);
            if self.hits < whole {
                (self.hits, self.part) = (0, 0);
            } else {
                self.hits -= whole;
                self.part = self.part + borrow * self.window - rest;
            }
            self.time = until;
        }
        self.hold_lent();
    }

    /// What is lent is missing in the bucket.
    fn hold_lent(&mut self) {
        let lent = self.lent + self.lent_before;
        if self.hits < lent {
            (self.hits, self.part) = (lent, 0);
        }
    }

    /// What became of the tokens that the replica was lent. Nothing is known of a period that is forgotten.
    fn settle_lent(&mut self, ask: &Ask) {
        let known = if ask.window == self.turn {
            let gone = (ask.reported + ask.returned).min(self.lent);
            self.lent -= gone;
            true
        } else if ask.window == self.before && self.before > 0 {
            let gone = (ask.reported + ask.returned + ask.kept).min(self.lent_before);
            self.lent_before -= gone;
            self.lent += ask.kept;
            true
        } else {
            false
        };
        if known {
            self.hits = self.hits.saturating_sub(ask.returned);
        }
    }

    /// The time until there is one token.
    fn wait(&self, terms: &Terms) -> u64 {
        let burst = terms.burst();
        if self.used() < burst || terms.max == 0 {
            return 0;
        }
        let max = u64::from(terms.max);
        let (whole, rest) = muldiv(self.hits - (burst - 1), self.window, max);
        let part = (self.part + rest).div_ceil(max);
        whole + part
    }
}

impl Ask {
    /// Whether it changes a bucket that is full.
    const fn is_news(&self) -> bool {
        self.returned > 0 || self.reported > 0 || self.kept > 0 || self.refunded > 0 || self.charged > 0
    }
}

/// The length of the periods: twice the horizon.
fn period(terms: &Terms) -> u64 {
    2 * terms.bucket_horizon_us()
}
