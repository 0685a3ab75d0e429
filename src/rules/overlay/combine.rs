//! The combinations of scopes that one check may match.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{Assignment, MAX_KEY_SETS};

/// Entries of a scope, sorted.
type Entries = Vec<(String, String)>;

/// The settings of a rule, by their entries.
pub(super) struct Scopes<'a> {
    by_keys: BTreeMap<Vec<&'a str>, BTreeMap<Entries, Vec<&'a Assignment>>>,
}

/// There are more combinations than can be prepared; what to do instead, in words.
pub(super) struct TooMany(pub(super) String);

impl<'a> Scopes<'a> {
    pub(super) fn new(assignments: &[&'a Assignment]) -> Self {
        let mut by_keys: BTreeMap<_, BTreeMap<Entries, Vec<&'a Assignment>>> = BTreeMap::new();
        for assignment in assignments {
            let keys: Vec<&str> = assignment.scope.entries.iter().map(|(key, _)| &**key).collect();
            let same_keys = by_keys.entry(keys).or_default();
            match same_keys.get_mut(&assignment.scope.entries) {
                Some(known) => known.push(assignment),
                None => {
                    same_keys.insert(assignment.scope.entries.clone(), vec![assignment]);
                }
            }
        }
        Self { by_keys }
    }

    /// The settings of all scopes that include a check with these entries, in the order in which they are to be applied: the
    /// narrower ones later, and of equally narrow ones the later.
    pub(super) fn of_check(&self, entries: &Entries) -> Vec<&'a Assignment> {
        let mut found = Vec::new();
        for (keys, same_keys) in &self.by_keys {
            let part: Entries = entries.iter().filter(|(key, _)| keys.contains(&&**key)).cloned().collect();
            if part.len() == keys.len() {
                found.extend(same_keys.get(&part).into_iter().flatten().copied());
            }
        }
        found.sort_by_key(|setting| (setting.name, setting.scope.entries.len(), setting.order));
        found
    }

    /// The entries of every scope that has some, and the unions of those that one check may match.
    pub(super) fn combinations(&self) -> Result<Vec<Entries>, TooMany> {
        let with_keys = self.by_keys.iter().filter(|(keys, _)| !keys.is_empty());
        let mut groups: Vec<_> =
            with_keys.map(|(keys, same_keys)| Group::new(keys, same_keys.keys().collect())).collect();
        let mut found: Vec<Entries> = groups.iter().flat_map(|group| group.scopes.iter().copied().cloned()).collect();
        if groups.len() < 2 {
            return Ok(found);
        }
        let mut known: HashSet<Entries> = found.iter().cloned().collect();
        let mut next = 0;
        while let Some(one) = found.get(next).cloned() {
            next += 1;
            for other in groups.iter_mut().flat_map(|group| group.compatible(&one)) {
                let Some(union) = union(&one, other) else { continue };
                if known.len() >= MAX_CASES {
                    return Err(TooMany(format!(
                        "settings of this rule with different entries may match one check in more than {MAX_CASES} \
                         combinations: give all entries in each setting, or unset some"
                    )));
                }
                if known.insert(union.clone()) {
                    found.push(union);
                }
            }
        }
        let key_sets: BTreeSet<Vec<&str>> =
            found.iter().map(|entries| entries.iter().map(|(key, _)| &**key).collect()).collect();
        if key_sets.len() > MAX_KEY_SETS {
            return Err(TooMany(format!(
                "settings of this rule have more than {MAX_KEY_SETS} combinations of entry keys: unset some"
            )));
        }
        Ok(found)
    }
}

/// The scopes with one set of keys.
struct Group<'s> {
    keys: &'s [&'s str],
    scopes: Vec<&'s Entries>,
    /// By the keys that they share with others: the scopes by their values of these. Made when it is needed.
    by_shared: HashMap<Vec<&'s str>, ByValues<'s>>,
}

