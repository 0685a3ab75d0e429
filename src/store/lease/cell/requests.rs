//! Requests of a lease: made by [`ask`](Lease::ask), and each ended by exactly one of `answered`, `lost` and `not_sent`.

use super::{Lease, News};
use crate::engine::LeaseShape;
use crate::store::lease::{Answer, Ask, Now, Terms, Wish, size};
use crate::units::{Nanos, Timestamp};

impl Lease {
    /// The next request, if there is anything to ask or to say, and none is under way.
    pub fn ask(&mut self, terms: &Terms, now: Now) -> Option<Ask> {
        self.enter(terms, now);
        if self.wish(terms, now) == Wish::Nothing {
            return None;
        }
        let window = match terms.shape {
            LeaseShape::ClockWindow => terms.clock_end(now.engine).as_us(),
            _ => self.window,
        };
        let is_wanted = self.waiting > 0 || self.is_short(terms, now);
        let is_wanted = is_wanted && self.pace.is_busy(&self.arrivals, now.local, terms.pace_horizon()) && terms.lends;
        let rate_millis =
            if is_wanted { self.rate.per_1000_seconds(&self.arrivals, now.local, terms.rate_horizon()) } else { 0 };
        let News { returned, reported, refunded, charged, charged_until: _ } = std::mem::take(&mut self.news);
        let is_other_window = terms.shape == LeaseShape::ClockWindow && window != self.window;
        let keeps = terms.shape == LeaseShape::Bucket && !self.is_silent;
        let ask = Ask {
            number: self.number,
            asked_at: now.local,
            window,
            waiting: self.waiting,
            least: self.least,
            rate_millis,
            last: self.last,
            returned: if is_other_window { 0 } else { returned },
            reported,
            kept: if keeps { self.held } else { 0 },
            refunded,
            charged,
        };
        (self.waiting, self.least) = (0, 0);
        self.number = self.number.wrapping_add(1);
        self.is_under_way = true;
        Some(ask)
    }

    /// The answer to a request that came in time. The checks that wait are decided next, then [`settle`](Lease::settle) is called.
    pub fn answered(&mut self, terms: &Terms, ask: &Ask, answer: &Answer, now: Now) {
        self.end(ask);
        self.enter(terms, now);
        let is_bucket = terms.shape == LeaseShape::Bucket;
        if answer.window != self.window || self.ends == Timestamp::EPOCH {
            if !is_bucket {
                self.end_window();
                // What is held is of a window that has ended.
                self.lapsed += std::mem::take(&mut self.held);
                self.news.returned = 0;
                (self.spent, self.is_over, self.ends) = (0, false, Timestamp::EPOCH);
            }
            self.window = answer.window;
        }
        if self.is_silent {
            self.lapsed += std::mem::take(&mut self.held);
            self.is_silent = false;
        }
        let ends = ask.asked_at.plus(answer.lasts);
        self.ends = if is_bucket { ends } else { self.ends.max(ends) };
        self.due = self.due.saturating_add(answer.at_once);
        self.held = self.held.saturating_add(answer.lease);
        (self.left, self.answered) = (answer.left, ask.number);
        self.is_over |= answer.left < 0;
        if ask.waiting > 0 || ask.rate_millis > 0 {
            self.last = (answer.at_once + answer.lease).max(1);
            self.granted_at_rate = ask.rate_millis;
            self.learn(terms, ask, answer);
        }
    }

    /// A request whose answer does not come, or too late: its connection was lost, or it took longer than a check may wait. What it
    /// said is never said again, because it may have been executed.
    pub fn lost(&mut self, terms: &Terms, ask: &Ask) {
        self.end(ask);
        if terms.shape == LeaseShape::Bucket {
            self.is_silent = self.held > 0;
            self.news.reported = 0;
        }
    }

    /// A request that was certainly not sent: what it said is said by the next one.
    pub fn not_sent(&mut self, terms: &Terms, ask: &Ask, now: Now) {
        self.end(ask);
        self.enter(terms, now);
        self.news.refunded += ask.refunded;
        self.charge_later(terms, ask.charged, now);
        if terms.shape != LeaseShape::Bucket || ask.window == self.window && self.ends != Timestamp::EPOCH {
            self.news.returned += ask.returned;
            self.news.reported += ask.reported;
        }
    }

