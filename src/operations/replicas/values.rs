//! What is in the records of the ledger: settings, bans, and promoted rules.
//!
//! | id | value | note |
//! | --- | --- | --- |
//! | `["setting", kind, name, entries, limit, setting]` | `{"value", "until"}` | `{"who", "why", "from"}` |
//! | `["ban", rule, entries]` | `{"until"}` | |
//! | `["rules"]` | `{"files": [{"name", "text"}], "merge_domains", "base"}` | |
//!
//! Times are microseconds since the epoch, by the engine's clock. Fields that are not known are ignored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::{CandidateSource, check_reason};
use crate::hex::hex;
use crate::ledger::Record;
use crate::rules::{Scope, ScopeTarget, SettingName, SourceFile};

/// Who made a change, why, and on which host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Note {
    pub(super) who: String,
    pub(super) why: String,
    pub(super) from: String,
}

/// What a record is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Setting(Scope, SettingName),
    /// A ban of the counter of a rule with these entries.
    Ban(Scope),
    Rules,
}

#[derive(Serialize, Deserialize)]
pub(super) struct SettingValue {
    pub(super) value: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<u64>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct BanValue {
    pub(super) until: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct RulesValue {
    pub(super) files: Vec<FileValue>,
    #[serde(default)]
    pub(super) merge_domains: bool,
    /// The digest of what the rules were read from in whose place they are.
    pub(super) base: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct FileValue {
    pub(super) name: String,
    pub(super) text: String,
}

impl Note {
    /// That of a record, cut to what can be shown.
    pub(super) fn of(record: &Record) -> Self {
        let Self { who, why, from } = serde_json::from_str(record.note()).unwrap_or_default();
        let cut = |text: String, most: usize| text.get(..text.floor_char_boundary(most)).unwrap_or_default().to_owned();
        let why = if check_reason(&why).is_ok() { why } else { cut(why, MAX_TEXT_BYTES) };
        Self { who: cut(who, MAX_TEXT_BYTES), why, from: cut(from, MAX_TEXT_BYTES) }
    }

    /// Who it was, with the host.
    pub(super) fn principal(&self) -> String {
        format!("{} (on {})", self.who, self.from)
    }
}

impl Subject {
    /// That of a record; `None`: it is of a later version, or not one of ours.
    pub(super) fn of(record: &Record) -> Option<Self> {
        Self::read(record.id())
    }

    fn read(id: &str) -> Option<Self> {
        let kind: (String,) = serde_json::from_str(id).or_else(|_| first(id)).ok()?;
        match &*kind.0 {
            "setting" => {
                let (_, kind, name, entries, limit, setting): (String, String, String, BTreeMap<_, _>, u32, String) =
                    serde_json::from_str(id).ok()?;
                let target = ScopeTarget::from_parts(&kind, name)?;
                let scope = Scope::new(target, entries.into_iter().collect(), limit).ok()?;
                let name = SettingName::read(&setting, &scope.target).ok()?;
                Some(Self::Setting(scope, name))
            }
            "ban" => {
                let (_, rule, entries): (String, String, BTreeMap<_, _>) = serde_json::from_str(id).ok()?;
                Scope::new(ScopeTarget::Rule(rule), entries.into_iter().collect(), 0).ok().map(Self::Ban)
            }
            "rules" => Some(Self::Rules),
            _ => None,
        }
    }

    /// The id of its records.
    pub(super) fn id(&self) -> String {
        match self {
            Self::Setting(scope, name) => setting_id(scope, *name),
            Self::Ban(scope) => {
                let entries: BTreeMap<_, _> = scope.entries.iter().cloned().collect();
                text_of(&("ban", scope.target.to_parts().1, entries))
            }
            Self::Rules => crate::ledger::RULES.to_owned(),
        }
    }
}

/// The id of the records of a setting.
pub(super) fn setting_id(scope: &Scope, name: SettingName) -> String {
    let entries: BTreeMap<_, _> = scope.entries.iter().cloned().collect();
    let (kind, target) = scope.target.to_parts();
    text_of(&("setting", kind, target, entries, scope.limit, name.name()))
}

/// The first of an array, whatever follows.
fn first(id: &str) -> Result<(String,), serde_json::Error> {
    let values: Vec<serde_json::Value> = serde_json::from_str(id)?;
    Ok((values.first().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned(),))
}

impl RulesValue {
    /// Those of a candidate, with texts: what could be loaded is UTF-8.
    pub(super) fn new(source: &CandidateSource, base: &[u8; 32]) -> Self {
        let file = |file: &SourceFile| FileValue {
            name: file.name.clone(),
            text: String::from_utf8_lossy(&file.text).into_owned(),
        };
        let files = source.files.iter().map(file).collect();
        Self { files, merge_domains: source.merge_domains, base: hex(base) }
    }

    pub(super) fn source(self) -> CandidateSource {
        let file = |FileValue { name, text }| SourceFile { name, text: text.into_bytes() };
        CandidateSource { files: self.files.into_iter().map(file).collect(), merge_domains: self.merge_domains }
    }
}

/// As JSON. What is written here can be.
pub(super) fn text_of(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// A name or a reason that another replica wrote.
const MAX_TEXT_BYTES: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_were_written() {
        let entries = vec![("b".to_owned(), "\"1\"".to_owned()), ("a".to_owned(), String::new())];
        let rule = Scope::new(ScopeTarget::Rule("api.user".into()), entries.clone(), 2).unwrap();
        let domain = Scope::new(ScopeTarget::Domain("api".into()), entries, 0).unwrap();
        for (subject, id) in [
            (
                Subject::Setting(rule.clone(), SettingName::Burst),
                r#"["setting","rule","api.user",{"a":"","b":"\"1\""},2,"burst"]"#,
            ),
            (
                Subject::Setting(domain, SettingName::Enabled),
                r#"["setting","domain","api",{"a":"","b":"\"1\""},0,"enabled"]"#,
            ),
            (
                Subject::Setting(Scope::EVERYTHING, SettingName::ShadowMode),
                r#"["setting","everything","",{},0,"shadow_mode"]"#,
            ),
            (Subject::Ban(Scope { limit: 0, ..rule }), r#"["ban","api.user",{"a":"","b":"\"1\""}]"#),
            (Subject::Rules, r#"["rules"]"#),
        ] {
            assert_eq!((&*subject.id(), Subject::read(id)), (id, Some(subject)));
        }
        for odd in [
            "",
            "[]",
            "[1]",
            "[\"x\"]",
            "[\"ban\"]",
            "[\"ban\",\"r\",{\"\":\"\"}]",
            r#"["setting","rule","r",{},0,"no"]"#,
        ] {
            assert_eq!(Subject::read(odd), None, "{odd}");
        }
    }
}
