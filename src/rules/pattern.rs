//! Patterns with `*`, and the search for the first that matches.
//!
//! Patterns are indexed by the text before their first `*` and after their last one. A text has one prefix and one suffix of
//! given lengths, so a search costs one hash look-up for each pair of lengths in use, and a comparison with the few patterns
//! that share both.

use std::collections::HashMap;

/// A pattern: literal texts separated by `*`, each for any number of bytes.
#[derive(Debug)]
pub(super) struct Pattern {
    prefix: Box<[u8]>,
    middles: Box<[Box<[u8]>]>,
    suffix: Box<[u8]>,
}

/// A text to match, which need not be contiguous in memory.
pub(super) trait Text: Copy {
    /// Its length in bytes.
    fn len(self) -> usize;
    /// The byte at `at`; `None` beyond the end.
    fn byte(self, at: usize) -> Option<u8>;
}

impl Text for &[u8] {
    fn len(self) -> usize {
        self.len()
    }

    fn byte(self, at: usize) -> Option<u8> {
        self.get(at).copied()
    }
}

/// The text `key_value`, without joining the two in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Joined<'a> {
    /// The part before the `_`.
    pub(super) key: &'a [u8],
    /// The part after the `_`.
    pub(super) value: &'a [u8],
}

impl Text for Joined<'_> {
    fn len(self) -> usize {
        self.key.len().saturating_add(1).saturating_add(self.value.len())
    }

    fn byte(self, at: usize) -> Option<u8> {
        match at.checked_sub(self.key.len()) {
            None => self.key.get(at).copied(),
            Some(0) => Some(b'_'),
            Some(beyond) => self.value.get(beyond.saturating_sub(1)).copied(),
        }
    }
}

/// Whether a configured value, which may be a pattern, matches a text.
pub(super) fn matches(configured: &str, text: &str) -> bool {
    configured == text || Pattern::new(configured).is_some_and(|pattern| pattern.matches(text.as_bytes()))
}

impl Pattern {
    /// The pattern of a text; `None` if it has no `*`.
    pub(super) fn new(text: &str) -> Option<Self> {
        let (prefix, rest) = text.split_once('*')?;
        let (middles, suffix) = rest.rsplit_once('*').unwrap_or(("", rest));
        let middles = middles.split('*').filter(|middle| !middle.is_empty());
        Some(Self {
            prefix: prefix.as_bytes().into(),
            middles: middles.map(|middle| middle.as_bytes().into()).collect(),
            suffix: suffix.as_bytes().into(),
        })
    }

    /// Whether the whole text matches. Each middle part is matched as far left as possible, which finds a match if there is one.
    pub(super) fn matches(&self, text: impl Text) -> bool {
        let Some(end) = text.len().checked_sub(self.suffix.len()) else { return false };
        let mut at = self.prefix.len();
        if at > end || !is_at(text, 0, &self.prefix) || !is_at(text, end, &self.suffix) {
            return false;
        }
        for middle in &self.middles {
            let Some(latest) = end.checked_sub(middle.len()) else { return false };
            let Some(found) = (at..=latest).find(|&at| is_at(text, at, middle)) else { return false };
            at = found.saturating_add(middle.len());
        }
        true
    }

    fn lengths(&self) -> (usize, usize) {
        (self.prefix.len(), self.suffix.len())
    }
}

/// Patterns in order, each with the node that it leads to.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    patterns: Vec<(Pattern, usize)>,
    /// Ordered by the first pattern of each group.
    groups: Vec<Group>,
}

/// The patterns with a prefix and a suffix of the same lengths.
#[derive(Debug)]
struct Group {
    prefix_len: usize,
    suffix_len: usize,
    earliest: usize,
    /// Hash of prefix and suffix -> the patterns with that hash, in order. They still have to be compared.
    by_ends: HashMap<u64, Vec<usize>, ahash::RandomState>,
}

impl Patterns {
    /// Adds a pattern at the end.
    pub(super) fn push(&mut self, pattern: Pattern, node: usize) {
        let order = self.patterns.len();
        let (prefix_len, suffix_len) = pattern.lengths();
        let ends = hash_ends(&pattern.prefix, &pattern.suffix);
        self.patterns.push((pattern, node));
        let known =
            self.groups.iter().position(|group| (group.prefix_len, group.suffix_len) == (prefix_len, suffix_len));
        let at = known.unwrap_or_else(|| {
            self.groups.push(Group { prefix_len, suffix_len, earliest: order, by_ends: HashMap::default() });
            self.groups.len().saturating_sub(1)
        });
        if let Some(group) = self.groups.get_mut(at) {
            group.by_ends.entry(ends).or_default().push(order);
        }
    }

