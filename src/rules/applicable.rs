//! The rules that apply to a caller of whom some entries are known: what is shown to one who asks for the limits.

use std::fmt;

use super::rule::joined;
use super::tree::ROOT;
use super::{Domain, Entry, Level, Rule, Varies};
use crate::sanitize::sanitize;

/// A rule that applies to checks with some known entries.
#[derive(Clone, Debug)]
pub struct Applicable<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// What the rule counts for at each of its levels, from the domain down.
    pub levels: Vec<LevelFor<'a>>,
}

/// What a rule's counters are for at one level. The texts are as configured and as given: untrusted, not yet safe to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LevelFor<'a> {
    /// The entry is known.
    Known {
        /// Its key.
        key: &'a str,
        /// Its value.
        value: &'a str,
    },
    /// The rule is for one value, and the caller's is not known.
    Fixed {
        /// The key.
        key: &'a str,
        /// The value.
        value: &'a str,
    },
    /// Each value has a counter of its own.
    Each {
        /// The key, or a pattern of keys.
        key: &'a str,
        /// The pattern of the values; empty for any value.
        pattern: &'a str,
    },
    /// All values that match a pattern share a counter (`share_threshold`), whether or not the caller's is known.
    Shared {
        /// The key, or a pattern of keys, each of which has a counter of its own.
        key: &'a str,
        /// The pattern of the values; empty for any value.
        pattern: &'a str,
    },
}

impl Domain {
    /// Every rule that applies to checks that hold the `known` entries, keys and values, in the order of the configuration: each of
    /// the rules that descriptors with at least one of these entries can match; all rules of the domain if nothing is known. `rules`
    /// are the [`RuleSet::rules`](super::RuleSet::rules) that the domain is part of.
    ///
    /// At a level whose key is known, only the node counts that matching would choose; other keys are followed to every node. If a
    /// key is given several times, each of its values is followed.
    ///
    /// Cost: linear in the nodes of the domain, with look-ups as in [`find`](Self::find) for each known entry at each of them; the
    /// caller bounds how many and how long these are.
    pub fn applicable<'a>(&'a self, rules: &'a [Rule], known: &'a [(String, String)]) -> Vec<Applicable<'a>> {
        let mut found = Vec::new();
        let mut open: Vec<Branch<'a>> = vec![Branch { node: ROOT, entries: Vec::new() }];
        while let Some(branch) = open.pop() {
            let rule = self.tree.rule(branch.node).and_then(|index| rules.get(index));
            let has_known = known.is_empty() || branch.entries.iter().any(Option::is_some);
            found.extend(rule.filter(|_| has_known).map(|rule| branch.applicable(rule)));
            open.extend(self.below(&branch, known));
        }
        found.sort_by_key(|applicable| applicable.rule.index);
        found
    }

    /// The children of a branch's node that descriptors with the known entries can reach.
    fn below<'a>(&'a self, branch: &Branch<'a>, known: &'a [(String, String)]) -> Vec<Branch<'a>> {
        let chosen: Vec<_> = known
            .iter()
            .filter_map(|(key, value)| Some((self.tree.step(branch.node, key, value)?.0, (&**key, &**value))))
            .collect();
        let children = self.tree.children(branch.node).filter_map(|(key, child)| {
            let is_pattern = key.contains('*');
            let entry = chosen.iter().find(|(node, _)| *node == child).map(|(_, entry)| *entry);
            // A pattern of keys is there for others than the entry that an outer level already has.
            let entry = entry.filter(|_| !is_pattern || !branch.entries.contains(&entry));
            let is_open = || is_pattern || !known.iter().any(|(known, _)| known == key);
            (entry.is_some() || is_open())
                .then(|| Branch { node: child, entries: [&*branch.entries, &[entry]].concat() })
        });
        children.collect()
    }
}

/// A node on the way down, with the known entry of each level above it, if there is one.
struct Branch<'a> {
    node: usize,
    entries: Vec<Option<(&'a str, &'a str)>>,
}

impl<'a> Branch<'a> {
    fn applicable(&self, rule: &'a Rule) -> Applicable<'a> {
        let levels = rule.levels.iter().zip(&self.entries);
        Applicable { rule, levels: levels.map(|(level, entry)| LevelFor::of(level, *entry)).collect() }
    }
}

impl<'a> LevelFor<'a> {
    /// The entry, if its value is known or fixed.
    pub fn entry(&self) -> Option<Entry<'a>> {
        match *self {
            Self::Known { key, value } | Self::Fixed { key, value } => {
                Some(Entry { key: key.into(), value: value.into() })
            }
            Self::Each { .. } | Self::Shared { .. } => None,
        }
    }

    fn of(level: &'a Level, known: Option<(&'a str, &'a str)>) -> Self {
        let (key, value) = (&*level.key, &*level.value);
        match known {
            _ if level.share_threshold => Self::Shared { key, pattern: value },
            Some((key, value)) => Self::Known { key, value },
            None if level.varies == Varies::Nothing => Self::Fixed { key, value },
            None => Self::Each { key, pattern: value },
        }
    }
}

