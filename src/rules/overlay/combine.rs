//! The combinations of scopes that one check may match.

use std::collections::{BTreeMap, BTreeSet};

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
        let scopes = || self.by_keys.values().flat_map(BTreeMap::keys).filter(|entries| !entries.is_empty());
        let mut found: Vec<Entries> = scopes().cloned().collect();
        if self.by_keys.keys().filter(|keys| !keys.is_empty()).count() < 2 {
            return Ok(found);
        }
        let mut known: BTreeSet<Entries> = found.iter().cloned().collect();
        let mut next = 0;
        while let Some(one) = found.get(next).cloned() {
            next += 1;
            for other in scopes() {
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
