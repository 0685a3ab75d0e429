//! A `rate_limit` block -> the limit for the engine, or errors.

use super::field::{Field, Requests};
use super::limit_spec::{Kin, LimitSpec};
use super::period::PeriodSpec;
use super::report::Report;
use super::{Period, RuleLimit, SharingMode, Unit, hint};
use crate::calendar::Calendar;
use crate::engine::{Algorithm, BanWhen, CountDenied, Limit, Queue, QueueMode, Starts};

/// The largest limit of a `sliding_log`: a counter keeps 16 bytes for every hit, so 1 MiB at most.
const MAX_LOG: u32 = 65_536;

/// A valid block.
#[derive(Debug)]
pub(super) enum Block {
    /// A limit.
    Limited(RuleLimit),
    /// No limit.
    Unlimited,
}

impl LimitSpec {
    /// Whether the block is not disabled.
    pub(super) fn is_enabled(&self) -> bool {
        self.enabled.given().copied().unwrap_or(true)
    }

    /// The limit of the block, which is the rule's limit number `place`; `None` if the block has errors, which have been reported.
    pub(super) fn build(&self, place: usize, report: &mut Report<'_>) -> Option<Block> {
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
                report.warn(self.line, "'requests_per_unit' is missing, which means 0: every request will be denied");
                0
            }
        };
        let (period, algorithm) = (period?, algorithm?);
        self.reject_long_log(max, report);
        let sharing = self.sharing.given().cloned().unwrap_or_default();
        let limit = Limit {
            max,
            window: period.length,
            algorithm: following(with_burst(algorithm, self.burst.given().copied().unwrap_or(max)), &period),
            ban: self.ban.given().copied(),
            count_denied: self.counts_denied(algorithm),
        };
        self.reject_unshareable(&limit, report);
        Some(Block::Limited(RuleLimit {
            place,
            name,
            enabled: self.is_enabled(),
            requests_per_unit: max,
            period,
            limit,
            sharing,
        }))
    }

    fn counts_denied(&self, algorithm: Algorithm) -> CountDenied {
        match self.count_denied.given() {
            Some(true) => CountDenied::Always,
            None if algorithm == AS_THE_REFERENCE && !self.counts_no_denied => CountDenied::Alone,
            Some(false) | None => CountDenied::Never,
        }
    }

    /// The length of the window. An unlimited block has none; there the reference rejects only a valid unit.
    fn window(&self, report: &mut Report<'_>) -> Option<Period> {
        let text = self.unit.given().map_or("", String::as_str);
        let line = self.unit.line().unwrap_or(self.line);
        let unit = Unit::named(text);
        if let Some(period_line) = self.period.line().filter(|_| !text.is_empty()) {
            report.error(period_line, "'unit' and 'period' both set the length of the window: keep one of them");
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
        if let Some(spec) = self.period.given() {
            return Some(spec.period());
        }
        let negative = self.requests.given() == Some(&Requests::Unlimited);
        if unit.is_none() && !(negative && text.is_empty()) {
            report.error(line, hint::no_unit(text));
        }
        unit.map(|unit| match unit {
            Unit::Month if self.has_calendar_months && self.is_as_in_the_reference() => {
                Period::from_calendar(Calendar::utc_months())
            }
            unit => Period::from_units(unit, 1),
        })
    }

    /// Whether it has fixed windows that begin by the clock, the only ones of the reference.
    fn is_as_in_the_reference(&self) -> bool {
        let is_fixed = self.algorithm.given().is_none_or(|kin| *kin == Kin::FixedWindow);
        is_fixed && self.starts.given() != Some(&Starts::FirstRequest)
    }

    /// The algorithm. Keys of other algorithms are reported.
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
                    format!("'{key}' belongs to algorithm {home}, but this limit has {name}: change the algorithm or remove '{key}'"),
                );
            }
        }
        self.reject_early_ban(kin, report);
        self.reject_calendar(kin, report);
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

    /// Windows of a calendar differ in length, and begin when the calendar says.
    fn reject_calendar(&self, kin: Kin, report: &mut Report<'_>) {
        let Field::Given(PeriodSpec::Calendar(_), line) = &self.period else { return };
        if kin != Kin::FixedWindow {
            let name = kin.name();
            report.error(
                *line,
                format!("a calendar belongs to algorithm fixed_window, but this limit has {name}: give 'period' a length such as 30d, or remove 'algorithm'"),
            );
        } else if self.starts.given() == Some(&Starts::FirstRequest) {
            let line = self.starts.line().unwrap_or(*line);
            report.error(line, "windows of a calendar begin with its days, not with a request: give 'period' a length such as 30d, or remove 'starts'");
        }
    }

    fn reject_early_ban(&self, kin: Kin, report: &mut Report<'_>) {
        if let Field::Given(ban, line) = &self.ban
            && kin == Kin::TokenBucket
            && ban.when == BanWhen::Reached
        {
            let length = ban.length;
            report.error(
                *line,
                format!("token_bucket supports a ban only with 'when: exceeded': write ban: {{for: {length}, when: exceeded}}"),
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

    /// A limit that is to be shared needs a period that a store can measure.
    fn reject_unshareable(&self, limit: &Limit, report: &mut Report<'_>) {
        let Field::Given(sharing, line) = &self.sharing else { return };
        let is_shared = matches!(sharing.mode, Some(SharingMode::Exact | SharingMode::Leased));
        if let Some(why) = limit.why_not_shared().filter(|_| is_shared) {
            report.error(*line, format!("this limit cannot be shared: {why}"));
        }
    }

    /// An unlimited block counts nothing, so a key about counting is a mistake.
    fn reject_where_unlimited(&self, report: &mut Report<'_>) {
        if let Some(line) = self.period.line() {
            report.error(line, "should not specify period when unlimited");
        }
        for (key, line) in self.about_counting() {
            report.error(line, format!("should not specify {key} when unlimited"));
        }
    }

    /// A negative number lifts a limit temporarily, so the length of the window may stay for later. Other keys may stay too, but
    /// readers should know that they have no effect.
    fn warn_where_negative(&self, report: &mut Report<'_>) {
        for (key, line) in self.about_counting() {
            report.warn(line, format!("'{key}' has no effect: a negative 'requests_per_unit' means unlimited"));
        }
    }

    /// The keys of the block about how hits are counted, and their lines.
    fn about_counting(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let keys = [
            ("algorithm", self.algorithm.line()),
            ("starts", self.starts.line()),
            ("burst", self.burst.line()),
            ("queue", self.queue.line()),
            ("ban", self.ban.line()),
            ("count_denied", self.count_denied.line()),
            ("sharing", self.sharing.line()),
        ];
        keys.into_iter().filter_map(|(key, line)| line.map(|line| (key, line)))
    }

    /// Charged on its own, a limit with a ban never keeps the hits of a denied check: that check starts the ban, and the counter
    /// starts from zero when the ban ends.
    pub(super) fn warn_where_banned(&self, report: &mut Report<'_>) {
        if let (Some(line), Some(_)) = (self.count_denied.line(), self.ban.line()) {
            report.warn(line, "'count_denied' has no effect with 'ban': a denied check starts the ban, and the counter starts from zero when it ends");
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

/// The only algorithm of the reference, in which the hits of a denied check count.
const AS_THE_REFERENCE: Algorithm = Algorithm::FixedWindow { starts: Starts::Clock };

/// Has windows follow the calendar of a period, if it has one.
fn following(algorithm: Algorithm, period: &Period) -> Algorithm {
    match (algorithm, period.calendar) {
        (Algorithm::FixedWindow { .. }, Some(calendar)) => {
            Algorithm::FixedWindow { starts: Starts::Calendar(calendar) }
        }
        (algorithm, _) => algorithm,
    }
}

/// Sets the size of a token bucket, at least one token; other algorithms have no bucket.
fn with_burst(algorithm: Algorithm, size: u32) -> Algorithm {
    match algorithm {
        Algorithm::TokenBucket { queue, .. } => Algorithm::TokenBucket { burst: size.max(1), queue },
        other => other,
    }
}
