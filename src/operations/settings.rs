//! Changes to settings: in force, stored, and in the audit log.

use super::{Action, AuditEntry, Author, Operations};
use crate::config::{EffectiveValue, SetOutcome, Setting, SettingChange, SettingError, ValueSource, check_reason};
use crate::rules::{Scope, SettingName};
use crate::units::{Nanos, Timestamp};

/// A setting that was set or removed.
#[derive(Clone, Debug)]
pub(crate) struct Changed {
    pub(crate) setting: Setting,
    /// The effective value: before it was set, or after it was removed.
    pub(crate) value: String,
    /// What the operator should know.
    pub(crate) warning: Option<String>,
}

impl Operations {
    /// Sets a value.
    ///
    /// # Errors
    /// Settings are read-only, the setting would have no effect, or there are too many. Then nothing has changed.
    pub(crate) fn set(&self, change: SettingChange) -> Result<Changed, SettingError> {
        self.writable()?;
        let _changing = self.changing();
        let now = self.clock.now();
        let set_at = self.set_time(&change.scope, change.name, now);
        let mut warning = None;
        let keep = |setting: &Setting, old: &str| {
            let stored = self.journal.as_ref().map_or(Ok(()), |journal| journal.save(setting));
            warning = stored.err().map(|error| super::warn(&error));
            let author = Author { principal: setting.principal.clone(), reason: setting.reason.clone() };
            let audited =
                self.record(entry(now, Action::Set, &author, &setting.scope, setting.name, (old, &setting.value)));
            warning = warning.take().or(audited);
        };
        let SetOutcome { setting, before, replaced, off } = self.publisher.set((now, set_at), change, keep)?;
        let unshared = self.share_set(&setting);
        let warnings = [
            warning,
            unshared,
            replaced.and_then(|former| ended_early(&former, &setting)),
            off.map(|off| has_no_effect(&off)),
        ];
        let warnings: Vec<String> = warnings.into_iter().flatten().collect();
        let warning = (!warnings.is_empty()).then(|| warnings.join("\n"));
        Ok(Changed { setting, value: before, warning })
    }

    /// The effective value of a name in a scope, and where it comes from.
    ///
    /// # Errors
    /// The scope does not fit the rules in force.
    pub(crate) fn effective(&self, scope: &Scope, name: SettingName) -> Result<EffectiveValue, SettingError> {
        self.publisher.effective(scope, name)
    }

    /// Removes a setting.
    ///
    /// # Errors
    /// Settings are read-only, or there is no such setting.
    pub(crate) fn unset(&self, scope: &Scope, name: SettingName, author: &Author) -> Result<Changed, SettingError> {
        self.writable()?;
        check_reason(&author.reason).map_err(SettingError::Invalid)?;
        let _changing = self.changing();
        let now = self.clock.now();
        let mut warning = None;
        let (setting, value) = self.publisher.unset(scope, name, |setting, value| {
            let change = entry(now, Action::Unset, author, scope, name, (&setting.value, value));
            warning = self.forget(vec![(setting.clone(), change)]);
        })?;
        let warning = warning.or(self.share_unset(scope, name, author, now));
        Ok(Changed { setting, value, warning })
    }

    /// Removes the settings that have expired. Cost: one atomic load if there is none.
    pub(crate) fn expire(&self) {
        let now = self.clock.now();
        self.publisher.expire(now, |expired| {
            let author = Author { principal: "tidegate".to_owned(), reason: "expired".to_owned() };
            let change = |(setting, value): &(Setting, String)| {
                let values = (&*setting.value, &**value);
                (setting.clone(), entry(now, Action::Expire, &author, &setting.scope, setting.name, values))
            };
            // It is in the log; nobody waits for the answer.
            let _warning = self.forget(expired.iter().map(change).collect());
        });
    }

    /// Adds removed settings to the audit log, and removes them from the data directory, all or none.
    fn forget(&self, removed: Vec<(Setting, AuditEntry)>) -> Option<String> {
        let removed: Vec<_> = removed.into_iter().map(|(setting, change)| (setting, self.audited(change))).collect();
        let stored = self.journal.as_ref().map_or(Ok(()), |journal| journal.forget(&removed));
        stored.err().map(|error| super::warn(&error))
    }

    fn writable(&self) -> Result<(), SettingError> {
        if self.read_only { Err(SettingError::ReadOnly) } else { Ok(()) }
    }
}

/// A word about a setting with an end that another one replaces.
fn ended_early(former: &Setting, setting: &Setting) -> Option<String> {
    let until = former.until?;
    let now = match setting.until {
        Some(until) => format!("now ends at {}", instant(until)),
        None => "now has no end".to_owned(),
    };
    Some(format!("the former value {} would have ended at {}: the setting {now}", former.value, instant(until)))
}

fn has_no_effect(off: &ValueSource) -> String {
    format!("it has no effect now: limits are switched off here (enabled: false, {off})")
}

fn instant(at: Timestamp) -> String {
    let second = i64::try_from(at.as_ns() / Nanos::SECOND.as_ns()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(second).map_or_else(|_| format!("@{second}"), |at| at.to_string())
}

pub(super) fn entry(
    time: Timestamp,
    action: Action,
    author: &Author,
    scope: &Scope,
    name: SettingName,
    values: (&str, &str),
) -> AuditEntry {
    AuditEntry { name: name.to_string(), ..author.entry(time, action, scope, values) }
}