    /// The node of the first pattern that matches. No allocation.
    pub(super) fn find(&self, text: impl Text) -> Option<usize> {
        let mut best: Option<usize> = None;
        for group in &self.groups {
            if best.is_some_and(|best| best < group.earliest) {
                break;
            }
            let fits = text.len().checked_sub(group.prefix_len).is_some_and(|rest| rest >= group.suffix_len);
            if !fits {
                continue;
            }
            let Some(orders) = group.by_ends.get(&group.hash(text)) else { continue };
            let found =
                orders.iter().copied().find(|&order| self.patterns.get(order).is_some_and(|(p, _)| p.matches(text)));
            best = match (best, found) {
                (Some(best), Some(found)) => Some(best.min(found)),
                (best, found) => best.or(found),
            };
        }
        self.patterns.get(best?).map(|&(_, node)| node)
    }
}

impl Group {
    /// The hash of the prefix and the suffix of a text, with the lengths of this group.
    fn hash(&self, text: impl Text) -> u64 {
        let suffix = text.len().saturating_sub(self.suffix_len)..text.len();
        let hash = (0..self.prefix_len).filter_map(|at| text.byte(at)).fold(FNV_BASIS, fnv);
        suffix.filter_map(|at| text.byte(at)).fold(hash, fnv)
    }
}

/// FNV-1a over prefix and suffix. It need not resist attacks: the patterns are the operator's, and a text that only collides
/// with one costs one comparison.
fn hash_ends(prefix: &[u8], suffix: &[u8]) -> u64 {
    prefix.iter().chain(suffix).copied().fold(FNV_BASIS, fnv)
}

const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;

fn fnv(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
}

fn is_at(text: impl Text, at: usize, literal: &[u8]) -> bool {
    literal.iter().enumerate().all(|(offset, &byte)| text.byte(at.saturating_add(offset)) == Some(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_the_whole_text() {
        for (pattern, matching, others) in [
            ("*", &["", "a", "*"][..], &[][..]),
            ("a*", &["a", "ab"], &["", "b", "ba"]),
            ("*a", &["a", "ba"], &["", "ab"]),
            ("a*a", &["aa", "aba"], &["a", ""]),
            ("a*b*c", &["abc", "axbxc", "abbcc"], &["ac", "acb", "ab", "cba"]),
            ("*ab*ab*", &["abab", "xabxabx"], &["ab", "aab", "aba"]),
            ("a**b", &["ab", "axb"], &["a"]),
            ("ab*bc", &["abbc", "abxbc"], &["abc"]),
            ("*aab*", &["aab", "aaab", "xaaabx"], &["aaa", "ab"]),
        ] {
            let compiled = Pattern::new(pattern).unwrap();
            for text in matching {
                assert!(compiled.matches(text.as_bytes()), "{pattern} should match {text:?}");
            }
            for text in others {
                assert!(!compiled.matches(text.as_bytes()), "{pattern} should not match {text:?}");
            }
        }
        assert!(Pattern::new("abc").is_none());
    }

    #[test]
    fn a_joined_text_is_key_underscore_value() {
        let joined = Joined { key: b"ab", value: b"cd" };
        let bytes: Vec<u8> = (0..).map_while(|at| joined.byte(at)).collect();
        assert_eq!((bytes.as_slice(), joined.len()), (&b"ab_cd"[..], 5));
    }

    #[test]
    fn the_first_pattern_in_order_wins() {
        for (order, text, expected) in [
            (&["a*", "ab*", "*b"][..], "ab", Some(0)),
            (&["ab*", "a*", "*b"], "ab", Some(0)),
            (&["x*", "*b", "a*"], "ab", Some(1)),
            (&["ab*c", "a*bc", "*"], "abbc", Some(0)),
            (&["a*x*c", "a*y*c", "a*c"], "ayc", Some(1)),
            (&["a*x*c", "a*y*c", "a*c"], "ac", Some(2)),
            (&["a*"], "b", None),
            (&[], "b", None),
        ] {
            let mut patterns = Patterns::default();
            for (node, pattern) in order.iter().enumerate() {
                patterns.push(Pattern::new(pattern).unwrap(), node);
            }
            assert_eq!(patterns.find(text.as_bytes()), expected, "{order:?} {text}");
        }
    }
}
