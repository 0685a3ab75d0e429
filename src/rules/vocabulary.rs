//! The first pass: the keys that exist, and where they are allowed.
//!
//! The reference checks every key of a file against one flat list, wherever the key is, and Tidegate has to accept the same
//! files: `domain` in a descriptor is accepted, and has no meaning. Keys that the reference does not have are accepted only
//! where they have a meaning. Keys that are reported here are removed from the tree, so that nothing is reported twice.

use std::collections::HashSet;

use super::report::Report;
use super::yaml::{Kind, Node, Pair, Value};
use super::{hint, quote};

/// Checks the keys of a whole file.
pub(super) fn check(root: &mut Node, report: &mut Report<'_>) {
    if let Kind::Map(pairs) = &mut root.kind {
        check_map(pairs, Place::Top, report);
        warn_about_name(pairs, report);
    }
}

/// Many files for the reference repeat the domain as `name` at the top level, which is harmless; a different name is reported.
fn warn_about_name(pairs: &[Pair], report: &mut Report<'_>) {
    let last = |key: &str| pairs.iter().rev().find(|pair| pair.key.as_text() == Some(key));
    let Some(name) = last("name") else { return };
    if last("domain").is_none_or(|domain| quote::value(&domain.value) != quote::value(&name.value)) {
        report.warn(name.key.line, ignored("name", Place::Top));
    }
}

fn ignored(key: &str, place: Place) -> String {
    format!("'{key}' has no meaning {} and is ignored", place.name())
}

/// The position of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The file's top level.
    Top,
    /// An element of `descriptors`.
    Descriptor,
    /// `rate_limit`, or an element of `rate_limits`.
    RateLimit,
    /// Anywhere else: no key has a meaning here, or only keys of the reference are allowed.
    Elsewhere,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Self::Top => "at the top level of a file",
            Self::Descriptor => "in a descriptor",
            Self::RateLimit => "in rate_limit",
            Self::Elsewhere => "here",
        }
    }
}

/// The keys of the reference, and where each has a meaning.
const REFERENCE: [(&str, &[Place]); 16] = [
    ("domain", &[Place::Top]),
    ("key", &[Place::Descriptor]),
    ("value", &[Place::Descriptor]),
    ("descriptors", &[Place::Top, Place::Descriptor]),
    ("rate_limit", &[Place::Descriptor]),
    ("unit", &[Place::RateLimit]),
    ("requests_per_unit", &[Place::RateLimit]),
    ("unlimited", &[Place::RateLimit]),
    ("shadow_mode", &[Place::Descriptor]),
    ("quota_mode", &[Place::Descriptor]),
    ("name", &[Place::RateLimit]),
    ("replaces", &[Place::RateLimit]),
    ("detailed_metric", &[Place::Descriptor]),
    ("value_to_metric", &[Place::Descriptor]),
    ("share_threshold", &[Place::Descriptor]),
    ("metadata", &[Place::Descriptor]),
];

/// The keys that the reference does not have, where each is allowed, and the same in words.
const OURS: [(&str, &[Place], &str); 14] = [
    ("rate_limits", &[Place::Descriptor], "a descriptor"),
    ("period", &[Place::RateLimit], "rate_limit"),
    ("algorithm", &[Place::RateLimit], "rate_limit"),
    ("starts", &[Place::RateLimit], "rate_limit"),
    ("burst", &[Place::RateLimit], "rate_limit"),
    ("queue", &[Place::RateLimit], "rate_limit"),
    ("ban", &[Place::RateLimit], "rate_limit"),
    ("count_denied", &[Place::RateLimit], "rate_limit"),
    ("enabled", &[Place::Top, Place::RateLimit], "rate_limit or the top level of a file"),
    ("sharing", &[Place::Top, Place::RateLimit], "rate_limit or the top level of a file"),
    ("charge", &[Place::Top], "the top level of a file"),
    ("response", &[Place::Top], "the top level of a file"),
    ("alerts", &[Place::Top], "the top level of a file"),
    ("usage", &[Place::Top], "the top level of a file"),
];

/// The keys that have a meaning in a place.
fn keys_of(place: Place) -> impl Iterator<Item = &'static str> {
    let reference = REFERENCE.iter().filter(move |(_, places)| places.contains(&place)).map(|(key, _)| *key);
    reference.chain(OURS.iter().filter(move |(_, places, _)| places.contains(&place)).map(|(key, ..)| *key))
}

