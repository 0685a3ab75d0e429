//! A rule: one node of the configuration that carries a limit.

use super::Period;
use crate::engine::Limit;

/// A node of the configuration that carries a limit (or says that there is none).
#[allow(clippy::struct_excessive_bools)] // They are the switches of the configuration, each on its own.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The domain's name.
    pub domain: String,
    /// The configured path, as `/rlconfig` and the metrics spell it: `api.partner_acme.endpoint`.
    pub path: String,
    /// The rule's place in [`RuleSet::rules`](super::RuleSet::rules).
    pub index: usize,
    /// The levels from the domain down to this node, one for each entry of a matching descriptor.
    pub levels: Vec<Level>,
    /// The limits, all of which must allow; those that say unlimited are left out, disabled ones are not.
    pub limits: Vec<RuleLimit>,
    /// Every limit of this node says unlimited (`limits` is empty then).
    pub unlimited: bool,
    /// The names of the limits that say unlimited: they can be replaced like any other.
    pub unlimited_names: Vec<String>,
    /// Names of the limits that this rule's limits, unlimited ones included, replace when both match one check.
    pub replaces: Vec<String>,
    /// Over-limit checks are admitted, and counted as shadow.
    pub shadow_mode: bool,
    /// Takes part in the quota rule: OVER_LIMIT only when every quota descriptor is over.
    pub quota_mode: bool,
    /// Metrics by the values of every entry, not by the path.
    pub detailed_metric: bool,
    /// Returned in `dynamic_metadata` when the descriptor passes; a JSON object.
    pub metadata: Option<serde_json::Value>,
}

impl Rule {
    /// The names of the rule's limits, by which others can replace them.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let limited = self.limits.iter().map(|limit| &*limit.name).filter(|name| !name.is_empty());
        limited.chain(self.unlimited_names.iter().map(|name| &**name))
    }
}

/// One of a rule's limits.
#[derive(Clone, Debug)]
pub struct RuleLimit {
    /// `name`, echoed in `current_limit.name`; empty when it has none.
    pub name: String,
    /// False: as if it were not there (the rule's usage is still counted).
    pub enabled: bool,
    /// `requests_per_unit`, as statuses show it.
    pub requests_per_unit: u32,
    /// The window's length.
    pub period: Period,
    /// What the engine decides by.
    pub limit: Limit,
}

/// One level of a rule's path.
#[derive(Clone, Debug)]
pub struct Level {
    /// The configured key, or pattern of keys.
    pub key: String,
    /// The configured value or pattern; empty when the level takes any value.
    pub value: String,
    /// What of the entry belongs to the counter's identity, being not fixed by the rule.
    pub varies: Varies,
    /// The entry's value becomes part of the metric's name.
    pub value_to_metric: bool,
    /// All values that match the pattern share one counter.
    pub share_threshold: bool,
}

impl Level {
    /// The level's text in paths: `key`, or `key_value`.
    pub fn text(&self) -> String {
        if self.value.is_empty() { self.key.clone() } else { format!("{}_{}", self.key, self.value) }
    }
}

/// What of an entry the rule leaves open, so that each has a counter of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Varies {
    /// Nothing: an exact value, or a shared pattern.
    Nothing,
    /// The key: it is a pattern, whose values are shared.
    Key,
    /// The value.
    Value,
    /// Key and value: the key is a pattern.
    KeyAndValue,
}

impl Varies {
    /// Whether the entry's key belongs to the counter's identity.
    pub const fn key(self) -> bool {
        matches!(self, Self::Key | Self::KeyAndValue)
    }

    /// Whether the entry's value does.
    pub const fn value(self) -> bool {
        matches!(self, Self::Value | Self::KeyAndValue)
    }
}
