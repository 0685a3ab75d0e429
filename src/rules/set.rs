//! A whole configuration, immutable, and matching of descriptors with it.

use std::collections::HashMap;

use super::tree::{How, ROOT, Tree};
use super::{Alert, ConfigError, Origin, Response, Rule, Sharing};

/// One entry of a descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The key, such as `partner`.
    pub key: std::borrow::Cow<'a, str>,
    /// The value, such as `acme`.
    pub value: std::borrow::Cow<'a, str>,
}

impl<'a> Entry<'a> {
    /// Pairs of keys and values as entries.
    pub fn borrowed(pairs: &'a [(String, String)]) -> Vec<Self> {
        pairs.iter().map(|(key, value)| Self { key: key.into(), value: value.into() }).collect()
    }
}

/// The content of a whole configuration.
#[derive(Debug, Default)]
pub struct RuleSet {
    domains: Vec<Domain>,
    by_name: HashMap<String, usize, ahash::RandomState>,
    rules: Vec<Rule>,
    warnings: Vec<ConfigError>,
    /// A month of a request override is one of the calendar.
    calendar_months: bool,
    source: [u8; 32],
}

impl RuleSet {
    /// A set of these domains and rules. The names must be unique, and each rule's index must be its position.
    pub(super) fn new(domains: Vec<Domain>, rules: Vec<Rule>, warnings: Vec<ConfigError>) -> Self {
        let by_name = domains.iter().enumerate().map(|(at, domain)| (domain.name.clone(), at)).collect();
        Self { domains, by_name, rules, warnings, calendar_months: false, source: [0; 32] }
    }

    /// The same, with months of request overrides by the calendar or of 30 days.
    pub(super) fn with_calendar_months(self, calendar_months: bool) -> Self {
        Self { calendar_months, ..self }
    }

    /// Whether a month of a request override is one of the calendar, in place of 30 days.
    pub fn has_calendar_months(&self) -> bool {
        self.calendar_months
    }

    /// The same, with what tells its source from others.
    pub(super) fn with_source(self, source: [u8; 32]) -> Self {
        Self { source, ..self }
    }

    /// A digest of what it was read from, without the names of files: equal in each process with the same rules.
    pub fn source(&self) -> &[u8; 32] {
        &self.source
    }

    /// The domain of that name. Cost: one hash look-up, or one comparison if there is only one domain.
    pub fn domain(&self, name: &str) -> Option<&Domain> {
        match &*self.domains {
            [only] => (only.name == name).then_some(only),
            domains => domains.get(*self.by_name.get(name)?),
        }
    }

    /// Every domain, in the order of the configuration.
    pub fn domains(&self) -> impl Iterator<Item = &Domain> {
        self.domains.iter()
    }

    /// Every rule, in the order of the configuration; `rules()[i].index == i`.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Every rule with this path: usually one. Cost: a comparison for each rule.
    pub fn rules_named<'r>(&'r self, path: &'r str) -> impl Iterator<Item = &'r Rule> {
        self.rules.iter().filter(move |rule| rule.path == path)
    }

    /// Parts that are allowed but probably mistakes, in the order of files and lines: a key that has no meaning where it is, a
    /// limit without a number.
    pub fn warnings(&self) -> &[ConfigError] {
        &self.warnings
    }
}

/// How the descriptors of one check are charged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Charge {
    /// Each on its own, whatever the outcome of the others (as in the reference).
    #[default]
    Independent,
    /// All or none.
    AllOrNothing,
}

/// One domain.
#[derive(Debug)]
pub struct Domain {
    /// The name.
    pub name: String,
    /// False: no rule of the domain limits anything.
    pub enabled: bool,
    /// Where `enabled` is set.
    pub(super) enabled_at: Option<Origin>,
    /// How the descriptors of one check are charged.
    pub charge: Charge,
    /// The parts of answers besides the decision.
    pub response: Response,
    /// The alerts about checks that are denied too often; names are unique.
    pub alerts: Vec<Alert>,
    /// The entry keys by whose values requests are counted: unique, usually none.
    pub usage_by: Vec<String>,
    /// How the counters of its limits are shared, where they do not say it.
    pub sharing: Option<Sharing>,
    pub(super) tree: Tree,
}

impl Domain {
    /// The rule for a descriptor's entries, if one matches. `rules` are the [`RuleSet::rules`] that the domain is part of.
    ///
    /// At each level the exact value is looked up, then the first pattern in the order of the configuration, then the key's
    /// default. What is found first is final, and the last entry must lead to the node of the rule.
    ///
    /// Cost: hash look-ups per level, however many rules there are, and no allocation. Patterns add one look-up for each pair of
    /// lengths of their literal prefixes and suffixes, and a comparison for each pattern with the prefix and suffix of the text.
    pub fn find<'r>(&'r self, rules: &'r [Rule], entries: &[Entry<'_>]) -> Option<Match<'r>> {
        let index = self.tree.find(entries.iter().map(|entry| (&*entry.key, &*entry.value)))?;
        rules.get(index).map(|rule| Match { rule })
    }

    /// How the entries of a descriptor match, level by level, up to the first that matches nothing: each with the text of the level
    /// as configured, `key` or `key_value`. Cost: as [`find`](Self::find).
    pub fn levels<'d>(&'d self, entries: &[Entry<'_>]) -> impl Iterator<Item = (How, &'d str)> {
        let mut node = ROOT;
        entries.iter().map_while(move |entry| {
            let (child, how) = self.tree.step(node, &entry.key, &entry.value)?;
            node = child;
            Some((how, self.tree.text(child)))
        })
    }

    /// The nodes below the domain, in the order of the configuration, with those that carry no limit.
    pub fn nodes(&self) -> Vec<DomainNode<'_>> {
        self.nodes_below(ROOT)
    }

    fn nodes_below(&self, parent: usize) -> Vec<DomainNode<'_>> {
        let mut children: Vec<_> = self.tree.children(parent).collect();
        // Nodes are numbered in the order in which they were read.
        children.sort_unstable_by_key(|(_, child)| *child);
        let value = |key: &str, child| self.tree.text(child).strip_prefix(key)?.strip_prefix('_');
        let nodes = children.into_iter().map(|(key, child)| DomainNode {
            key,
            value: value(key, child).unwrap_or(""),
            rule: self.tree.rule(child),
            children: self.nodes_below(child),
        });
        nodes.collect()
    }
}

/// A node of a domain.
#[derive(Clone, Debug)]
pub struct DomainNode<'d> {
    /// The configured key, or pattern of keys.
    pub key: &'d str,
    /// The configured value or pattern; empty: any.
    pub value: &'d str,
    /// The index of its rule, if it has one.
    pub rule: Option<usize>,
    /// The nodes below it.
    pub children: Vec<DomainNode<'d>>,
}

/// What a descriptor matched.
#[derive(Clone, Copy, Debug)]
pub struct Match<'r> {
    /// The rule.
    pub rule: &'r Rule,
}