/// For people, with untrusted text made safe: `partner=acme`, `for each endpoint`, `shared by every path like /v1/*`.
impl fmt::Display for LevelFor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Known { key, value } | Self::Fixed { key, value } => {
                write!(f, "{}={}", sanitize(key), sanitize(value))
            }
            Self::Each { key, pattern } => write!(f, "for each {}", like(key, pattern)),
            Self::Shared { key, pattern } => {
                let of_one_key = if key.contains('*') { " with the same key" } else { "" };
                write!(f, "shared by every {}{of_one_key}", like(key, pattern))
            }
        }
    }
}

fn like(key: &str, pattern: &str) -> String {
    match (key.contains('*'), pattern) {
        (true, _) => format!("entry like {}", sanitize(&joined(key, pattern))),
        (false, "") => sanitize(key),
        (false, _) => format!("{} like {}", sanitize(key), sanitize(pattern)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{LoadOptions, SourceFile, load};

    /// Checks what applies to known entries, `key=value key=value`: for each rule its path and levels.
    #[track_caller]
    fn check(descriptors: &str, rows: &[(&str, &[&str])]) {
        let descriptors = descriptors.replace(" R", " rate_limit: {unit: day, requests_per_unit: 1}");
        let text = format!("domain: d\ndescriptors: {descriptors}").into_bytes();
        let other = b"domain: other\ndescriptors: [{key: partner, rate_limit: {unit: day}}]".to_vec();
        let files = [other, text].map(|text| SourceFile { name: "f".to_owned(), text });
        let set = load(&files, LoadOptions::default()).unwrap_or_else(|errors| panic!("{descriptors}\n{errors:#?}"));
        for (row, expected) in rows {
            let known = row.split_whitespace().filter_map(|entry| entry.split_once('='));
            let known: Vec<_> = known.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            let found = set.domain("d").unwrap().applicable(set.rules(), &known);
            let shown = found.iter().map(|applicable| {
                let levels: Vec<_> = applicable.levels.iter().map(ToString::to_string).collect();
                format!("{}: {}", applicable.rule.path.trim_start_matches("d."), levels.join(", "))
            });
            assert_eq!(shown.collect::<Vec<_>>(), *expected, "{row}");
        }
    }

    #[test]
    fn a_known_key_is_followed_as_matching_would_and_others_to_every_node() {
        check(
            "[{key: partner, R, descriptors: [{key: endpoint, R}]}, {key: partner, value: acme, R}, {key: partner, \
             value: free}, {key: region, value: eu, descriptors: [{key: partner, R}]}, {key: user, R}]",
            &[
                ("partner=acme", &["partner_acme: partner=acme", "region_eu.partner: region=eu, partner=acme"]),
                (
                    "partner=beta",
                    &[
                        "partner: partner=beta",
                        "partner.endpoint: partner=beta, for each endpoint",
                        "region_eu.partner: region=eu, partner=beta",
                    ],
                ),
                ("partner=free", &["region_eu.partner: region=eu, partner=free"]),
                ("endpoint=/pay region=us", &["partner.endpoint: for each partner, endpoint=/pay"]),
                ("region=eu", &["region_eu.partner: region=eu, for each partner"]),
                ("unknown=1", &[]),
            ],
        );
    }

    #[test]
    fn everything_applies_if_nothing_is_known() {
        check(
            "[{key: a, value: x, R, descriptors: [{key: b, R}]}, {key: a, R}]",
            &[("", &["a_x: a=x", "a_x.b: a=x, for each b", "a: for each a"])],
        );
    }

    #[test]
    fn patterns_of_values_apply_where_they_are_first() {
        check(
            "[{key: path, value: '/v1/*', R}, {key: path, value: '/v1/pay', R}, {key: path, value: '/*', share_threshold: \
             true, R, descriptors: [{key: user, R}]}, {key: path, R}]",
            &[
                ("path=/v1/x", &["path_/v1/*: path=/v1/x"]),
                ("path=/v1/pay", &["path_/v1/pay: path=/v1/pay"]),
                (
                    "path=/x",
                    &[
                        "path_/*: shared by every path like /*",
                        "path_/*.user: shared by every path like /*, for each user",
                    ],
                ),
                ("path=x", &["path: path=x"]),
                ("user=u", &["path_/*.user: shared by every path like /*, user=u"]),
                ("path=x path=/v1/x", &["path_/v1/*: path=/v1/x", "path: path=x"]),
            ],
        );
    }

    #[test]
    fn patterns_of_keys_match_known_entries_and_stay_open_for_others() {
        check(
            "[{key: 'a*', R}, {key: ab, value: x, R}, {key: 'b*', value: 'y*', share_threshold: true, R}, {key: c, \
             descriptors: [{key: '*', R}]}]",
            &[
                ("ab=x", &["ab_x: ab=x", "c.*: for each c, ab=x"]),
                ("ab=z", &["a*: ab=z", "c.*: for each c, ab=z"]),
                ("bc=yz", &["b*_y*: shared by every entry like b*_y* with the same key", "c.*: for each c, bc=yz"]),
                ("c=1", &["c.*: c=1, for each entry like *"]),
            ],
        );
    }

    #[test]
    fn untrusted_text_is_escaped() {
        let shown = LevelFor::Known { key: "k", value: "a\nb" }.to_string();
        assert_eq!(shown, "k=a\\nb");
    }
}
