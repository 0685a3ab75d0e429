//! Settings of a rule: whole rules with the values applied, for all checks and for those with certain entries.

use std::collections::HashSet;
use std::sync::Arc;

use super::apply::{self, Applied};
use super::combine::{Scopes, TooMany};
use super::{Assignment, ByEntries, Inactive};
use crate::rules::{Entry, Rule};

/// What is set for a rule.
#[derive(Debug)]
pub struct RuleOverlay {
    whole: Arc<RuleCase>,
    by_entry: ByEntries<usize>,
    /// The cases of `by_entry`.
    cases: Vec<Arc<RuleCase>>,
}

/// A rule with values applied, for checks with certain entries.
#[derive(Debug)]
pub struct RuleCase {
    /// The entries; none for all checks.
    pub entries: Vec<(String, String)>,
    /// The rule with the values.
    pub rule: Rule,
    /// `shadow_mode`, if it is set for the rule.
    pub shadow_mode: Option<bool>,
    /// The settings, by the order in which they were set.
    settings: Vec<u64>,
    /// Those that cannot be applied, and the reasons.
    failed: Vec<(u64, String)>,
}

impl RuleOverlay {
    /// The overlay of `rule`. Settings that cannot be applied are left out, and added to `inactive`.
    ///
    /// Scopes of which neither includes the other may match the same check: there is a case for each such combination, so that
    /// a check needs only one look-up for each set of keys. Cases of `before`, an overlay of the same rule, are used again if
    /// they have the same settings.
    pub(super) fn new(
        rule: &Rule,
        before: Option<&Self>,
        assignments: &[&Assignment],
        inactive: &mut Vec<Inactive>,
    ) -> Self {
        let mut usable: Vec<&Assignment> = Vec::with_capacity(assignments.len());
        for assignment in assignments {
            match apply::check_scope(rule, &assignment.scope) {
                Ok(()) => usable.push(assignment),
                Err(why) => inactive.push(assignment.inactive(&why)),
            }
        }
        usable.sort_by_key(|assignment| assignment.order);
        let (scopes, combinations) = loop {
            let scopes = Scopes::new(&usable);
            match scopes.combinations() {
                Ok(combinations) => break (scopes, combinations),
                Err(TooMany(why)) => match usable.pop() {
                    Some(latest) => inactive.push(latest.inactive(&why)),
                    None => break (scopes, Vec::new()),
                },
            }
        };
        let mut overlay =
            Self { whole: case(rule, before, Vec::new(), &scopes), by_entry: ByEntries::default(), cases: Vec::new() };
        for entries in combinations {
            let place = overlay.cases.len();
            overlay.by_entry.entry(&entries, || place);
            overlay.cases.push(case(rule, before, entries, &scopes));
        }
        let mut reported = HashSet::new();
        for (order, why) in std::iter::once(&overlay.whole).chain(&overlay.cases).flat_map(|case| &case.failed) {
            if reported.insert(order)
                && let Some(assignment) = usable.iter().find(|assignment| assignment.order == *order)
            {
                inactive.push(assignment.inactive(why));
            }
        }
        overlay
    }

    /// The case for all checks, or for those without narrower settings.
    pub fn whole(&self) -> &Arc<RuleCase> {
        &self.whole
    }

    /// The cases for checks with certain entries.
    pub fn cases(&self) -> &[Arc<RuleCase>] {
        &self.cases
    }

    /// The index in [`cases`](Self::cases) of the narrowest case of a check; `None`: the one for all checks.
    pub fn find(&self, entries: &[Entry<'_>]) -> Option<usize> {
        if self.cases.is_empty() { None } else { self.by_entry.matching(entries).next_back().copied() }
    }

    fn exactly(&self, entries: &[(String, String)]) -> Option<&Arc<RuleCase>> {
        let found = self.find(&Entry::borrowed(entries)).map_or(Some(&self.whole), |index| self.cases.get(index));
        found.filter(|case| case.entries == entries)
    }
}

impl RuleCase {
    /// Whether any setting applies: the case for all checks may be the rule as it is configured.
    pub fn has_settings(&self) -> bool {
        !self.settings.is_empty()
    }
}

/// The case for checks with these entries.
fn case(
    rule: &Rule,
    before: Option<&RuleOverlay>,
    entries: Vec<(String, String)>,
    scopes: &Scopes<'_>,
) -> Arc<RuleCase> {
    let assignments = scopes.of_check(&entries);
    let settings: Vec<u64> = assignments.iter().map(|assignment| assignment.order).collect();
    let known = before.and_then(|before| before.exactly(&entries)).filter(|known| known.settings == settings);
    if let Some(known) = known {
        return Arc::clone(known);
    }
    let Applied { rule, shadow_mode, failed } = apply::apply(rule, &assignments);
    Arc::new(RuleCase { entries, rule, shadow_mode, settings, failed })
}
