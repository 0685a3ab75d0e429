//! A `rate_limit` block -> what the engine decides by, or what is wrong with it.

use super::field::{Field, Requests};
use super::limit_spec::{Kin, LimitSpec};
use super::report::Report;
use super::{Period, RuleLimit, Unit, hint};
use crate::engine::{Algorithm, BanWhen, CountDenied, Limit, Queue, QueueMode, Starts};

/// The largest limit of a `sliding_log`: a counter keeps 16 bytes for every hit, so 1 MiB at most.
const MAX_LOG: u32 = 65_536;

/// A block that says how much is allowed.
#[derive(Debug)]
pub(super) enum Block {
    /// So much.
    Limited(RuleLimit),
    /// Anything.
    Unlimited,
}

impl LimitSpec {
    /// Whether the block counts at all.
    pub(super) fn is_enabled(&self) -> bool {
        self.enabled.given().copied().unwrap_or(true)
    }

    /// The block, checked; nothing where something is wrong with it, which has been reported.
    pub(super) fn build(&self, report: &mut Report<'_>) -> Option<Block> {
        let period = self.window(report);
        let algorithm = self.algorithm(report);
        let name = self.name.given().cloned().unwrap_or_default();
        if self.unlimited.is_set() {
            self.reject_where_unlimited(report);
            if let Some(line) = self.requests.line() {
                report.warn(line, "'requests_per_unit' has no effect where 'unlimited' is true: keep one of them");
            }
            return Some(Block::Unlimited);
        }
        let max = match self.requests {
            Field::Given(Requests::Unlimited, _) => {
                self.warn_where_negative(report);
                return Some(Block::Unlimited);
            }
            Field::Given(Requests::AtMost(max), _) => max,
            Field::Invalid => return None,
            Field::Absent => {
                report.warn(self.line, "'requests_per_unit' is missing, which is 0: every request will be denied");
                0
            }
        };
        let (period, algorithm) = (period?, algorithm?);
        self.reject_long_log(max, report);
        let limit = Limit {
            max,
            window: period.length,
            algorithm: with_burst(algorithm, self.burst.given().copied().unwrap_or(max)),
            ban: self.ban.given().copied(),
            count_denied: self.counts_denied(algorithm),
        };
        Some(Block::Limited(RuleLimit { name, enabled: self.is_enabled(), requests_per_unit: max, period, limit }))
    }

    fn counts_denied(&self, algorithm: Algorithm) -> CountDenied {
        match self.count_denied.given() {
            Some(true) => CountDenied::Always,
            None if algorithm == AS_THE_REFERENCE => CountDenied::Alone,
            Some(false) | None => CountDenied::Never,
        }
    }

    /// The window's length. An unlimited block has none, and the reference minds only a valid unit there.
    fn window(&self, report: &mut Report<'_>) -> Option<Period> {
        let text = self.unit.given().map_or("", String::as_str);
        let line = self.unit.line().unwrap_or(self.line);
        let unit = Unit::named(text);
        if let Some(period_line) = self.period.line().filter(|_| !text.is_empty()) {
            report.error(period_line, "'unit' and 'period' both say how long the window is: keep one of them");
            return None;
        }
        if self.unlimited.is_set() {
            if unit.is_some() {
                report.error(line, "should not specify rate limit unit when unlimited");
            }
            return None;
        }
        if self.unit.is_invalid() || self.period.is_invalid() || self.unlimited.is_invalid() {
            return None;
        }
        if let Some(&length) = self.period.given() {
            return Some(Period::from_length(length));
        }
        let negative = self.requests.given() == Some(&Requests::Unlimited);
        if unit.is_none() && !(negative && text.is_empty()) {
            report.error(line, hint::no_unit(text));
        }
        unit.map(|unit| Period::from_units(unit, 1))
    }

