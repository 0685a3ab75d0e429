//! Rules and limits in words, for people.

use std::fmt::Write;

use super::{Period, Rule, RuleLimit};
use crate::engine::{Algorithm, Ban, BanWhen, Limit, Queue, QueueMode, Starts};

impl Rule {
    /// The rule in words: its limits, the limits it replaces and its flags, as in `10 per minute, shadow_mode`. Names of limits
    /// are quoted and escaped. Cost: a few allocations.
    pub fn words(&self) -> String {
        let limits: Vec<_> = self
            .limits
            .iter()
            .map(|limit| match self.sharing_words(limit) {
                Some(sharing) => format!("{}, {sharing}", limit.words()),
                None => limit.words(),
            })
            .collect();
        let mut words = vec![if self.unlimited { "unlimited".to_owned() } else { limits.join(" and ") }];
        if !self.replaces.is_empty() {
            words.push(format!("replaces {:?}", self.replaces));
        }
        let flags = [("shadow_mode", self.shadow_mode), ("quota_mode", self.quota_mode)];
        words.extend(flags.iter().filter(|(_, set)| *set).map(|(flag, _)| (*flag).to_owned()));
        words.join(", ")
    }
}

impl RuleLimit {
    /// The limit in words: number and period, then what differs from the defaults, as in `10 per second, sliding_log`.
    pub fn words(&self) -> String {
        let length = period(&self.period);
        let mut words = vec![format!("{} per {length}", self.requests_per_unit)];
        words.extend(algorithm(&self.limit));
        words.extend(self.limit.ban.map(ban));
        if !self.name.is_empty() {
            words.push(format!("name {:?}", self.name));
        }
        if !self.enabled {
            words.push("disabled".to_owned());
        }
        words.join(", ")
    }
}

impl RuleLimit {
    /// The limit for those who are limited by it: `15 requests per second, in bursts of at most 15, and 100 more may wait for
    /// their turn`. Cost: a few allocations.
    pub fn sentence(&self) -> String {
        let length = period(&self.period);
        let plural = if self.requests_per_unit == 1 { "" } else { "s" };
        let requests = format!("{} request{plural}", self.requests_per_unit);
        let mut text = match self.limit.algorithm {
            Algorithm::FixedWindow { starts: Starts::Clock | Starts::Calendar(_) } => {
                format!("{requests} per {length}")
            }
            Algorithm::FixedWindow { starts: Starts::FirstRequest } => {
                format!("{requests} per {length}, which begins with the first request")
            }
            Algorithm::SlidingLog => format!("{requests} in any {length}"),
            Algorithm::SlidingWindow => format!("{requests} in any {length}, estimated from two windows"),
            Algorithm::TokenBucket { burst, queue } => {
                let waiting = match queue.size {
                    0 => String::new(),
                    size => format!(", and {size} more may wait for their turn"),
                };
                format!("{requests} per {length}, in bursts of at most {burst}{waiting}")
            }
        };
        if let Some(Ban { length, when }) = self.limit.ban {
            let when = match when {
                BanWhen::Reached => "reached",
                BanWhen::Exceeded => "exceeded",
            };
            // Writing to a String does not fail.
            let _written = write!(text, "; when this is {when}, all requests are denied for {length}");
        }
        text
    }
}

/// A period in words: `minute`, `30s`, or `calendar month (Europe/Berlin)`.
fn period(period: &Period) -> String {
    match (period.calendar, period.unit) {
        (Some(calendar), _) => calendar.to_string(),
        (None, Some(unit)) if period.multiplier == 1 => unit.name().to_ascii_lowercase(),
        (None, _) => period.length.to_string(),
    }
}

