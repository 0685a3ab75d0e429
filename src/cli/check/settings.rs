//! What settings change: the values that would be in force.

use std::fmt::Write;

use crate::config::{Setting, SettingsBook};
use crate::rules::{Overlay, Rule, RuleSet, ScopeTarget};
use crate::sanitize::sanitize;

/// A rule with the values that would be in force, for all checks or for those with certain entries.
pub(super) struct Case<'r> {
    pub(super) rule: &'r Rule,
    /// None for all checks.
    pub(super) entries: &'r [(String, String)],
    /// A setting changes it.
    pub(super) is_set: bool,
}

/// Every rule in the order of the configuration, each followed by what settings change for checks with certain entries.
pub(super) fn cases<'r>(rules: &'r RuleSet, overlay: &'r Overlay) -> impl Iterator<Item = Case<'r>> {
    rules.rules().iter().flat_map(|configured| {
        let set = overlay.rule(configured.index);
        let whole = match set {
            Some(set) => Case { rule: &set.whole().rule, entries: &[], is_set: set.whole().has_settings() },
            None => Case { rule: configured, entries: &[], is_set: false },
        };
        let narrow = set.map(|set| set.cases()).unwrap_or_default();
        let narrow = narrow.iter().map(|case| Case { rule: &case.rule, entries: &case.entries, is_set: true });
        std::iter::once(whole).chain(narrow)
    })
}

/// A line for each setting in force of everything and of whole domains: `domain api, tenant=acme: enabled: false (setting)`.
pub(super) fn switches(settings: &SettingsBook) -> impl Iterator<Item = String> {
    let in_force = settings.list().filter(|setting| settings.why_inactive(setting).is_none());
    let switches = in_force.filter(|setting| !matches!(setting.scope.target, ScopeTarget::Rule(_)));
    switches.map(|setting| format!("{}: {}: {} (setting)", scope(setting), setting.name, setting.value))
}

/// A warning for each setting that has no effect on the rules.
pub(super) fn without_effect(settings: &SettingsBook) -> impl Iterator<Item = String> {
    settings.list().filter_map(|setting| {
        let why = settings.why_inactive(setting)?;
        let (name, value) = (setting.name, sanitize(&setting.value));
        Some(format!("the setting {name} {value} of {} has no effect: {why}", scope(setting)))
    })
}

/// What a setting applies to, as in the list of settings.
pub(super) fn scope(setting: &Setting) -> String {
    sanitize(&setting.scope.to_string())
}

/// The entries behind the path of a rule: `, tenant=acme`.
pub(super) fn entries(entries: &[(String, String)]) -> String {
    let mut text = String::new();
    for (key, value) in entries {
        // Writing to a String does not fail.
        let _written = write!(text, ", {}={}", sanitize(key), sanitize(value));
    }
    text
}
