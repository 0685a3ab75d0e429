//! PURE: settings laid over the rules, ready for decisions.
//!
//! ```text
//! Assignment { scope, name, value } --Overlay--> everything -> domain -> domain + entries
//!                                                rule -> rule + entries: whole rules with the values applied
//! ```
//!
//! The narrower scope wins, except that `enabled: false` of a wider scope switches off all below it. Values of a rule are
//! applied to its blocks as written, which are then built as those of a file are, with the same errors.

mod apply;
mod combine;
mod domain;
mod effective;
mod entries;
mod rule;
mod scope;

use std::collections::HashMap;
use std::sync::Arc;

pub use domain::{DomainOverlay, Switches};
pub use effective::ConfiguredValue;
pub use entries::ByEntries;
use entries::MAX_KEY_SETS;
pub use rule::{RuleCase, RuleOverlay};
use scope::MAX_TEXT_BYTES;
pub use scope::{Assignment, Scope, ScopeTarget, SettingName};

use super::nearest::nearest_of;
use super::{Domain, Entry, Rule, RuleSet};
use crate::sanitize::sanitize;

/// The settings that apply to a configuration, by what they apply to. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    /// Switches of everything.
    pub everything: Switches,
    domains: HashMap<String, Arc<DomainOverlay>, ahash::RandomState>,
    /// By the index of the rule.
    rules: HashMap<usize, Arc<RuleOverlay>, ahash::RandomState>,
    /// What has no effect, by target.
    inactive: HashMap<ScopeTarget, Vec<Inactive>>,
}

/// A setting that has no effect on a configuration, for instance because it does not have the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inactive {
    /// What it is set for.
    pub scope: Scope,
    /// Its name.
    pub name: SettingName,
    /// The reason, in words.
    pub why: String,
}

impl Overlay {
    /// The overlay of a configuration. Cost: linear in the number of rules and settings.
    pub fn new<'a>(rules: &RuleSet, targets: impl Iterator<Item = (&'a ScopeTarget, Vec<&'a Assignment>)>) -> Self {
        let mut by_path: HashMap<&str, Vec<usize>> = HashMap::new();
        for rule in rules.rules() {
            by_path.entry(&rule.path).or_default().push(rule.index);
        }
        let mut overlay = Self::default();
        for (target, assignments) in targets {
            let found = match target {
                ScopeTarget::Rule(path) => by_path.get(&**path).cloned().unwrap_or_default(),
                ScopeTarget::Everything | ScopeTarget::Domain(_) => Vec::new(),
            };
            overlay.put(rules, target, &assignments, &found);
        }
        overlay
    }

    /// This overlay with other settings of one target. Cost: linear in the settings of the target, and in the number of rules
    /// by a small constant.
    #[must_use]
    pub fn with(&self, rules: &RuleSet, target: &ScopeTarget, assignments: &[&Assignment]) -> Self {
        let mut overlay = self.clone();
        let found: Vec<_> = match target {
            ScopeTarget::Rule(path) => rules.rules_named(path).map(|rule| rule.index).collect(),
            ScopeTarget::Everything | ScopeTarget::Domain(_) => Vec::new(),
        };
        overlay.put(rules, target, assignments, &found);
        overlay
    }

    /// Whether there is nothing to apply.
    pub fn is_empty(&self) -> bool {
        self.everything == Switches::default() && self.domains.is_empty() && self.rules.is_empty()
    }

    /// What is set for a domain.
    pub fn domain(&self, name: &str) -> Option<&DomainOverlay> {
        if self.domains.is_empty() { None } else { self.domains.get(name).map(|domain| &**domain) }
    }

    /// The switches for all checks of a domain, with those of everything.
    pub fn switches_of(&self, domain: &Domain) -> Switches {
        self.combine(self.domain(&domain.name).map(|domain| domain.whole).unwrap_or_default())
    }

    /// The switches for a descriptor with these entries in a domain, with those of everything.
    pub fn switches(&self, domain: &Domain, entries: &[Entry<'_>]) -> Switches {
        self.combine(self.domain(&domain.name).map(|domain| domain.switches(entries)).unwrap_or_default())
    }

    /// The narrower scope wins, but what is off stays off.
    fn combine(&self, narrow: Switches) -> Switches {
        let everything = self.everything;
        let enabled = if everything.enabled == Some(false) { Some(false) } else { narrow.enabled };
        Switches { enabled, shadow_mode: narrow.shadow_mode.or(everything.shadow_mode) }
    }

    /// What is set for a rule.
    pub fn rule(&self, index: usize) -> Option<&Arc<RuleOverlay>> {
        self.rules.get(&index)
    }

    /// Every rule for which something is set, by its index.
    pub fn rules(&self) -> impl Iterator<Item = (usize, &Arc<RuleOverlay>)> {
        self.rules.iter().map(|(index, rule)| (*index, rule))
    }

    /// Every domain for which something is set.
    pub fn domains(&self) -> impl Iterator<Item = (&str, &DomainOverlay)> {
        self.domains.iter().map(|(name, domain)| (&**name, &**domain))
    }

    /// Why a setting has no effect; `None` if it has.
    pub fn why_inactive(&self, scope: &Scope, name: SettingName) -> Option<&str> {
        let mut inactive = self.inactive.get(&scope.target)?.iter();
        inactive.find(|inactive| inactive.scope == *scope && inactive.name == name).map(|inactive| &*inactive.why)
    }

    /// The value that the configuration has for a name in a scope.
    ///
    /// # Errors
    /// The scope does not fit the rules.
    pub fn configured(rules: &RuleSet, scope: &Scope, name: SettingName) -> Result<ConfiguredValue, String> {
        let switch = ConfiguredValue { value: (name == SettingName::Enabled).to_string(), origin: None };
        match &scope.target {
            ScopeTarget::Everything => Ok(switch),
            ScopeTarget::Domain(domain) => match rules.domain(domain) {
                None => Err(unknown("domain", domain, rules.domains().map(|domain| &*domain.name))),
                Some(domain) => match unused_key(rules, domain, &scope.entries) {
                    Some(wrong) => Err(wrong),
                    None if name == SettingName::Enabled => Ok(domain.configured_enabled()),
                    None => Ok(switch),
                },
            },
            ScopeTarget::Rule(path) => match rules.rules_named(path).next() {
                None => Err(unknown("rule", path, rules.rules().iter().map(|rule| &*rule.path))),
                Some(rule) => {
                    apply::check_scope(rule, scope)?;
                    check_reachable(rules, rule, &scope.entries)?;
                    rule.configured_value(name, scope.limit)
                }
            },
        }
    }

    /// The value of a setting in the form in which values are shown; `None` if it has none, or only together with other settings.
    pub fn plain_value(rules: &RuleSet, assignment: &Assignment) -> Option<String> {
        if let Some(switch) = assignment.switch() {
            return Some(switch.to_string());
        }
        let ScopeTarget::Rule(path) = &assignment.scope.target else { return None };
        let rule = rules.rules_named(path).next()?;
        let applied = apply::apply(rule, &[assignment]);
        let value = applied.rule.configured_value(assignment.name, assignment.scope.limit).ok()?.value;
        applied.failed.is_empty().then_some(value)
    }

    /// Replaces what is set for one target, which is the rules of these indices if it is a rule.
    fn put(&mut self, rules: &RuleSet, target: &ScopeTarget, assignments: &[&Assignment], found: &[usize]) {
        let mut inactive = Vec::new();
        match target {
            ScopeTarget::Everything => self.everything = domain::everything(assignments, &mut inactive),
            ScopeTarget::Domain(name) => {
                self.domains.remove(name);
                if rules.domain(name).is_none() {
                    let why = missing("domain", name);
                    inactive.extend(assignments.iter().map(|assignment| assignment.inactive(&why)));
                } else if !assignments.is_empty() {
                    let overlay = DomainOverlay::new(assignments, &mut inactive);
                    self.domains.insert(name.clone(), Arc::new(overlay));
                }
            }
            ScopeTarget::Rule(path) => {
                if found.is_empty() && !assignments.is_empty() {
                    let why = missing("rule", path);
                    inactive.extend(assignments.iter().map(|assignment| assignment.inactive(&why)));
                }
                for index in found {
                    let before = self.rules.remove(index);
                    if let Some(rule) = rules.rules().get(*index).filter(|_| !assignments.is_empty()) {
                        let overlay = RuleOverlay::new(rule, before.as_deref(), assignments, &mut inactive);
                        self.rules.insert(*index, Arc::new(overlay));
                    }
                }
            }
        }
        self.inactive.remove(target);
        if !inactive.is_empty() {
            self.inactive.insert(target.clone(), inactive);
        }
    }
}

