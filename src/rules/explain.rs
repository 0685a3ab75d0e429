//! Why a descriptor has the rule that it has, or none.

use super::near_miss::near_misses;
use super::walk::walk;
use super::{Domain, Ended, Entry, NearMiss, Rule, Step};

/// What a descriptor's entries match, and why.
#[derive(Clone, Debug)]
pub struct Explanation<'r> {
    /// What each entry matched, until matching ended: the last step matched nothing, or is that of the last entry.
    pub steps: Vec<Step>,
    /// The rule, the same that [`Domain::find`] returns.
    pub rule: Option<&'r Rule>,
    /// Why there is no rule, if there is none.
    pub ended: Option<Ended>,
    /// At most 5 other rules that the descriptor nearly matches, the nearest first. If a rule was found, only those that the same
    /// entries could have reached.
    pub near_misses: Vec<NearMiss<'r>>,
}

impl Domain {
    /// Matches entries as [`find`](Self::find) does, and explains the result. `rules` are the
    /// [`RuleSet::rules`](super::RuleSet::rules) that the domain is part of.
    ///
    /// Cost: linear in the number of rules and of keys and values at the level where matching ends; for operators, not for checks.
    pub fn explain<'r>(&'r self, rules: &'r [Rule], entries: &[Entry<'_>]) -> Explanation<'r> {
        let (steps, result) = walk(&self.tree, entries);
        let (rule, ended) = match result {
            Ok(index) => (rules.get(index), None),
            Err(ended) => (None, Some(ended)),
        };
        let of_domain = rules.iter().filter(|rule| rule.domain == self.name);
        let near_misses = near_misses(of_domain, entries, &steps, rule);
        Explanation { steps, rule, ended, near_misses }
    }
}

#[cfg(test)]
mod tests;