/// Scopes by their values of some keys.
type ByValues<'s> = HashMap<Vec<&'s str>, Vec<&'s Entries>>;

impl<'s> Group<'s> {
    fn new(keys: &'s [&'s str], scopes: Vec<&'s Entries>) -> Self {
        Self { keys, scopes, by_shared: HashMap::new() }
    }

    /// The scopes that a check with the entries of another scope may match too, and that add a key to these. Cost: those alone.
    fn compatible(&mut self, other: &Entries) -> Vec<&'s Entries> {
        let value_in = |entries: &'s Entries, key: &str| entries.iter().find(|(k, _)| k == key).map(|(_, v)| &**v);
        let shared: Vec<&str> =
            self.keys.iter().copied().filter(|key| other.iter().any(|(known, _)| known == key)).collect();
        if shared.len() == self.keys.len() {
            return Vec::new();
        }
        let scopes = &self.scopes;
        let by_values = self.by_shared.entry(shared.clone()).or_insert_with(|| {
            let mut by_values = ByValues::new();
            for scope in scopes {
                let values = shared.iter().filter_map(|key| value_in(scope, key)).collect();
                by_values.entry(values).or_default().push(*scope);
            }
            by_values
        });
        let values: Vec<&str> = other.iter().filter(|(key, _)| shared.contains(&&**key)).map(|(_, v)| &**v).collect();
        by_values.get(&values[..]).cloned().unwrap_or_default()
    }
}

/// The entries of both, if one check may have them, and neither includes the other.
fn union(one: &Entries, other: &Entries) -> Option<Entries> {
    if one.len() == other.len() && one.iter().zip(other).all(|((key, _), (same, _))| key == same) {
        return None;
    }
    let value = |key: &str| one.iter().find(|(known, _)| known == key).map(|(_, value)| value);
    let mut more = Vec::new();
    for entry in other {
        match value(&entry.0) {
            Some(found) if *found == entry.1 => {}
            Some(_) => return None,
            None => more.push(entry),
        }
    }
    if more.is_empty() || more.len() + one.len() == other.len() {
        return None;
    }
    let mut union: Entries = one.iter().chain(more).cloned().collect();
    union.sort_unstable();
    Some(union)
}

/// Cases of one rule: as many as there may be settings.
const MAX_CASES: usize = 10_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rules::{Scope, ScopeTarget, SettingName};

    fn assignment(entries: &[(&str, u8)]) -> Assignment {
        let entries = entries.iter().map(|(key, value)| ((*key).to_owned(), value.to_string())).collect();
        let scope = Scope::new(ScopeTarget::Rule("r".to_owned()), entries, 0).unwrap();
        Assignment { scope, name: SettingName::Enabled, value: "true".to_owned(), order: 0 }
    }

    /// All unions, by comparing each with each until nothing is new.
    fn naive(scopes: &BTreeSet<Entries>) -> BTreeSet<Entries> {
        let mut all = scopes.clone();
        loop {
            let more: Vec<Entries> =
                all.iter().flat_map(|one| scopes.iter().filter_map(move |other| union(one, other))).collect();
            let before = all.len();
            all.extend(more);
            if all.len() == before {
                return all;
            }
        }
    }

    proptest! {
        #[test]
        fn every_union_is_found_once(scopes in proptest::collection::vec(
            proptest::collection::btree_map(prop_oneof![Just("a"), Just("b"), Just("c")], 0_u8..3, 1..=3), 1..12,
        )) {
            let scopes: Vec<_> = scopes.iter().map(|scope| assignment(&scope.iter().map(|(k, v)| (*k, *v)).collect::<Vec<_>>())).collect();
            let expected = naive(&scopes.iter().map(|one| one.scope.entries.clone()).collect());
            let found = Scopes::new(&scopes.iter().collect::<Vec<_>>()).combinations().map_err(|TooMany(why)| TestCaseError::fail(why))?;
            prop_assert_eq!(found.len(), expected.len());
            prop_assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
        }
    }
}
