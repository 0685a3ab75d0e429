//! Entries, limits and instants in words, as the view and its questions write them.

use crate::api::proto::tidegate::v1::{Entry, LimitInForce};
use crate::cli::admin::time::length;

/// An entry as on the command line: `user=alice`.
pub(super) fn entry_text(Entry { key, value }: &Entry) -> String {
    format!("{key}={value}")
}

/// A limit: `10/1m`, `2d` without a number of the period's unit is `10/2days`.
pub(super) fn limit_text(limit: &LimitInForce) -> String {
    let period = || limit.period.as_ref().map(length).unwrap_or_default();
    let period = if limit.calendar.is_empty() { period() } else { limit.calendar.clone() };
    format!("{}/{period}", limit.requests_per_unit)
}

/// The limits of a rule: the first one, and how many more there are; `unlimited` without any.
pub(super) fn limits_text(limits: &[LimitInForce]) -> String {
    match limits {
        [] => "unlimited".to_owned(),
        [limit] => limit_text(limit),
        [first, rest @ ..] => format!("{} +{}", limit_text(first), rest.len()),
    }
}

/// What of the limits is not as configured: `off`, `shadow`, `set`, or nothing.
pub(super) fn state_of_limits(limits: &[LimitInForce]) -> String {
    let all = |is: fn(&LimitInForce) -> bool| !limits.is_empty() && limits.iter().all(is);
    let states = [
        (all(|limit| !limit.enabled), "off"),
        (all(|limit| limit.shadow_mode), "shadow"),
        (limits.iter().any(|limit| limit.set), "set"),
    ];
    let states: Vec<_> = states.into_iter().filter(|(is, _)| *is).map(|(_, state)| state).collect();
    states.join(" ")
}

/// A word of a command line as a shell reads it.
pub(super) fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// An entry as the value of `--entry`, in which a comma and a backslash are escaped.
pub(super) fn entry_flag(Entry { key, value }: &Entry) -> String {
    let escaped = |text: &str, also: &[char]| {
        let mut escaped = String::new();
        for c in text.chars() {
            if also.contains(&c) {
                escaped.push('\\');
            }
            escaped.push(c);
        }
        escaped
    };
    let (key, value) = (escaped(key, &['\\', ',', '=']), escaped(value, &['\\', ',', '"']));
    format!("--entry {}", shell_word(&format!("{key}={value}")))
}

#[cfg(test)]
mod tests {
    use prost_types::Duration;

    use super::*;
    use crate::cli::descriptor::parse_entry;

    #[test]
    fn limits() {
        let limit = |requests_per_unit, seconds| LimitInForce {
            requests_per_unit,
            period: Some(Duration { seconds, nanos: 0 }),
            enabled: true,
            ..LimitInForce::default()
        };
        let calendar = || "calendar month (UTC)".to_owned();
        let off = LimitInForce { enabled: false, set: true, ..limit(3, 3_600) };
        let cases = [
            (vec![], "unlimited", ""),
            (vec![LimitInForce { calendar: calendar(), ..limit(5, 9) }], "5/calendar month (UTC)", ""),
            (vec![limit(10, 60)], "10/1m", ""),
            (vec![limit(10, 60), off.clone()], "10/1m +1", "set"),
            (vec![off], "3/1h", "off set"),
            (vec![LimitInForce { shadow_mode: true, ..limit(1, 1) }], "1/1s", "shadow"),
        ];
        for (limits, text, state) in cases {
            assert_eq!((limits_text(&limits).as_str(), state_of_limits(&limits).as_str()), (text, state));
        }
    }

    #[test]
    fn entries_of_commands_are_read_back() {
        for (key, value, flag) in [
            ("user", "ann", "--entry user=ann"),
            ("user", "", "--entry user="),
            ("user", "O'Hara", r"--entry 'user=O'\''Hara'"),
            ("a=b", "\"x\",\\y $HOME", r#"--entry 'a\=b=\"x\"\,\\y $HOME'"#),
        ] {
            let entry = Entry { key: key.to_owned(), value: value.to_owned() };
            assert_eq!(entry_flag(&entry), flag);
            let word = flag.strip_prefix("--entry ").unwrap();
            let word = word.strip_prefix('\'').and_then(|word| word.strip_suffix('\'')).unwrap_or(word);
            assert_eq!(parse_entry(&word.replace(r"'\''", "'")), Ok(entry));
        }
    }
}