/// The error for entries of a domain of which no rule has a key.
fn unused_key(rules: &RuleSet, domain: &Domain, entries: &[(String, String)]) -> Option<String> {
    let levels = || rules.rules().iter().filter(|rule| rule.domain == domain.name).flat_map(|rule| &rule.levels);
    let is_used = |key: &str| levels().any(|level| level.key == key || level.key.contains('*'));
    let (key, _) = entries.iter().find(|(key, _)| !is_used(key))?;
    let mut keys: Vec<&str> = levels().map(|level| &*level.key).collect();
    keys.sort_unstable();
    keys.dedup();
    Some(format!("no rule of domain '{}' has the entry: {}", domain.name, unknown("key", key, keys.into_iter())))
}

/// Checks that descriptors with these entries can reach a rule: another one may come first.
///
/// # Errors
/// They cannot; which rule decides them, in words.
pub(crate) fn check_reachable(rules: &RuleSet, rule: &Rule, entries: &[(String, String)]) -> Result<(), String> {
    let Some(domain) = rules.domain(&rule.domain).filter(|_| !entries.is_empty()) else { return Ok(()) };
    let found = domain.applicable(rules.rules(), entries);
    if found.iter().any(|applicable| applicable.rule.path == rule.path) {
        return Ok(());
    }
    let shown: Vec<_> = entries.iter().map(|(key, value)| sanitize(&format!("{key}={value}"))).collect();
    let shown = shown.join(", ");
    let other = found.iter().find(|applicable| applicable.rule.levels.len() == rule.levels.len());
    Err(match other {
        Some(other) => format!(
            "checks with {shown} are decided by rule '{}', which comes before '{}': name that rule",
            other.rule.path, rule.path
        ),
        None => format!("checks with {shown} never match rule '{}': another one comes first", rule.path),
    })
}

/// A name that does not exist, with the nearest ones.
pub(crate) fn unknown<'k>(what: &str, name: &str, known: impl Iterator<Item = &'k str>) -> String {
    let near = nearest_of(name, known, SUGGESTIONS);
    match &*near {
        [] => missing(what, name),
        near => format!("{}; the nearest: {}", missing(what, name), near.join(", ")),
    }
}

/// A name that does not exist. To search for the nearest ones takes long for many names, so only errors have them.
fn missing(what: &str, name: &str) -> String {
    let shown = name.get(..name.floor_char_boundary(MAX_TEXT_BYTES)).unwrap_or_default();
    format!("there is no {what} '{}'", sanitize(shown))
}

/// Names that an error suggests.
const SUGGESTIONS: usize = 3;
