//! The nodes of one domain, and the step from a node to the child that an entry matches.

use std::collections::HashMap;

use super::pattern::{Joined, Pattern, Patterns};
use super::rule::joined;

/// Up to this number of keys below a node, comparing them one by one is faster than hashing the entry's key.
const FEW_KEYS: usize = 8;

/// The nodes of one domain; the first is the domain itself.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
}

/// One node: a place in the configuration.
#[derive(Debug, Default)]
struct Node {
    /// `key`, or `key_value`; empty for the domain itself.
    text: Box<str>,
    rule: Option<usize>,
    children: Children,
}

/// The children of a node, by key.
#[derive(Debug, Default)]
struct Children {
    keys: Vec<KeyChildren>,
    /// Key -> its index in `keys`, if there are many.
    by_key: HashMap<Box<str>, usize, ahash::RandomState>,
    /// The patterns whose key has a `*`: they match `key_value`.
    key_patterns: Patterns,
}

/// The children of a node that have one key.
#[derive(Debug)]
struct KeyChildren {
    key: Box<str>,
    /// Every configured value, patterns included: an entry may have the pattern as its literal value.
    values: HashMap<Box<str>, usize, ahash::RandomState>,
    /// The patterns whose value has a `*`.
    patterns: Patterns,
    /// The child for any value.
    default: Option<usize>,
}

/// How an entry matches a configured key and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It has the configured key and value.
    Exact,
    /// It matches a pattern with `*`.
    Pattern,
    /// It has the key, which is configured for any value.
    Default,
    /// Nothing that is configured at this level matches it.
    Nothing,
}

/// The node of the domain itself.
pub(super) const ROOT: usize = 0;

impl Default for Tree {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl Tree {
    /// The rule of the node that the entries lead to.
    ///
    /// As in the reference: at each level the exact value, else the first pattern, else the key's default. What is found first is
    /// final, and the depth must be the same.
    pub(super) fn find<'e>(&self, entries: impl Iterator<Item = (&'e str, &'e str)>) -> Option<usize> {
        let mut at = self.nodes.first()?;
        for (key, value) in entries {
            at = self.nodes.get(at.children.find(key, value)?.0)?;
        }
        at.rule
    }

    /// The child of a node that an entry matches, as [`find`](Self::find) does at each level.
    pub(super) fn step(&self, node: usize, key: &str, value: &str) -> Option<(usize, How)> {
        self.nodes.get(node)?.children.find(key, value)
    }

    /// The child that an entry would match, had it not matched something better: the next that has a rule, of the first pattern and
    /// the default.
    pub(super) fn next_best(&self, node: usize, key: &str, value: &str) -> Option<usize> {
        let (found, how) = self.step(node, key, value)?;
        let children = &self.nodes.get(node)?.children;
        let of_key = children.for_key(key);
        let pattern = children.first_pattern(of_key, key, value).filter(|_| how == How::Exact);
        let default = of_key.and_then(|children| children.default);
        pattern.into_iter().chain(default).find(|&child| child != found && self.rule(child).is_some())
    }

    /// The index of a node's rule, if it has one.
    pub(super) fn rule(&self, node: usize) -> Option<usize> {
        self.nodes.get(node)?.rule
    }

    /// The node's last level as configured, `key` or `key_value`; empty for the domain itself.
    pub(super) fn text(&self, node: usize) -> &str {
        self.nodes.get(node).map_or("", |node| &node.text)
    }

    /// The keys below a node, patterns among them, in the order of the configuration.
    pub(super) fn keys(&self, node: usize) -> impl Iterator<Item = &str> {
        self.nodes.get(node).into_iter().flat_map(|node| &node.children.keys).map(|children| &*children.key)
    }

