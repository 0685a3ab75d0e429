//! Settings: values that operators lay over the rules at run time, with who set them, why, and until when.
//!
//! [`SettingsBook`] keeps them; [`Publisher`](super::Publisher) puts them in force with the rules, as one value.

mod book;

use std::fmt;

pub(crate) use book::SettingsBook;

use crate::rules::{Scope, SettingName};
use crate::units::{Nanos, Timestamp};

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// What it applies to.
    pub(crate) scope: Scope,
    /// What is set.
    pub(crate) name: SettingName,
    /// The value, as a rules file would have it.
    pub(crate) value: String,
    /// Who set it, when, and why.
    pub(crate) principal: String,
    pub(crate) set_at: Timestamp,
    pub(crate) reason: String,
    /// When it expires; `None`: never.
    pub(crate) until: Option<Timestamp>,
}

/// A change to the settings that is asked for.
#[derive(Clone, Debug)]
pub(crate) struct SettingChange {
    pub(crate) scope: Scope,
    pub(crate) name: SettingName,
    pub(crate) value: String,
    pub(crate) length: Option<Nanos>,
    pub(crate) principal: String,
    pub(crate) reason: String,
}

/// A change to the settings that another replica made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AdoptedSetting {
    /// It is set.
    Set(Setting),
    /// It is no more.
    Unset(Scope, SettingName),
}

/// Why settings were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SettingError {
    /// Nothing can be changed (`--settings read-only`).
    #[error(
        "settings are read-only (--settings read-only): change the configuration instead; stored settings stay in force until \
         they expire, or the server is started without the flag"
    )]
    ReadOnly,
    /// No configuration is in force.
    #[error("no configuration is in force")]
    NoRules,
    /// The name, the scope or the value cannot be used; the reason in words.
    #[error("{0}")]
    Invalid(String),
    /// There is no such setting.
    #[error("{name} is not set for {scope}")]
    NotSet {
        /// What was named.
        scope: Scope,
        /// The name.
        name: SettingName,
    },
    /// There are too many.
    #[error("there are {MAX_SETTINGS} settings already, more are not possible: unset some")]
    TooMany,
}

/// Where an effective value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ValueSource {
    /// A setting, perhaps of a wider scope.
    Setting(Setting),
    /// The configuration, `file:line`.
    Configuration(String),
    /// It is set nowhere.
    Default,
}

/// A value that was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetOutcome {
    pub(crate) setting: Setting,
    /// The value that was effective before.
    pub(crate) before: String,
    /// The setting in whose place it is.
    pub(crate) replaced: Option<Setting>,
    /// What switches the scope off, so that the setting has no effect now.
    pub(crate) off: Option<ValueSource>,
}

/// An effective value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EffectiveValue {
    pub(crate) value: String,
    pub(crate) source: ValueSource,
}

impl fmt::Display for ValueSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting(setting) => write!(f, "setting of {}", setting.scope),
            Self::Configuration(origin) => f.write_str(origin),
            Self::Default => f.write_str("default"),
        }
    }
}

/// Checks the reason of a change.
///
/// # Errors
/// It is too long, in words.
pub(crate) fn check_reason(reason: &str) -> Result<(), String> {
    if reason.len() > MAX_REASON_BYTES {
        Err(format!("a reason is at most {MAX_REASON_BYTES} bytes long"))
    } else {
        Ok(())
    }
}

/// Settings at the same time. With names of usual length they take some megabytes.
pub(crate) const MAX_SETTINGS: usize = 10_000;
/// The same with those that were set on other replicas at the same time, or while they could not be heard of.
const MAX_ADOPTED: usize = 20_000;
/// The reason of a setting, in bytes: a sentence or a link.
const MAX_REASON_BYTES: usize = 500;
/// The longest time for which something can be set or banned.
pub(crate) const MAX_LENGTH: Nanos = Nanos::from_secs(366 * 24 * 60 * 60);

#[cfg(test)]
mod tests;
