//! Oracles that keep every event and decide by the definition.

use tidegate::calendar::{Calendar, CalendarUnit};
use tidegate::engine::{Algorithm, BanWhen, CountDenied, Limit, Starts};

use super::{Counter, any_limit, any_script, instants};
use proptest::prelude::*;

/// Every hit that counts so far, with its time, and the ban.
struct Oracle<'l> {
    limit: &'l Limit,
    events: Vec<(u64, u64)>,
    opened: Option<u64>,
    banned_until: Option<u64>,
}

impl Oracle<'_> {
    fn decide(&mut self, now: u64, hits: u64) -> bool {
        if let Some(until) = self.banned_until {
            if now < until {
                return false;
            }
            self.banned_until = None;
            self.events.clear();
            self.opened = None;
        }
        let admitted = self.allows(now, hits);
        if hits == 0 {
            return admitted;
        }
        if admitted || self.limit.count_denied != CountDenied::Never {
            self.count(now, hits, admitted);
        }
        if let Some(ban) = self.limit.ban {
            let reached = ban.when == BanWhen::Reached && !self.allows(now, 1);
            if !admitted || reached {
                self.banned_until = Some(now + ban.length.as_ns());
            }
        }
        admitted
    }

    fn count(&mut self, now: u64, hits: u64, admitted: bool) {
        if self.limit.algorithm == super::FIRST && self.opened.is_none_or(|at| now >= at + self.length()) {
            self.opened = Some(now);
        }
        let hits = match self.limit.algorithm {
            Algorithm::TokenBucket { .. } if !admitted => hits | DENIED,
            _ => hits,
        };
        self.events.push((now, hits));
    }

    fn allows(&self, now: u64, hits: u64) -> bool {
        let max = u128::from(self.limit.max);
        match self.limit.algorithm {
            Algorithm::FixedWindow { starts: Starts::Clock } => {
                self.sum(|at| at / self.length() == now / self.length()) + u128::from(hits) <= max
            }
            Algorithm::FixedWindow { starts: Starts::Calendar(calendar) } => {
                self.sum(|at| shown(calendar, at) == shown(calendar, now)) + u128::from(hits) <= max
            }
            Algorithm::FixedWindow { starts: Starts::FirstRequest } => {
                let opened = self.opened.filter(|at| now < at + self.length());
                self.sum(|at| opened.is_some_and(|opened| at >= opened)) + u128::from(hits) <= max
            }
            Algorithm::SlidingLog => self.sum(|at| at + self.length() > now) + u128::from(hits) <= max,
            Algorithm::SlidingWindow => self.sliding_allows(now, hits),
            Algorithm::TokenBucket { burst, queue } => {
                self.bucket_allows(now, hits, u128::from(burst) + u128::from(queue.size))
            }
        }
    }

    /// previous x (1 - elapsed / length) + current + hits <= limit, as fractions.
    fn sliding_allows(&self, now: u64, hits: u64) -> bool {
        let length = self.length();
        let window = now / length;
        let previous = self.sum(|at| at / length + 1 == window);
        let current = self.sum(|at| at / length == window);
        let (length, elapsed) = (u128::from(length), u128::from(now % length));
        previous * (length - elapsed) + (current + u128::from(hits)) * length <= u128::from(self.limit.max) * length
    }

    /// In every interval from an earlier admitted hit on, no more than the capacity and what the interval's time is worth.
    fn bucket_allows(&self, now: u64, hits: u64, capacity: u128) -> bool {
        let (max, length, hits) = (u128::from(self.limit.max), u128::from(self.length()), u128::from(hits));
        if max == 0 || hits > capacity {
            return hits == 0;
        }
        let mut debt: u128 = 0; // in hits x length, as of the last event
        let mut last = 0;
        for (at, spent) in &self.events {
            debt = debt.saturating_sub(u128::from(at - last) * max);
            let after = debt + u128::from(*spent & !DENIED) * length;
            // A denied charge that counts takes it into debt, by one period's allowance at most.
            debt = if *spent & DENIED == 0 { after } else { debt.max(after.min((capacity + max) * length)) };
            last = *at;
        }
        debt.saturating_sub(u128::from(now - last) * max) + hits * length <= capacity * length
    }

    fn sum(&self, counts: impl Fn(u64) -> bool) -> u128 {
        self.events.iter().filter(|(at, _)| counts(*at)).map(|(_, hits)| u128::from(*hits)).sum()
    }

    fn length(&self) -> u64 {
        self.limit.window.as_ns()
    }
}

/// What a calendar of Berlin shows, where clocks are never set at midnight.
fn shown(calendar: &Calendar, at: u64) -> jiff::civil::Date {
    let zone = jiff::tz::TimeZoneDatabase::bundled().get(calendar.zone()).unwrap();
    let day = zone.to_datetime(jiff::Timestamp::from_nanosecond(at.into()).unwrap()).date();
    if calendar.unit() == CalendarUnit::Month { day.first_of_month() } else { day }
}

/// Marks the hits of a denied charge of a bucket.
const DENIED: u64 = 1 << 63;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// No admitted hit that the definition denies, and none denied that it admits.
    #[test]
    fn decides_as_the_definition_does(limit in any_limit(), script in any_script()) {
        let mut counter = Counter::new(&limit);
        let mut oracle = Oracle { limit: &limit, events: Vec::new(), opened: None, banned_until: None };
        for (now, hits) in instants(&limit, &script) {
            let outcome = counter.charge(&limit, now, hits);
            let want = oracle.decide(now, hits);
            prop_assert_eq!(outcome.admitted(), want, "{} hits at {}: {:?}", hits, now, outcome);
        }
    }
}
