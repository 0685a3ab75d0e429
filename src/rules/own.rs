//! The values of the keys that the reference does not have. Null is the same as an absent key.

use super::field::Field;
use super::report::Report;
use super::yaml::{Kind, Node, Pair, Value};
use super::{duration, hint};
use crate::units::Nanos;

/// One of the given words.
pub(super) fn word<T: Copy>(node: &Node, key: &str, words: &[(&str, T)], report: &mut Report<'_>) -> Field<T> {
    let wanted = || format!("one of {}", words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", "));
    let found = node.as_text().and_then(|text| words.iter().find(|(word, _)| *word == text));
    match found {
        Some((_, value)) => Field::Given(*value, node.line),
        None => unfit(node, key, &wanted(), report),
    }
}

/// A whole number from `least` to 4,294,967,295.
pub(super) fn whole(node: &Node, key: &str, least: u32, report: &mut Report<'_>) -> Field<u32> {
    match integer(node).and_then(|int| u32::try_from(int).ok()).filter(|&number| number >= least) {
        Some(number) => Field::Given(number, node.line),
        None => unfit(node, key, &format!("a whole number from {least} to {}", u32::MAX), report),
    }
}

/// A boolean.
pub(super) fn flag(node: &Node, key: &str, report: &mut Report<'_>) -> Field<bool> {
    match &node.kind {
        Kind::Scalar(scalar) if let Value::Bool(set) = scalar.value => Field::Given(set, node.line),
        _ => unfit(node, key, "true or false", report),
    }
}

/// A length of time.
pub(super) fn length(node: &Node, key: &str, report: &mut Report<'_>) -> Field<Nanos> {
    if node.is_null() {
        return Field::Absent;
    }
    Field::from(duration::read(node, key, report), node.line)
}

/// A text.
pub(super) fn text(node: &Node, key: &str, report: &mut Report<'_>) -> Field<String> {
    match node.as_text() {
        Some(text) => Field::Given(text.to_owned(), node.line),
        None => unfit(node, key, "a text", report),
    }
}

/// Calls `take` with each key and value of a map, and reports the keys that it does not take.
pub(super) fn map<'n>(
    pairs: &'n [Pair],
    report: &mut Report<'_>,
    take: impl FnMut(&str, &'n Node, &mut Report<'_>) -> bool,
) {
    map_of(pairs, &[], report, take);
}

/// As [`map`], with the names of the keys that `take` takes, to suggest one for a misspelt key.
pub(super) fn map_of<'n>(
    pairs: &'n [Pair],
    known: &[&str],
    report: &mut Report<'_>,
    mut take: impl FnMut(&str, &'n Node, &mut Report<'_>) -> bool,
) {
    for Pair { key, value } in pairs {
        match key.as_text() {
            Some(text) if take(text, value, report) => {
                if value.is_null() {
                    report.warn(
                        key.line,
                        format!("'{text}' has no value, so it has no effect: give it one, or remove the key"),
                    );
                }
            }
            // A secret may be where a key belongs.
            Some(text) if report.is_discreet() && !is_like_a_key(text) => {
                report.error(key.line, "config error, unknown key");
            }
            Some(text) => report.error(key.line, hint::unknown_key(text, known.iter().copied())),
            None if report.is_discreet() => report.error(key.line, "config error, key is not of type string"),
            None => report.error(key.line, hint::key_is_no_text(key)),
        }
    }
}

/// Whether a text looks like a misspelt key, and like no token or password.
fn is_like_a_key(text: &str) -> bool {
    text.len() <= 24 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte == b'-')
}

/// Reports a value that is not valid for its key; null is absent, and not reported.
pub(super) fn unfit<T>(node: &Node, key: &str, wanted: &str, report: &mut Report<'_>) -> Field<T> {
    if node.is_null() {
        return Field::Absent;
    }
    if !matches!(node.kind, Kind::Invalid) {
        report.error(node.line, format!("'{key}' must be {wanted}{}", report.found(node)));
    }
    Field::Invalid
}

/// The value of a node that is an integer.
pub(super) fn integer(node: &Node) -> Option<i64> {
    match &node.kind {
        Kind::Scalar(scalar) => match scalar.value {
            Value::Int(int) => Some(int),
            _ => None,
        },
        _ => None,
    }
}
