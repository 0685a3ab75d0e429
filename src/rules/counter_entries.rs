//! The entries that name one counter of a rule.

use std::borrow::Cow;

use super::pattern::matches;
use super::{Entry, Level, Rule};
use crate::sanitize::sanitize;

impl Rule {
    /// The entries that every check of the rule has.
    pub fn fixed_entries(&self) -> Vec<(String, String)> {
        let fixed = self.levels.iter().filter(|level| {
            !level.varies.key() && !level.varies.value() && !level.share_threshold && !level.value.is_empty()
        });
        fixed.map(|level| (level.key.clone(), level.value.clone())).collect()
    }

    /// The entries of a descriptor that is counted by the counter which `known` name: one for each level.
    ///
    /// # Errors
    /// An entry is missing or not one of the rule's, in words.
    pub fn entries_of_counter<'a>(&'a self, known: &'a [(String, String)]) -> Result<Vec<Entry<'a>>, String> {
        let entries: Vec<_> = self.levels.iter().map(|level| self.entry(level, known)).collect::<Result<_, _>>()?;
        let unused = known.iter().find(|(key, value)| !entries.iter().any(|e| e.key == *key && e.value == *value));
        match unused {
            None => Ok(entries),
            Some((key, value)) => Err(self.no_entry(key, value)),
        }
    }

    fn entry<'a>(&'a self, level: &'a Level, known: &'a [(String, String)]) -> Result<Entry<'a>, String> {
        let is_literal = |key: &str| self.levels.iter().any(|level| level.key == key);
        let given = known.iter().find(|(key, _)| if level.varies.key() { !is_literal(key) } else { level.key == *key });
        match given {
            Some((key, value)) if level.varies.value() && may_be(level, value) || *value == level.value => {
                Ok(Entry { key: Cow::Borrowed(key), value: Cow::Borrowed(value) })
            }
            None if !level.varies.key() && !level.varies.value() => {
                Ok(Entry { key: Cow::Borrowed(&level.key), value: Cow::Borrowed(&level.value) })
            }
            Some((key, value)) => Err(self.no_entry(key, value)),
            None => Err(format!(
                "rule '{}' has a counter for each {}: give --entry for all of them",
                self.path,
                self.wanted()
            )),
        }
    }

    fn no_entry(&self, key: &str, value: &str) -> String {
        let shown = format!("{}={}", sanitize(key), sanitize(value));
        format!("rule '{}' has no entry '{shown}': its entries are {}", self.path, self.wanted())
    }

    /// The keys of the levels that have a counter for each value, and the fixed entries.
    fn wanted(&self) -> String {
        let level = |level: &Level| {
            let varies = level.varies.value() || level.varies.key();
            if varies { level.key.clone() } else { format!("{}={}", level.key, level.value) }
        };
        self.levels.iter().map(level).collect::<Vec<_>>().join(", ")
    }
}

/// Whether the level can have the value. A pattern in its key is not compared.
fn may_be(level: &Level, value: &str) -> bool {
    level.value.is_empty() || level.key.contains('*') || matches(&level.value, value)
}
