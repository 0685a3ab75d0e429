//! The rules that a descriptor nearly matches, each with what keeps it from matching.

use std::cmp::Ordering;
use std::fmt;

use super::nearest::Letters;
use super::rule::MAX_COMPARED_BYTES;
use super::{Entry, How, Level, Rule, Step, nearest};
use crate::sanitize::sanitize;

/// A rule that a descriptor nearly matches.
#[derive(Clone, Debug)]
pub struct NearMiss<'r> {
    /// The rule.
    pub rule: &'r Rule,
    /// Why the descriptor does not match it.
    pub reason: MissReason,
}

/// Why a descriptor does not match a rule. Texts in it are safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MissReason {
    /// Every entry fits, but something else at the same level comes first.
    Hidden {
        /// What comes first, as configured.
        by: String,
    },
    /// The entries are those of the rule, in another order.
    OtherOrder {
        /// The keys in the order of the rule.
        keys: Vec<String>,
    },
    /// One key is spelled differently.
    SimilarKey {
        /// The configured key.
        key: String,
        /// The entry's key.
        found: String,
    },
    /// The rule is for more entries.
    NeedsAlso {
        /// The levels that no entry is for, `key` or `key=value`.
        levels: Vec<String>,
    },
    /// The rule is for fewer entries.
    HasOnly {
        /// The rule's levels, `key` or `key=value`.
        levels: Vec<String>,
        /// The keys of the entries that the rule has no level for.
        also: Vec<String>,
    },
    /// The rule is for another value.
    OtherValue {
        /// The key.
        key: String,
        /// The configured value or pattern.
        value: String,
        /// The entry's value.
        found: String,
    },
}

/// At most 5 rules that the entries nearly match, the nearest first. `steps` and `found` are what the entries matched.
///
/// Cost: for most rules a comparison of numbers or of two keys.
pub(super) fn near_misses<'r>(
    rules: impl Iterator<Item = &'r Rule>,
    entries: &[Entry<'_>],
    steps: &[Step],
    found: Option<&Rule>,
) -> Vec<NearMiss<'r>> {
    let others = rules.filter(|rule| found.is_none_or(|found| found.index != rule.index));
    let mut misses: Vec<(u8, usize, Miss, &Rule)> = others
        .filter_map(|rule| {
            let miss = Miss::of(&rule.levels, entries)?;
            let (class, distance) = miss.rank(&rule.levels, entries);
            (found.is_none() || miss.is_of_same_entries()).then_some((class, distance, miss, rule))
        })
        .collect();
    misses.sort_by_key(|&(class, distance, ..)| (class, distance));
    let reasons = misses.into_iter().filter_map(|(.., miss, rule)| {
        let reason = miss.reason(&rule.levels, entries, steps)?;
        Some(NearMiss { rule, reason })
    });
    reasons.take(MAX_NEAR_MISSES).collect()
}

/// What keeps a rule from matching, before it is put in words.
#[derive(Clone, Copy)]
enum Miss {
    Hidden,
    OtherOrder,
    /// The key of the level at this place is spelled differently.
    SimilarKey(usize),
    NeedsAlso,
    HasOnly,
    /// The value of the level at this place is another.
    OtherValue(usize),
}