    /// The children of a node, with the key of each: by key, and within a key in no particular order.
    pub(super) fn children(&self, node: usize) -> impl Iterator<Item = (&str, usize)> {
        let keys = self.nodes.get(node).into_iter().flat_map(|node| &node.children.keys);
        keys.flat_map(|children| {
            let all = children.values.values().chain(&children.default);
            all.map(|&child| (&*children.key, child))
        })
    }

    /// The values that are configured for one key below a node, patterns among them, in no particular order.
    pub(super) fn values(&self, node: usize, key: &str) -> impl Iterator<Item = &str> {
        let children = self.nodes.get(node).and_then(|node| node.children.for_key(key));
        children.into_iter().flat_map(|children| children.values.keys()).map(|value| &**value)
    }

    /// Adds a node without attaching it to a parent.
    pub(super) fn detached(&mut self, rule: Option<usize>) -> usize {
        self.nodes.push(Node { rule, ..Node::default() });
        self.nodes.len().saturating_sub(1)
    }

    /// Makes `child` the last child of `parent`, for a configured key and value.
    pub(super) fn attach(&mut self, parent: usize, key: &str, value: &str, child: usize) {
        if let Some(node) = self.nodes.get_mut(parent) {
            node.children.add(key, value, child);
        }
        if let Some(node) = self.nodes.get_mut(child) {
            node.text = joined(key, value).into();
        }
    }
}

impl Children {
    fn find(&self, key: &str, value: &str) -> Option<(usize, How)> {
        let children = self.for_key(key);
        if let Some(&exact) = children.and_then(|children| children.values.get(value)) {
            return Some((exact, How::Exact));
        }
        if let Some(pattern) = self.first_pattern(children, key, value) {
            return Some((pattern, How::Pattern));
        }
        Some((children?.default?, How::Default))
    }

    /// Patterns of values and of keys have a common order, that of the configuration, which is the order of the nodes.
    fn first_pattern(&self, children: Option<&KeyChildren>, key: &str, value: &str) -> Option<usize> {
        let by_value = children.and_then(|children| children.patterns.find(value.as_bytes()));
        let by_key = self.key_patterns.find(Joined { key: key.as_bytes(), value: value.as_bytes() });
        match (by_value, by_key) {
            (Some(by_value), Some(by_key)) => Some(by_value.min(by_key)),
            (by_value, by_key) => by_value.or(by_key),
        }
    }

    fn for_key(&self, key: &str) -> Option<&KeyChildren> {
        if self.by_key.is_empty() {
            return self.keys.iter().find(|children| *children.key == *key);
        }
        self.keys.get(*self.by_key.get(key)?)
    }

    fn add(&mut self, key: &str, value: &str, child: usize) {
        let in_key = key.contains('*');
        if let Some(pattern) = Pattern::new(&joined(key, value)).filter(|_| in_key) {
            self.key_patterns.push(pattern, child);
        }
        let Some(children) = self.for_key_mut(key) else { return };
        if value.is_empty() {
            children.default = Some(child);
            return;
        }
        children.values.insert(value.into(), child);
        if let Some(pattern) = Pattern::new(value).filter(|_| !in_key) {
            children.patterns.push(pattern, child);
        }
    }

    fn for_key_mut(&mut self, key: &str) -> Option<&mut KeyChildren> {
        let known = match self.by_key.get(key) {
            Some(&at) => Some(at),
            None => self.keys.iter().take(FEW_KEYS).position(|children| *children.key == *key),
        };
        let at = known.unwrap_or_else(|| self.add_key(key));
        self.keys.get_mut(at)
    }

    fn add_key(&mut self, key: &str) -> usize {
        let at = self.keys.len();
        let (values, patterns) = (HashMap::default(), Patterns::default());
        self.keys.push(KeyChildren { key: key.into(), values, patterns, default: None });
        if self.keys.len() > FEW_KEYS {
            if self.by_key.is_empty() {
                self.by_key.extend(self.keys.iter().enumerate().map(|(at, children)| (children.key.clone(), at)));
            }
            self.by_key.insert(key.into(), at);
        }
        at
    }
}
