//! Matching step by step, and why it ended: what [`Domain::find`](super::Domain::find) does, for people.

use std::fmt;

use super::tree::{How, ROOT, Tree};
use super::{Entry, nearest_of};
use crate::sanitize::sanitize;

/// What one entry matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The level exactly as configured, `partner_acme`, `partner` or `path_/v1/*`; empty if nothing matched.
    pub text: String,
    /// How the entry matched it.
    pub how: How,
}

/// Why no rule was found. Texts in it are safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The descriptor has no entries.
    NoEntries,
    /// The domain has no rules.
    NoRules,
    /// Nothing at the level of an entry matches it.
    NoMatch {
        /// The path of the node whose children were looked at, without the domain; empty for the domain itself.
        at: String,
        /// The number of the entry, from 1.
        entry: usize,
        /// The entry's key.
        key: String,
        /// The entry's value.
        value: String,
        /// Whether the key is configured at this level, with other values.
        has_key: bool,
        /// The values that are configured for this key, or else the keys that are configured; the most similar first.
        configured: Shown,
    },
    /// The descriptor has more entries than there are levels.
    TooDeep {
        /// The path of the last node that matched, without the domain.
        at: String,
        /// The entries that are left.
        left: usize,
    },
    /// The node of the last entry has no limit.
    NoLimit {
        /// The path of the node, without the domain.
        at: String,
        /// The keys of the levels below it, in the order of the configuration.
        below: Shown,
        /// The path of the rule that the last entry would have matched, had this node not come first.
        instead_of: Option<String>,
    },
}

/// The first of several texts, and how many there are besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// At most 5 texts.
    pub texts: Vec<String>,
    /// How many more there are.
    pub more: usize,
}

/// Matches entries as [`Tree::find`] does: the steps, and the index of the rule or why there is none.
pub(super) fn walk(tree: &Tree, entries: &[Entry<'_>]) -> (Vec<Step>, Result<usize, Ended>) {
    let mut steps = Vec::new();
    let (mut parent, mut node) = (ROOT, ROOT);
    for entry in entries {
        let Some((child, how)) = tree.step(node, &entry.key, &entry.value) else {
            let ended = no_match(tree, node, &steps, entry, entries.len());
            steps.push(Step { text: String::new(), how: How::Nothing });
            return (steps, Err(ended));
        };
        steps.push(Step { text: tree.text(child).to_owned(), how });
        (parent, node) = (node, child);
    }
    let result = tree.rule(node).ok_or_else(|| match entries.last() {
        Some(last) => no_limit(tree, parent, node, &steps, last),
        None => Ended::NoEntries,
    });
    (steps, result)
}

fn no_match(tree: &Tree, node: usize, steps: &[Step], entry: &Entry<'_>, entries: usize) -> Ended {
    if tree.keys(node).next().is_none() {
        return match steps {
            [] => Ended::NoRules,
            _ => Ended::TooDeep { at: path(steps), left: entries.saturating_sub(steps.len()) },
        };
    }
    let mut values: Vec<&str> = tree.values(node, &entry.key).collect();
    values.sort_unstable();
    let has_key = !values.is_empty();
    let configured = if has_key {
        Shown::nearest(&entry.value, &values)
    } else {
        Shown::nearest(&entry.key, &tree.keys(node).collect::<Vec<_>>())
    };
    Ended::NoMatch {
        at: path(steps),
        entry: steps.len().saturating_add(1),
        key: sanitize(&entry.key),
        value: sanitize(&entry.value),
        has_key,
        configured,
    }
}

fn no_limit(tree: &Tree, parent: usize, node: usize, steps: &[Step], last: &Entry<'_>) -> Ended {
    let instead_of = tree.next_best(parent, &last.key, &last.value).map(|other| {
        let above = steps.split_last().map_or(&[][..], |(_, above)| above);
        let hidden = Step { text: tree.text(other).to_owned(), how: How::Default };
        path(&[above, &[hidden]].concat())
    });
    Ended::NoLimit { at: path(steps), below: Shown::first(&tree.keys(node).collect::<Vec<_>>()), instead_of }
}

fn path(steps: &[Step]) -> String {
    sanitize(&steps.iter().map(|step| &*step.text).collect::<Vec<_>>().join("."))
}

impl Shown {
    fn first(texts: &[&str]) -> Self {
        let shown: Vec<_> = texts.iter().take(MAX_SHOWN).map(|text| sanitize(text)).collect();
        Self { more: texts.len().saturating_sub(shown.len()), texts: shown }
    }

    /// The texts most similar to `found`; the first if that is too long to compare.
    fn nearest(found: &str, texts: &[&str]) -> Self {
        let nearest = nearest_of(found, texts.iter().copied(), MAX_SHOWN);
        let first = Self::first(if nearest.is_empty() { texts } else { &nearest });
        Self { more: texts.len().saturating_sub(first.texts.len()), ..first }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.texts.join(", "))?;
        if self.more > 0 { write!(f, " and {} more", self.more) } else { Ok(()) }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEntries => f.write_str("the descriptor has no entries"),
            Self::NoRules => f.write_str("the domain has no rules"),
            Self::NoMatch { at, entry, key, value, has_key, configured } => {
                write!(f, "nothing matches entry {entry}, '{key}={value}': ")?;
                let what = if *has_key { format!("values of '{key}'") } else { "keys".to_owned() };
                let place = if at.is_empty() { "in the domain".to_owned() } else { format!("below '{at}'") };
                write!(f, "the configured {what} {place} are {configured}")
            }
            Self::TooDeep { at, left } => {
                let left = if *left == 1 { "1 entry is".to_owned() } else { format!("{left} entries are") };
                write!(f, "the descriptor is deeper than the configuration at '{at}' ({left} left)")
            }
            Self::NoLimit { at, below, instead_of } => {
                write!(f, "'{at}' has no limit of its own")?;
                if !below.texts.is_empty() {
                    write!(f, ", its entries go on deeper (the levels below are {below})")?;
                }
                let Some(hidden) = instead_of else { return Ok(()) };
                write!(f, ", and the entry does not fall back to '{hidden}', because what is found first is final")
            }
        }
    }
}

/// An explanation is read at a glance.
const MAX_SHOWN: usize = 5;