/// The algorithm, unless it is the default.
fn algorithm(limit: &Limit) -> Option<String> {
    match limit.algorithm {
        Algorithm::FixedWindow { starts: Starts::Clock | Starts::Calendar(_) } => None,
        Algorithm::FixedWindow { starts: Starts::FirstRequest } => Some("from the first request".to_owned()),
        Algorithm::SlidingWindow => Some("sliding_window".to_owned()),
        Algorithm::SlidingLog => Some("sliding_log".to_owned()),
        Algorithm::TokenBucket { burst, queue: Queue { size: 0, .. } } => Some(format!("token_bucket, burst {burst}")),
        Algorithm::TokenBucket { burst, queue: Queue { size, mode } } => {
            let mode = match mode {
                QueueMode::Hold | QueueMode::HoldAtMost(_) => "hold",
                QueueMode::Advise => "advise",
            };
            Some(format!("token_bucket, burst {burst}, queue {size} ({mode})"))
        }
    }
}

fn ban(ban: Ban) -> String {
    let when = match ban.when {
        BanWhen::Reached => "reached",
        BanWhen::Exceeded => "exceeded",
    };
    format!("ban {} when {when}", ban.length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::CountDenied;
    use crate::rules::{LoadOptions, Period, SourceFile, Unit, load};
    use crate::units::Nanos;

    #[test]
    fn rules_are_reported_in_words() {
        let limit = "unit: day, requests_per_unit: 5";
        for (keys, expected) in [
            (format!("rate_limit: {{{limit}}}"), "5 per day"),
            (format!("rate_limit: {{{limit}, enabled: false}}"), "5 per day, disabled"),
            (format!("rate_limits: [{{{limit}, name: a}}, {{{limit}}}]"), "5 per day, name \"a\" and 5 per day"),
            ("rate_limit: {unlimited: true}, metadata: {}".to_owned(), "unlimited"),
            (
                format!("shadow_mode: true, quota_mode: true, rate_limit: {{{limit}, replaces: [{{name: b}}]}}"),
                "5 per day, replaces [\"b\"], shadow_mode, quota_mode",
            ),
        ] {
            let text = format!("domain: d\ndescriptors: [{{key: k, {keys}}}]").into_bytes();
            let set = load(&[SourceFile { name: "f".to_owned(), text }], LoadOptions::default()).unwrap();
            assert_eq!(set.rules()[0].words(), expected, "{keys}");
        }
    }

    #[test]
    fn limits_are_reported_in_words() {
        let clock = Algorithm::FixedWindow { starts: Starts::Clock };
        let first = Algorithm::FixedWindow { starts: Starts::FirstRequest };
        let bucket = |queue| Algorithm::TokenBucket { burst: 5, queue: Queue { size: queue, mode: QueueMode::Hold } };
        let banned = Ban { length: Nanos::SECOND, when: BanWhen::Reached };
        let cases = [
            (60, Some(Unit::Minute), 1, clock, None, "10 per minute"),
            (30, Some(Unit::Second), 30, clock, None, "10 per 30s"),
            (
                1,
                Some(Unit::Second),
                1,
                first,
                Some(banned),
                "10 per second, from the first request, ban 1s when reached",
            ),
            (1, Some(Unit::Second), 1, bucket(0), None, "10 per second, token_bucket, burst 5"),
            (1, Some(Unit::Second), 1, bucket(9), None, "10 per second, token_bucket, burst 5, queue 9 (hold)"),
            (90, Some(Unit::Second), 90, Algorithm::SlidingLog, None, "10 per 1m 30s, sliding_log"),
        ];
        for (seconds, unit, multiplier, algorithm, ban, expected) in cases {
            let length = Nanos::from_secs(seconds);
            let limit = RuleLimit {
                place: 1,
                name: String::new(),
                enabled: true,
                requests_per_unit: 10,
                period: Period { length, unit, multiplier, calendar: None },
                limit: Limit { max: 10, window: length, algorithm, ban, count_denied: CountDenied::Alone },
                sharing: crate::rules::Sharing::default(),
            };
            assert_eq!(limit.words(), expected);
        }
    }
}
