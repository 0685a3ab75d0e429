//! The environment, and the values that the reference reads from it.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// The variables of the process.
#[derive(Debug, Default)]
pub(super) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// These variables; what is not UTF-8 is read lossily.
    pub(super) fn new(variables: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let lossy = |text: OsString| text.to_string_lossy().into_owned();
        Self(variables.map(|(name, value)| (lossy(name), lossy(value))).collect())
    }

    /// The value of a variable that is set, even if it is empty.
    pub(super) fn set(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The value of a variable that is set and not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.set(name).filter(|value| !value.is_empty())
    }

    /// Whether a variable of ours is set to true.
    pub(super) fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| ["1", "true", "yes", "on"].contains(&value.to_ascii_lowercase().as_str()))
    }

    /// A truth as Go reads it; not set: false.
    ///
    /// # Errors
    /// It is neither.
    pub(super) fn truth(&self, name: &str) -> Result<bool, String> {
        match self.get(name) {
            None | Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some(value) => Err(format!("{name}={value}: expected true or false")),
        }
    }

    /// The names of all variables, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}
