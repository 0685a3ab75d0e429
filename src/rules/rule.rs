//! A rule: one node of the configuration that carries a limit.

use std::sync::Arc;

use super::Period;
use super::limit_spec::LimitSpec;
use super::pattern::{Joined, Pattern};
use super::sharing::Sharing;
use crate::engine::Limit;

/// A node of the configuration that carries a limit, or is explicitly unlimited.
#[allow(clippy::struct_excessive_bools)] // They are the switches of the configuration, each on its own.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The domain's name.
    pub domain: String,
    /// The configured path, as in `/rlconfig` and the metrics: `api.partner_acme.endpoint`.
    pub path: String,
    /// The rule's index in [`RuleSet::rules`](super::RuleSet::rules).
    pub index: usize,
    /// The levels from the domain down to this node, one for each entry of a matching descriptor.
    pub levels: Vec<Level>,
    /// The limits, all of which must allow a check. Unlimited ones are left out, disabled ones are not.
    pub limits: Vec<RuleLimit>,
    /// Every limit of this node is unlimited (then `limits` is empty).
    pub unlimited: bool,
    /// The names of the unlimited limits: they can be replaced like others.
    pub unlimited_names: Vec<String>,
    /// Names of the limits that this rule's limits, unlimited ones included, replace when both match one check.
    pub replaces: Vec<String>,
    /// Over-limit checks are admitted, and counted as shadow.
    pub shadow_mode: bool,
    /// Takes part in the quota rule: OVER_LIMIT only when every quota descriptor is over.
    pub quota_mode: bool,
    /// The metrics are by the values of every entry, not by the path.
    pub detailed_metric: bool,
    /// Returned in `dynamic_metadata` when the descriptor passes; a JSON object.
    pub metadata: Option<serde_json::Value>,
    /// The file that it is in.
    pub(super) file: Arc<str>,
    /// `sharing` of the domain, which holds for what its limits do not say.
    pub(super) domain_sharing: Sharing,
    /// The line of `shadow_mode`, if it is set.
    pub(super) shadow_line: Option<usize>,
    /// The blocks of its limits as written, from which settings derive limits with other values.
    pub(super) blocks: Arc<[LimitSpec]>,
}

impl Rule {
    /// The names of the rule's limits, by which other rules can replace them.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let limited = self.limits.iter().map(|limit| &*limit.name).filter(|name| !name.is_empty());
        limited.chain(self.unlimited_names.iter().map(|name| &**name))
    }
}

/// One of a rule's limits.
#[derive(Clone, Debug)]
pub struct RuleLimit {
    /// The place among the limits of the rule as written, from 1.
    pub place: usize,
    /// `name`, returned in `current_limit.name`; empty if it has none.
    pub name: String,
    /// False: the limit is ignored (but the rule's usage is still counted).
    pub enabled: bool,
    /// `requests_per_unit`, as statuses show it.
    pub requests_per_unit: u32,
    /// The window's length.
    pub period: Period,
    /// The limit for the engine.
    pub limit: Limit,
    /// `sharing` of the block.
    pub(super) sharing: Sharing,
}

/// One level of a rule's path.
#[derive(Clone, Debug)]
pub struct Level {
    /// The configured key, or pattern of keys.
    pub key: String,
    /// The configured value or pattern; empty when the level takes any value.
    pub value: String,
    /// The parts of the entry that belong to the counter's key, because the rule does not fix them.
    pub varies: Varies,
    /// The entry's value becomes a part of the metric's name.
    pub value_to_metric: bool,
    /// All values that match the pattern share one counter.
    pub share_threshold: bool,
}

impl Level {
    /// The level's text in paths: `key`, or `key_value`.
    pub fn text(&self) -> String {
        joined(&self.key, &self.value)
    }

    /// Whether an entry matches this level, if no other level at its place comes first. Cost: comparisons, and a few allocations
    /// for a pattern, which is not compared with a key or value of more than 500 bytes.
    pub(super) fn fits(&self, key: &str, value: &str) -> bool {
        let is_short = key.len().max(value.len()) <= MAX_COMPARED_BYTES;
        let pattern = |text: &str| Pattern::new(text).filter(|_| is_short);
        if self.key == key && (self.value.is_empty() || self.value == value) {
            return true;
        }
        if self.key.contains('*') {
            let (key, value) = (key.as_bytes(), value.as_bytes());
            return pattern(&self.text()).is_some_and(|pattern| pattern.matches(Joined { key, value }));
        }
        self.key == key && pattern(&self.value).is_some_and(|pattern| pattern.matches(value.as_bytes()))
    }
}

/// A configured key and value as paths spell them: `key`, or `key_value`.
pub(super) fn joined(key: &str, value: &str) -> String {
    if value.is_empty() { key.to_owned() } else { format!("{key}_{value}") }
}

/// Explanations compare the values of many rules with one text, each at a cost that grows with both.
pub(super) const MAX_COMPARED_BYTES: usize = 500;

/// The parts of an entry that the rule does not fix, each of which has a counter of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Varies {
    /// Nothing: an exact value, or a shared pattern.
    Nothing,
    /// The key: it is a pattern, and its values share a counter.
    Key,
    /// The value.
    Value,
    /// Key and value: the key is a pattern.
    KeyAndValue,
}

impl Varies {
    /// Whether the entry's key belongs to the counter's key.
    pub const fn key(self) -> bool {
        matches!(self, Self::Key | Self::KeyAndValue)
    }

    /// Whether the entry's value belongs to the counter's key.
    pub const fn value(self) -> bool {
        matches!(self, Self::Value | Self::KeyAndValue)
    }
}
