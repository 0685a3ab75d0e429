//! Settings of a domain, and of everything: switches.

use super::{Assignment, ByEntries, Inactive, MAX_KEY_SETS, SettingName};
use crate::rules::report::Report;
use crate::rules::{Entry, own, yaml};

/// What is set; `None`: nothing, so the wider scope counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// False: nothing is limited.
    pub enabled: Option<bool>,
    /// True: what is over a limit is admitted.
    pub shadow_mode: Option<bool>,
}

/// What is set for a domain.
#[derive(Clone, Debug, Default)]
pub struct DomainOverlay {
    /// For all of its checks.
    pub whole: Switches,
    by_entry: ByEntries<Narrow>,
}

/// What is set for checks with certain entries.
#[derive(Clone, Debug, Default)]
struct Narrow {
    entries: Vec<(String, String)>,
    switches: Switches,
    /// The number of entries, and when `shadow_mode` was set: the largest wins.
    rank: (usize, u64),
}

impl DomainOverlay {
    pub(super) fn new(assignments: &[&Assignment], inactive: &mut Vec<Inactive>) -> Self {
        let mut overlay = Self::default();
        // The latest is the one that has no room, not one that was accepted before.
        let mut assignments = assignments.to_vec();
        assignments.sort_by_key(|assignment| assignment.order);
        for assignment in assignments {
            let entries = &assignment.scope.entries;
            if entries.is_empty() {
                set(&mut overlay.whole, assignment, inactive);
                continue;
            }
            let Some(narrow) =
                overlay.by_entry.entry(entries, || Narrow { entries: entries.clone(), ..Narrow::default() })
            else {
                let why =
                    format!("settings of a domain have at most {MAX_KEY_SETS} combinations of entry keys: unset some");
                inactive.push(assignment.inactive(&why));
                continue;
            };
            set(&mut narrow.switches, assignment, inactive);
            if assignment.name == SettingName::ShadowMode {
                narrow.rank = narrow.rank.max((entries.len(), assignment.order));
            }
        }
        overlay
    }

    /// The switches for a descriptor with these entries: `enabled` is false if any scope says so.
    pub fn switches(&self, entries: &[Entry<'_>]) -> Switches {
        if self.by_entry.is_empty() { self.whole } else { self.combined(self.by_entry.matching(entries)) }
    }

    /// What is set for checks with certain entries, in the order of these.
    pub fn narrow(&self) -> Vec<(&[(String, String)], Switches)> {
        let mut all: Vec<_> = self.by_entry.values().map(|narrow| (&*narrow.entries, narrow.switches)).collect();
        all.sort_unstable_by_key(|(entries, _)| *entries);
        all
    }

    fn combined<'n>(&self, matching: impl Iterator<Item = &'n Narrow>) -> Switches {
        let (mut combined, mut rank) = (self.whole, (0, 0));
        for narrow in matching {
            if narrow.switches.enabled == Some(false) {
                combined.enabled = Some(false);
            }
            if narrow.switches.shadow_mode.is_some() && narrow.rank >= rank {
                (combined.shadow_mode, rank) = (narrow.switches.shadow_mode, narrow.rank);
            }
        }
        combined
    }
}

/// The switches of everything.
pub(super) fn everything(assignments: &[&Assignment], inactive: &mut Vec<Inactive>) -> Switches {
    let mut switches = Switches::default();
    for assignment in assignments {
        set(&mut switches, assignment, inactive);
    }
    switches
}

fn set(switches: &mut Switches, assignment: &Assignment, inactive: &mut Vec<Inactive>) {
    match flag(assignment) {
        Ok(value) if assignment.name == SettingName::Enabled => switches.enabled = Some(value),
        Ok(value) => switches.shadow_mode = Some(value),
        Err(why) => inactive.push(assignment.inactive(&why)),
    }
}

impl Assignment {
    /// The value of a switch, however it is written; `None` for other settings, and if the value is none of a switch.
    pub fn switch(&self) -> Option<bool> {
        matches!(self.name, SettingName::Enabled | SettingName::ShadowMode).then(|| flag(self).ok()).flatten()
    }
}

/// The value of a switch.
pub(super) fn flag(assignment: &Assignment) -> Result<bool, String> {
    let node = node(assignment)?;
    let mut report = Report::new("");
    let flag = own::flag(&node, assignment.name.name(), &mut report);
    flag.given().copied().ok_or_else(|| errors(report))
}

/// The value as a node of a file.
pub(super) fn node(assignment: &Assignment) -> Result<yaml::Node, String> {
    let Assignment { name, value, .. } = assignment;
    if value.len() > MAX_VALUE_BYTES {
        return Err(format!("the value of '{name}' is at most {MAX_VALUE_BYTES} bytes long"));
    }
    match yaml::read(value.as_bytes()) {
        Ok(document) if document.root.is_null() || document.more.is_some() => Err(format!("'{name}' needs one value")),
        Ok(document) => Ok(document.root),
        Err(yaml::Fault { cause, .. }) => Err(format!("the value of '{name}' cannot be read: {cause}")),
    }
}

/// The errors of a report, in one line.
pub(super) fn errors(report: Report<'_>) -> String {
    let (errors, _) = report.finish();
    let messages: Vec<_> =
        errors.iter().map(|error| error.message.lines().map(str::trim).collect::<Vec<_>>()).collect();
    messages.iter().map(|lines| lines.join(" ")).collect::<Vec<_>>().join("; ")
}

/// A value is a number, a length of time, or a small map.
const MAX_VALUE_BYTES: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Scope, ScopeTarget};

    #[test]
    fn the_latest_set_of_keys_beyond_the_bound_is_inactive() {
        let settings: Vec<_> = (0..=MAX_KEY_SETS as u64)
            .map(|order| {
                let entries = vec![(format!("key{order}"), "value".to_owned())];
                let scope = Scope::new(ScopeTarget::Domain("api".to_owned()), entries, 0).unwrap();
                Assignment { scope, name: SettingName::Enabled, value: "false".to_owned(), order }
            })
            .collect();
        // As they are kept: by scope, so that key2 is the last.
        let mut by_scope: Vec<_> = settings.iter().collect();
        by_scope.sort_by(|one, other| one.scope.cmp(&other.scope));
        let mut inactive = Vec::new();
        let _overlay = DomainOverlay::new(&by_scope, &mut inactive);
        let scopes: Vec<_> = inactive.iter().map(|inactive| &inactive.scope).collect();
        assert_eq!(scopes, settings.last().map(|latest| vec![&latest.scope]).unwrap());
    }
}
