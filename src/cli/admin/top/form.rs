//! What has to be known before an action: a line of text for each field.

use prost_types::Duration;

use super::action::Action;
use crate::api::proto::tidegate::v1::{Entry, SettingScope};
use crate::cli::admin::time::parse_length;

/// A form on the screen.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Form {
    /// What the action is for.
    purpose: Purpose,
    /// What is asked.
    pub(super) fields: Vec<Field>,
    /// The field that keys go to.
    pub(super) focus: usize,
    /// Why it cannot be used as it is; empty: nothing is known.
    pub(super) error: String,
}

/// One line of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// What it is.
    pub(super) label: &'static str,
    /// What was typed.
    pub(super) text: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Purpose {
    Ban { rule: String, entries: Vec<Entry> },
    Limit { scope: SettingScope, now: String },
    Switch { scope: SettingScope, on: bool, now: String },
    Unset { scope: SettingScope },
}

impl Form {
    /// Asks for how long a counter is banned.
    pub(super) fn ban(rule: String, entries: Vec<Entry>) -> Self {
        Self::new(Purpose::Ban { rule, entries }, &[("for", "10m")])
    }

    /// Asks for another limit; with several limits also for which of them. `now`: what is in force, in words.
    pub(super) fn limit(scope: SettingScope, limits: usize, now: String) -> Self {
        let mut fields = vec![("requests_per_unit", ""), ("for", "1h")];
        if limits > 1 {
            fields.push(("limit", "1"));
        }
        Self::new(Purpose::Limit { scope, now }, &fields)
    }

    /// Asks for how long something is switched on or off.
    pub(super) fn switch(scope: SettingScope, on: bool, now: String) -> Self {
        let length = if on { "" } else { "1h" };
        Self::new(Purpose::Switch { scope, on, now }, &[("for", length)])
    }

    /// Asks which setting is removed.
    pub(super) fn unset(scope: SettingScope, name: &str) -> Self {
        Self::new(Purpose::Unset { scope }, &[("name", name)])
    }

    fn new(purpose: Purpose, fields: &[(&'static str, &str)]) -> Self {
        let field = |(label, text): &(&'static str, &str)| Field { label, text: (*text).to_owned() };
        Self { purpose, fields: fields.iter().map(field).collect(), focus: 0, error: String::new() }
    }

    /// What it is for, in a line.
    pub(super) fn title(&self) -> &'static str {
        match &self.purpose {
            Purpose::Ban { .. } => "Ban a counter",
            Purpose::Limit { .. } => "Change a limit",
            Purpose::Switch { on: true, .. } => "Switch on",
            Purpose::Switch { on: false, .. } => "Switch off",
            Purpose::Unset { .. } => "Remove a setting",
        }
    }

    /// Types a character into the field with the focus.
    pub(super) fn add(&mut self, c: char) {
        if let Some(field) = self.fields.get_mut(self.focus).filter(|field| field.text.len() < MAX_FIELD_BYTES) {
            field.text.push(c);
        }
    }

    /// Takes the last character away.
    pub(super) fn backspace(&mut self) {
        self.fields.get_mut(self.focus).map(|field| field.text.pop());
    }

    /// Goes to the next field.
    pub(super) fn next(&mut self) {
        self.focus = (self.focus + 1) % self.fields.len().max(1);
    }

    /// The action, which is confirmed next.
    ///
    /// # Errors
    /// What is wrong with a field.
    pub(super) fn action(&self) -> Result<Action, String> {
        match self.purpose.clone() {
            Purpose::Ban { rule, entries } => {
                let length = self.length()?.ok_or("for: a ban needs a length, such as 10m")?;
                Ok(Action::Ban { rule, entries, length })
            }
            Purpose::Limit { mut scope, now } => {
                let value = self.text("requests_per_unit");
                if value.parse::<i64>().is_err() {
                    return Err("requests_per_unit: a whole number is needed; -1 for unlimited".to_owned());
                }
                if let Some(limit) = self.fields.iter().find(|field| field.label == "limit") {
                    scope.limit = limit
                        .text
                        .trim()
                        .parse()
                        .ok()
                        .filter(|limit| *limit > 0)
                        .ok_or("limit: the place of the limit in its rule is needed, from 1")?;
                }
                Ok(Action::Set {
                    scope,
                    name: "requests_per_unit",
                    value: value.to_owned(),
                    length: self.length()?,
                    now,
                })
            }
            Purpose::Switch { scope, on, now } => {
                Ok(Action::Set { scope, name: "enabled", value: on.to_string(), length: self.length()?, now })
            }
            Purpose::Unset { scope } => {
                let name = self.text("name");
                if name.is_empty() {
                    Err("name: a name is needed".to_owned())
                } else {
                    Ok(Action::Unset { scope, name: name.to_owned() })
                }
            }
        }
    }

    fn text(&self, label: &str) -> &str {
        let field = self.fields.iter().find(|field| field.label == label);
        field.map(|field| field.text.trim()).unwrap_or_default()
    }

    fn length(&self) -> Result<Option<Duration>, String> {
        match self.text("for") {
            "" => Ok(None),
            text => parse_length(text).map(Some).map_err(|error| format!("for: {error}")),
        }
    }
}

/// More than any value needs.
const MAX_FIELD_BYTES: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> SettingScope {
        SettingScope { rule: "api.user".into(), ..SettingScope::default() }
    }

    fn filled(mut form: Form, texts: &[&str]) -> Result<Action, String> {
        for text in texts {
            while !form.fields[form.focus].text.is_empty() {
                form.backspace();
            }
            text.chars().for_each(|c| form.add(c));
            form.next();
        }
        form.action()
    }

    #[test]
    fn forms_become_actions() {
        let ban = || Form::ban("api.user".into(), vec![]);
        let hour = Duration { seconds: 3_600, nanos: 0 };
        assert_eq!(filled(ban(), &["1h"]), Ok(Action::Ban { rule: "api.user".into(), entries: vec![], length: hour }),);
        let limit = |several| Form::limit(scope(), several, "10/1m".into());
        let set = |limit, length| Action::Set {
            scope: SettingScope { limit, ..scope() },
            name: "requests_per_unit",
            value: "50".into(),
            length,
            now: "10/1m".into(),
        };
        assert_eq!(filled(limit(1), &["50", ""]), Ok(set(0, None)));
        assert_eq!(filled(limit(2), &[" 50 ", "1h", "2"]), Ok(set(2, Some(hour))));
        let off = filled(Form::switch(scope(), false, String::new()), &["1h"]).unwrap();
        assert!(matches!(off, Action::Set { name: "enabled", value, .. } if value == "false"));
        let unset = filled(Form::unset(scope(), "enabled"), &["burst"]);
        assert_eq!(unset, Ok(Action::Unset { scope: scope(), name: "burst".into() }));
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        for (form, texts, expected) in [
            (Form::ban("api.user".into(), vec![]), &[""][..], "for: a ban needs a length"),
            (Form::ban("api.user".into(), vec![]), &["soon"], "for: "),
            (Form::limit(scope(), 1, String::new()), &["many"], "requests_per_unit: a whole number"),
            (Form::limit(scope(), 2, String::new()), &["5", "", "0"], "limit: the place"),
            (Form::unset(scope(), ""), &[" "], "name: "),
        ] {
            let error = filled(form, texts).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn a_field_has_a_bound() {
        let mut form = Form::unset(scope(), "");
        (0..1_000).for_each(|_| form.add('\u{1f980}'));
        assert!(form.fields[0].text.len() < MAX_FIELD_BYTES + 4);
    }
}