    /// The answer to a request that was given up by [`lost`](Lease::lost): what it grants is kept while it has time.
    pub fn late(&mut self, terms: &Terms, ask: &Ask, answer: &Answer, now: Now) {
        self.enter(terms, now);
        let ends = ask.asked_at.plus(answer.lasts);
        if terms.shape == LeaseShape::Bucket {
            // What was charged for checks that are decided by now was not spent.
            self.news.refunded = self.news.refunded.saturating_add(answer.at_once);
            let is_free = self.held == 0 && !self.is_under_way;
            if is_free && now.local < ends {
                (self.held, self.ends, self.window) = (answer.lease, ends, answer.window);
                self.is_silent = false;
            } else {
                self.lapsed += answer.lease;
            }
            return;
        }
        let granted = answer.at_once + answer.lease;
        let is_known = self.ends != Timestamp::EPOCH;
        if now.local < ends && (!is_known || answer.window == self.window) {
            self.held = self.held.saturating_add(granted);
            (self.ends, self.window) = (self.ends.max(ends), answer.window);
            if !is_known {
                self.left = answer.left;
            }
        } else {
            self.lapsed += granted;
        }
    }

    fn end(&mut self, ask: &Ask) {
        self.ended = ask.number;
        self.is_under_way = false;
    }

    /// What follows from what is left: when to ask again, and from how many hits on.
    fn learn(&mut self, terms: &Terms, ask: &Ask, answer: &Answer) {
        // What is not granted now is not asked for again before checks wait.
        let is_in_vain = ask.waiting == 0 && answer.lease == 0;
        let soon = (self.last / 4).max(ask.rate_millis / 1_000 / RENEWALS_PER_SECOND);
        self.renewed_at = if is_in_vain { 0 } else { soon };
        self.more_at = ask.asked_at.plus(answer.wait);
        let is_busy =
            size::number(ask.rate_millis) / 1e3 * size::number(self.horizon_ns(terms)) / 1e9 >= size::LEAST_LEASE;
        let is_empty = answer.left <= 0;
        let is_busy = is_busy && terms.lends;
        let pause = match terms.shape {
            LeaseShape::Bucket if is_busy => {
                let is_short = size::number(answer.lease) < size::wanted_of_bucket(terms, ask).floor();
                (is_empty || is_short).then(|| spread(terms.short_horizon(), ask))
            }
            LeaseShape::SlidingWindow if is_busy => {
                let pause = spread(sliding_pause(terms, ask), ask);
                // In a window that begins empty nothing is regained before it ends.
                let until_more = if is_empty { answer.wait.min(spread(terms.pause(), ask)) } else { Nanos::ZERO };
                is_scarce(terms, ask, answer).then(|| pause.max(until_more))
            }
            LeaseShape::Bucket | LeaseShape::SlidingWindow => is_empty.then_some(answer.wait),
            LeaseShape::ClockWindow | LeaseShape::FirstRequestWindow => is_empty.then(|| spread(terms.pause(), ask)),
        };
        if let Some(pause) = pause {
            self.shut_until = ask.asked_at.plus(pause);
        }
    }

    pub(super) fn horizon_ns(&self, terms: &Terms) -> u64 {
        terms.horizon(u64::try_from(self.left).unwrap_or(0)).as_ns()
    }
}

/// Whether a sliding window gave less than was wanted, and has little left. It regains hits all the time, so that without a pause
/// each of them would be asked for.
fn is_scarce(terms: &Terms, ask: &Ask, answer: &Answer) -> bool {
    let left = u64::try_from(answer.left).unwrap_or(0);
    let granted = answer.at_once + answer.lease;
    let lasts_us = answer.lasts.as_ns() / 1_000;
    let is_short = size::number(granted) < size::wanted_of_window(terms, ask, left + granted, lasts_us).floor();
    (is_short || answer.left <= 0) && left.saturating_mul(SCARCE) <= terms.max.into()
}

/// The time in which so many checks come that one request for them is cheap.
fn sliding_pause(terms: &Terms, ask: &Ask) -> Nanos {
    let checks = CHECKS_PER_REQUEST.saturating_mul(1_000_000_000_000) / ask.rate_millis.max(1);
    Nanos::from_ns(checks.min(terms.pause().as_ns()))
}

/// A pause, a quarter longer or shorter, so that replicas do not ask all at once.
fn spread(pause: Nanos, ask: &Ask) -> Nanos {
    let mixed = (ask.asked_at.as_ns() ^ u64::from(ask.number)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let half = pause.as_ns() / 2;
    let part = (u128::from(half) * u128::from(mixed)) >> 32;
    Nanos::from_ns(pause.as_ns() - half / 2 + u64::try_from(part).unwrap_or(0))
}

/// A sliding window with less than this part of its limit left has little left.
const SCARCE: u64 = 25;
/// At 20 and fewer checks for a request, leases would cost more than the contract says.
const CHECKS_PER_REQUEST: u64 = 25;
/// A lease is renewed when what is held lasts for 25 ms.
const RENEWALS_PER_SECOND: u64 = 40;
