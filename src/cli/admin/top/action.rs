//! What an operator does to what is selected, and what the question before it says.

use prost_types::Duration;

use super::words::{entry_flag, shell_word};
use crate::api::proto::tidegate::v1::{Entry, SettingScope};
use crate::cli::admin::render::{entries as entries_text, scope as scope_text};
use crate::cli::admin::time::length as length_text;

/// A change on the server.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    /// Makes counters fresh.
    Reset {
        /// The rule.
        rule: String,
        /// Only counters with these entries.
        entries: Vec<Entry>,
    },
    /// Bans one counter.
    Ban {
        /// The rule.
        rule: String,
        /// The entries of the counter.
        entries: Vec<Entry>,
        /// How long.
        length: Duration,
    },
    /// Lifts bans.
    Unban {
        /// The rule.
        rule: String,
        /// Only counters with these entries.
        entries: Vec<Entry>,
    },
    /// Sets a value over the rules.
    Set {
        /// What it applies to.
        scope: SettingScope,
        /// The name of the setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// How long; `None`: until it is unset.
        length: Option<Duration>,
        /// What is in force now, in words; empty: not known.
        now: String,
    },
    /// Removes a setting.
    Unset {
        /// What it applies to.
        scope: SettingScope,
        /// The name of the setting.
        name: String,
    },
}

impl Action {
    /// The question, in one line: `Ban user=mallory of rule api.user for 10m?`
    pub(super) fn question(&self) -> String {
        match self {
            Self::Reset { rule, entries } => format!("Reset {}?", counters_of(rule, entries)),
            Self::Ban { rule, entries, length } => {
                let whom = if entries.is_empty() { "the counter".to_owned() } else { entries_text(entries) };
                format!("Ban {whom} of rule {rule} for {}?", length_text(length))
            }
            Self::Unban { rule, entries } => format!("Lift the ban of {}?", counters_of(rule, entries)),
            Self::Set { scope, name, value, .. } => format!("Set {name} of {} to {value}?", scope_text(Some(scope))),
            Self::Unset { scope, name } => format!("Remove the setting {name} of {}?", scope_text(Some(scope))),
        }
    }

    /// What will happen, a sentence each.
    pub(super) fn consequences(&self) -> Vec<String> {
        match self {
            Self::Reset { entries, .. } => {
                let what =
                    if entries.is_empty() { "Every counter of the rule" } else { "Every counter with these entries" };
                vec![format!(
                    "{what} is fresh from the next check on: its hits are forgotten, and a ban of it is lifted."
                )]
            }
            Self::Ban { length, .. } => vec![
                format!("From the next check on, each check of this counter is denied for {}.", length_text(length)),
                "Then the counter is fresh.".to_owned(),
            ],
            Self::Unban { .. } => {
                vec!["Banned counters are fresh from the next check on. Others are not changed.".to_owned()]
            }
            Self::Set { name, value, length, now, .. } => {
                let was = if now.is_empty() { String::new() } else { format!(" In force now: {now}.") };
                let what = match (*name, value.as_str()) {
                    ("enabled", "false") => {
                        "Its checks are admitted as if there were no limit; usage is still counted."
                    }
                    ("enabled", _) => "Its limits are enforced again, with the counts as they are.",
                    _ => "Checks are held against the new limit; counters keep their counts.",
                };
                let until = length.as_ref().map_or_else(
                    || "It is in force from the next check on, until it is unset.".to_owned(),
                    |length| format!("It is in force from the next check on, for {}.", length_text(length)),
                );
                vec![format!("{what}{was}"), until]
            }
            Self::Unset { .. } => {
                vec![
                    "The value of the wider scope, or of the rules file, is in force from the next check on."
                        .to_owned(),
                ]
            }
        }
    }