/// The kind of a key in a place.
enum Word {
    Reference { meant: bool },
    Ours,
    Misplaced(&'static str),
    Unknown,
}

fn look_up(key: &str, place: Place) -> Word {
    if let Some((_, places)) = REFERENCE.iter().find(|(name, _)| *name == key) {
        return Word::Reference { meant: place == Place::Elsewhere || places.contains(&place) };
    }
    match OURS.iter().find(|(name, ..)| *name == key) {
        Some((_, places, _)) if places.contains(&place) => Word::Ours,
        Some((_, _, home)) => Word::Misplaced(home),
        None => Word::Unknown,
    }
}

/// If a key is given twice, only the last one is checked, as in the reference: it overrides the others.
fn check_map(pairs: &mut Vec<Pair>, place: Place, report: &mut Report<'_>) {
    let mut seen = HashSet::new();
    let mut kept: Vec<bool> = pairs
        .iter_mut()
        .rev()
        .map(|pair| {
            let first_met = seen.insert((pair.key.as_text().is_some(), quote::value(&pair.key)));
            !first_met || check_pair(pair, place, report)
        })
        .collect();
    pairs.retain(|_| kept.pop().unwrap_or(true));
}

/// Whether to keep the pair.
fn check_pair(pair: &mut Pair, place: Place, report: &mut Report<'_>) -> bool {
    let line = pair.key.line;
    let Some(key) = pair.key.as_text() else {
        report.error(line, hint::key_is_no_text(&pair.key));
        return false;
    };
    match look_up(key, place) {
        Word::Reference { meant } => {
            if meant {
                warn_if_empty(key, &pair.value, report);
            } else if !(key == "name" && place == Place::Top) {
                report.warn(line, ignored(key, place));
            }
            if key != "metadata" {
                let inside = inside(key, place);
                check_value(&mut pair.value, key, inside, report);
            }
            true
        }
        Word::Ours => {
            warn_if_empty(key, &pair.value, report);
            if key == "rate_limits" {
                check_value(&mut pair.value, key, Place::RateLimit, report);
            }
            true
        }
        Word::Misplaced(home) => {
            report.error(line, format!("'{key}' is not allowed {}: it is a key of {home}", place.name()));
            false
        }
        Word::Unknown => {
            report.error(line, hint::unknown_key(key, keys_of(place)));
            false
        }
    }
}

/// A key without a value is ignored. Template engines leave such keys when a variable is empty.
fn warn_if_empty(key: &str, value: &Node, report: &mut Report<'_>) {
    let consequence = match key {
        "value" => "so the descriptor matches any value",
        "rate_limit" | "rate_limits" => "so the descriptor limits nothing",
        "descriptors" => "so there are no descriptors here",
        // Errors of their own.
        "domain" | "key" | "unit" => return,
        _ => "so it has no effect",
    };
    if value.is_null() && key == "requests_per_unit" {
        report.warn(value.line, "'requests_per_unit' has no value, which means 0: every request will be denied");
    } else if value.is_null() {
        report.warn(value.line, format!("'{key}' has no value, {consequence}: give it one, or remove the key"));
    } else if key == "value" && value.as_text().is_some_and(str::is_empty) {
        report.warn(value.line, format!("'{key}' is an empty text, {consequence}: write the value, or remove the key"));
    }
}

/// The place of a key's value.
fn inside(key: &str, place: Place) -> Place {
    match (place, key) {
        (Place::Top | Place::Descriptor, "descriptors") => Place::Descriptor,
        (Place::Descriptor, "rate_limit") => Place::RateLimit,
        _ => Place::Elsewhere,
    }
}

fn check_value(value: &mut Node, key: &str, place: Place, report: &mut Report<'_>) {
    let invalid = match &mut value.kind {
        Kind::List(items) => {
            for item in items {
                check_item(item, place, report);
            }
            false
        }
        Kind::Map(pairs) => {
            check_map(pairs, place, report);
            false
        }
        Kind::Scalar(scalar) if matches!(scalar.value, Value::Float(_) | Value::Uint(_)) => {
            report.error(value.line, hint::unusable_number(key, &scalar.text));
            true
        }
        Kind::Scalar(_) | Kind::Invalid => false,
    };
    if invalid {
        value.kind = Kind::Invalid;
    }
}

fn check_item(item: &mut Node, place: Place, report: &mut Report<'_>) {
    if let Kind::Map(pairs) = &mut item.kind {
        check_map(pairs, place, report);
        return;
    }
    report.error(item.line, hint::element_is_no_map(item));
    item.kind = Kind::Invalid;
}