    /// The algorithm, with the keys that it does not take reported.
    fn algorithm(&self, report: &mut Report<'_>) -> Option<Algorithm> {
        let kin = match self.algorithm {
            Field::Invalid => return None,
            Field::Given(kin, _) => kin,
            Field::Absent => Kin::default(),
        };
        let keys = [
            ("starts", self.starts.line(), Kin::FixedWindow),
            ("burst", self.burst.line(), Kin::TokenBucket),
            ("queue", self.queue.line(), Kin::TokenBucket),
        ];
        for (key, line, home) in keys {
            if let Some(line) = line.filter(|_| kin != home) {
                let (home, name) = (home.name(), kin.name());
                report.error(
                    line,
                    format!("'{key}' is for algorithm {home}, this is {name}: change it or remove '{key}'"),
                );
            }
        }
        self.reject_early_ban(kin, report);
        Some(match kin {
            Kin::FixedWindow => {
                Algorithm::FixedWindow { starts: self.starts.given().copied().unwrap_or(Starts::Clock) }
            }
            Kin::SlidingWindow => Algorithm::SlidingWindow,
            Kin::SlidingLog => Algorithm::SlidingLog,
            Kin::TokenBucket => {
                let none = Queue { size: 0, mode: QueueMode::Hold };
                Algorithm::TokenBucket { burst: 1, queue: self.queue.given().copied().unwrap_or(none) }
            }
        })
    }

    fn reject_early_ban(&self, kin: Kin, report: &mut Report<'_>) {
        if let Field::Given(ban, line) = &self.ban
            && kin == Kin::TokenBucket
            && ban.when == BanWhen::Reached
        {
            let length = ban.length;
            report.error(
                *line,
                format!("token_bucket takes a ban only when exceeded: write ban: {{for: {length}, when: exceeded}}"),
            );
        }
    }

    fn reject_long_log(&self, max: u32, report: &mut Report<'_>) {
        if self.algorithm.given() == Some(&Kin::SlidingLog) && max > MAX_LOG {
            let line = self.requests.line().unwrap_or(self.line);
            report.error(
                line,
                format!("sliding_log keeps the time of every hit, so requests_per_unit is at most {MAX_LOG}, found {max}: use sliding_window or token_bucket"),
            );
        }
    }

    /// Nothing is counted for an unlimited block, so that a key about counting is a misunderstanding.
    fn reject_where_unlimited(&self, report: &mut Report<'_>) {
        if let Some(line) = self.period.line() {
            report.error(line, "should not specify period when unlimited");
        }
        for (key, line) in self.about_counting() {
            report.error(line, format!("should not specify {key} when unlimited"));
        }
    }

    /// A negative number lifts a limit for a while, and the length of the window may stay for later; the rest would too,
    /// but a reader must not take it as effective.
    fn warn_where_negative(&self, report: &mut Report<'_>) {
        for (key, line) in self.about_counting() {
            report.warn(line, format!("'{key}' has no effect: a negative 'requests_per_unit' means unlimited"));
        }
    }

    /// The keys of the block that say how hits are counted, and their lines.
    fn about_counting(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let keys = [
            ("algorithm", self.algorithm.line()),
            ("starts", self.starts.line()),
            ("burst", self.burst.line()),
            ("queue", self.queue.line()),
            ("ban", self.ban.line()),
            ("count_denied", self.count_denied.line()),
        ];
        keys.into_iter().filter_map(|(key, line)| line.map(|line| (key, line)))
    }

    /// Charged on its own, a block with a ban never keeps the hits of a denied check: that check starts the ban, and the
    /// counter is fresh when it ends.
    pub(super) fn warn_where_banned(&self, report: &mut Report<'_>) {
        if let (Some(line), Some(_)) = (self.count_denied.line(), self.ban.line()) {
            report.warn(line, "'count_denied' has no effect together with 'ban': a denied check starts the ban, and the counter is fresh when it ends");
        }
    }

    /// The names of the limits that the block replaces, checked.
    pub(super) fn replaced(&self, report: &mut Report<'_>) -> Vec<String> {
        let mut names = Vec::new();
        for field in &self.replaces {
            let Field::Given(name, line) = field else { continue };
            if name.is_empty() {
                report.error(*line, "should not have an empty replaces entry");
            } else if !self.name.is_invalid() && self.name.given() == Some(name) {
                report.error(*line, "replaces should not contain name of same descriptor");
            }
            names.push(name.clone());
        }
        names
    }
}

/// The one algorithm that the reference has: there the hits of a denied check count.
const AS_THE_REFERENCE: Algorithm = Algorithm::FixedWindow { starts: Starts::Clock };

/// A bucket of that size, of one token at least; other algorithms have none.
fn with_burst(algorithm: Algorithm, size: u32) -> Algorithm {
    match algorithm {
        Algorithm::TokenBucket { queue, .. } => Algorithm::TokenBucket { burst: size.max(1), queue },
        other => other,
    }
}
