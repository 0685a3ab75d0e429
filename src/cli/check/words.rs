//! Rules in words, for the output of `check`.

use crate::engine::{Algorithm, Ban, BanWhen, Limit, Queue, QueueMode, Starts};
use crate::rules::{Rule, RuleLimit};

/// A count with its noun.
pub(super) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The rule in words: `10 per minute, shadow_mode`.
pub(super) fn described(rule: &Rule) -> String {
    let limits: Vec<_> = rule.limits.iter().map(limit).collect();
    let mut words = vec![if rule.unlimited { "unlimited".to_owned() } else { limits.join(" and ") }];
    if !rule.replaces.is_empty() {
        words.push(format!("replaces {:?}", rule.replaces));
    }
    let flags = [("shadow_mode", rule.shadow_mode), ("quota_mode", rule.quota_mode)];
    words.extend(flags.iter().filter(|(_, set)| *set).map(|(flag, _)| (*flag).to_owned()));
    words.join(", ")
}

/// One limit in words.
pub(super) fn limit(limit: &RuleLimit) -> String {
    let period = &limit.period;
    let length = match period.unit {
        Some(unit) if period.multiplier == 1 => unit.name().to_ascii_lowercase(),
        _ => period.length.to_string(),
    };
    let mut words = vec![format!("{} per {length}", limit.requests_per_unit)];
    words.extend(algorithm(&limit.limit));
    words.extend(limit.limit.ban.map(ban));
    if !limit.name.is_empty() {
        words.push(format!("name {:?}", limit.name));
    }
    if !limit.enabled {
        words.push("disabled".to_owned());
    }
    words.join(", ")
}

/// The algorithm, unless it is the default.
fn algorithm(limit: &Limit) -> Option<String> {
    match limit.algorithm {
        Algorithm::FixedWindow { starts: Starts::Clock } => None,
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
    use crate::rules::{Period, Unit};
    use crate::units::Nanos;

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
            let reported = limit(&RuleLimit {
                name: String::new(),
                enabled: true,
                requests_per_unit: 10,
                period: Period { length, unit, multiplier },
                limit: Limit { max: 10, window: length, algorithm, ban, count_denied: CountDenied::Alone },
            });
            assert_eq!(reported, expected);
        }
    }
}