impl Miss {
    fn of(levels: &[Level], entries: &[Entry<'_>]) -> Option<Self> {
        if levels.len().abs_diff(entries.len()) > MAX_MISSING {
            return None;
        }
        match levels.len().cmp(&entries.len()) {
            Ordering::Equal => Self::of_same_length(levels, entries),
            Ordering::Greater => left_over(entries, levels, |entry, level| fits(level, entry)).map(|_| Self::NeedsAlso),
            Ordering::Less => left_over(levels, entries, fits).map(|_| Self::HasOnly),
        }
    }

    fn of_same_length(levels: &[Level], entries: &[Entry<'_>]) -> Option<Self> {
        let mut wrong = levels.iter().zip(entries).enumerate().filter(|(_, (level, entry))| !fits(level, entry));
        let Some((at, (level, entry))) = wrong.next() else { return Some(Self::Hidden) };
        if wrong.next().is_some() {
            return is_permuted(levels, entries).then_some(Self::OtherOrder);
        }
        if level.key == entry.key {
            return (entry.value.len() <= MAX_COMPARED_BYTES).then_some(Self::OtherValue(at));
        }
        let is_similar = nearest(&entry.key, std::iter::once(&*level.key)).is_some();
        (is_similar && level.fits(&level.key, &entry.value)).then_some(Self::SimilarKey(at))
    }

    /// Whether the rule is one that the same entries could have reached, had they been in its order or as many.
    const fn is_of_same_entries(self) -> bool {
        !matches!(self, Self::SimilarKey(_) | Self::OtherValue(_))
    }

    /// The nearest first: by what would have to change, and within that by how much.
    fn rank(self, levels: &[Level], entries: &[Entry<'_>]) -> (u8, usize) {
        let missing = levels.len().abs_diff(entries.len());
        match self {
            Self::Hidden => (0, 0),
            Self::OtherOrder => (1, 0),
            Self::SimilarKey(_) => (2, 0),
            Self::OtherValue(at) => {
                let pair = levels.get(at).zip(entries.get(at));
                let differences =
                    pair.map_or(usize::MAX, |(level, entry)| Letters::of(&entry.value).differences(&level.value));
                // As near as a key with a typing error, or the furthest of all.
                (if differences <= 2 { 2 } else { 5 }, differences)
            }
            Self::NeedsAlso => (3, missing),
            Self::HasOnly => (4, missing),
        }
    }

    fn reason(self, levels: &[Level], entries: &[Entry<'_>], steps: &[Step]) -> Option<MissReason> {
        Some(match self {
            Self::Hidden => {
                let mut pairs = steps.iter().zip(levels);
                let (step, _) = pairs.find(|(step, level)| step.text != level.text())?;
                let by = Some(step).filter(|step| step.how != How::Nothing)?;
                MissReason::Hidden { by: sanitize(&by.text) }
            }
            Self::OtherOrder => {
                MissReason::OtherOrder { keys: levels.iter().map(|level| sanitize(&level.key)).collect() }
            }
            Self::SimilarKey(at) => {
                MissReason::SimilarKey { key: sanitize(&levels.get(at)?.key), found: sanitize(&entries.get(at)?.key) }
            }
            Self::NeedsAlso => {
                let left = left_over(entries, levels, |entry, level| fits(level, entry))?;
                MissReason::NeedsAlso { levels: left.into_iter().map(shown).collect() }
            }
            Self::HasOnly => MissReason::HasOnly {
                levels: levels.iter().map(shown).collect(),
                also: left_over(levels, entries, fits)?.into_iter().map(|entry| sanitize(&entry.key)).collect(),
            },
            Self::OtherValue(at) => {
                let (level, entry) = (levels.get(at)?, entries.get(at)?);
                MissReason::OtherValue {
                    key: sanitize(&level.key),
                    value: sanitize(&level.value),
                    found: sanitize(&entry.value),
                }
            }
        })
    }
}

fn fits(level: &Level, entry: &Entry<'_>) -> bool {
    level.fits(&entry.key, &entry.value)
}

/// What is left of `many` if each of `few` takes the first after the one before that fits it; nothing if one finds none.
fn left_over<'m, F, M>(few: &[F], many: &'m [M], fits: impl Fn(&F, &M) -> bool) -> Option<Vec<&'m M>> {
    let mut few = few.iter().peekable();
    let mut left = Vec::new();
    for item in many {
        if few.peek().is_some_and(|next| fits(next, item)) {
            few.next();
        } else if left.len() == MAX_MISSING {
            return None;
        } else {
            left.push(item);
        }
    }
    few.peek().is_none().then_some(left)
}

/// Whether each level has an entry of its own that fits it, in some order.
fn is_permuted(levels: &[Level], entries: &[Entry<'_>]) -> bool {
    let mut free: Vec<&Entry<'_>> = entries.iter().collect();
    levels.iter().all(|level| {
        let at = free.iter().position(|entry| fits(level, entry));
        at.map(|at| free.swap_remove(at)).is_some()
    })
}

fn shown(level: &Level) -> String {
    if level.value.is_empty() {
        return sanitize(&level.key);
    }
    format!("{}={}", sanitize(&level.key), sanitize(&level.value))
}

impl fmt::Display for MissReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hidden { by } => write!(f, "'{by}' comes first, and what is found first is final"),
            Self::OtherOrder { keys } => write!(f, "needs the order {}", keys.join(", ")),
            Self::SimilarKey { key, found } => write!(f, "needs the key '{key}', not '{found}'"),
            Self::NeedsAlso { levels } => write!(f, "needs also {}", levels.join(", ")),
            Self::HasOnly { levels, also } => {
                write!(f, "has only {}, the descriptor also has {}", levels.join(", "), also.join(", "))
            }
            Self::OtherValue { key, value, found } => write!(f, "needs '{key}={value}', not '{key}={found}'"),
        }
    }
}

/// An explanation is read at a glance.
const MAX_NEAR_MISSES: usize = 5;

/// A rule with more levels or fewer is not near.
const MAX_MISSING: usize = 3;