    /// The command that does the same.
    pub(super) fn command(&self) -> String {
        let flags = |entries: &[Entry]| {
            entries.iter().flat_map(|entry| [" ".to_owned(), entry_flag(entry)]).collect::<String>()
        };
        let counters = |what: &str, rule: &str, entries: &[Entry]| {
            format!("tidegate counters {what} --rule {}{}", shell_word(rule), flags(entries))
        };
        let length = |length: &Duration| length_text(length).replace(' ', "");
        let of_scope = |SettingScope { rule, domain, entries, limit }: &SettingScope| {
            let place = if rule.is_empty() { ("domain", domain) } else { ("rule", rule) };
            let limit = if *limit == 0 { String::new() } else { format!(" --limit {limit}") };
            format!("--{} {}{}{limit}", place.0, shell_word(place.1), flags(entries))
        };
        match self {
            Self::Reset { rule, entries } => counters("reset", rule, entries),
            Self::Ban { rule, entries, length: ban } => {
                format!("{} --for {}", counters("ban", rule, entries), length(ban))
            }
            Self::Unban { rule, entries } => counters("unban", rule, entries),
            Self::Set { scope, name, value, length: given, .. } => {
                let until = given.as_ref().map(|given| format!(" --for {}", length(given))).unwrap_or_default();
                format!("tidegate settings set {} {name} {}{until}", of_scope(scope), shell_word(value))
            }
            Self::Unset { scope, name } => format!("tidegate settings unset {} {}", of_scope(scope), shell_word(name)),
        }
    }
}

fn counters_of(rule: &str, entries: &[Entry]) -> String {
    if entries.is_empty() {
        format!("all counters of rule {rule}")
    } else {
        format!("the counters of rule {rule} with {}", entries_text(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_name_what_changes_and_the_command_that_does_the_same() {
        let rule = || "api.user".to_owned();
        let entries = || vec![Entry { key: "user".into(), value: "ann b".into() }];
        let scope = |entries, limit| SettingScope { rule: rule(), entries, limit, ..SettingScope::default() };
        let hour = Duration { seconds: 5_400, nanos: 0 };
        let cases = [
            (
                Action::Reset { rule: rule(), entries: vec![] },
                "Reset all counters of rule api.user?",
                "tidegate counters reset --rule api.user",
                "Every counter of the rule is fresh",
            ),
            (
                Action::Ban { rule: rule(), entries: entries(), length: hour },
                "Ban user=ann b of rule api.user for 1h 30m?",
                "tidegate counters ban --rule api.user --entry 'user=ann b' --for 1h30m",
                "each check of this counter is denied for 1h 30m",
            ),
            (
                Action::Unban { rule: rule(), entries: entries() },
                "Lift the ban of the counters of rule api.user with user=ann b?",
                "tidegate counters unban --rule api.user --entry 'user=ann b'",
                "Others are not changed",
            ),
            (
                Action::Set {
                    scope: scope(vec![], 2),
                    name: "requests_per_unit",
                    value: "-1".into(),
                    length: Some(hour),
                    now: "10/1m".into(),
                },
                "Set requests_per_unit of rule api.user, limit 2 to -1?",
                "tidegate settings set --rule api.user --limit 2 requests_per_unit -1 --for 1h30m",
                "counters keep their counts. In force now: 10/1m.",
            ),
            (
                Action::Set {
                    scope: scope(entries(), 0),
                    name: "enabled",
                    value: "false".into(),
                    length: None,
                    now: String::new(),
                },
                "Set enabled of rule api.user user=ann b to false?",
                "tidegate settings set --rule api.user --entry 'user=ann b' enabled false",
                "until it is unset",
            ),
            (
                Action::Unset { scope: scope(vec![], 0), name: "enabled".into() },
                "Remove the setting enabled of rule api.user?",
                "tidegate settings unset --rule api.user enabled",
                "is in force from the next check on",
            ),
        ];
        for (action, question, command, consequence) in cases {
            assert_eq!((action.question().as_str(), action.command().as_str()), (question, command));
            assert!(action.consequences().join(" ").contains(consequence), "{question}: {:?}", action.consequences());
        }
    }
}
