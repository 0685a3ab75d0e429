//! The settings that are in force, by what they apply to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{
    AdoptedSetting, EffectiveValue, MAX_ADOPTED, MAX_LENGTH, MAX_SETTINGS, Setting, SettingChange, SettingError,
    ValueSource, check_reason,
};
use crate::rules::{Assignment, ConfiguredValue, Entry, Overlay, RuleSet, Scope, ScopeTarget, SettingName};
use crate::units::Timestamp;

/// Every setting, and the overlay that they make of the rules in force.
#[derive(Debug, Default)]
pub(crate) struct SettingsBook {
    by_target: BTreeMap<ScopeTarget, BTreeMap<(Scope, SettingName), Kept>>,
    count: usize,
    /// The order of the next change.
    next: u64,
    /// Settings have the order of their times, the same in each replica.
    is_by_time: bool,
    overlay: Overlay,
    /// The rules of a candidate, and the overlay of these.
    candidate: Option<(Arc<RuleSet>, Overlay)>,
}

/// A setting, in the form that the rules need.
#[derive(Debug)]
struct Kept {
    assignment: Assignment,
    setting: Setting,
}

impl SettingsBook {
    /// Every setting, those of everything first.
    pub(crate) fn list(&self) -> impl Iterator<Item = &Setting> {
        self.by_target.values().flat_map(|same| same.values().map(|kept| &kept.setting))
    }

    /// The overlay of the rules that it was last made for.
    pub(crate) fn overlay(&self) -> &Overlay {
        &self.overlay
    }

    /// Why a setting has no effect; `None` if it has.
    pub(crate) fn why_inactive(&self, setting: &Setting) -> Option<&str> {
        self.overlay.why_inactive(&setting.scope, setting.name)
    }

    /// Makes an overlay of the rules of a candidate too, or no longer. Cost: linear in the number of rules and settings.
    pub(crate) fn lay_over_candidate(&mut self, rules: Option<Arc<RuleSet>>) {
        self.candidate = rules.map(|rules| {
            let overlay = self.overlay_of(&rules);
            (rules, overlay)
        });
    }

    /// The rules of the candidate, and their overlay.
    pub(crate) fn candidate(&self) -> Option<(&Arc<RuleSet>, &Overlay)> {
        self.candidate.as_ref().map(|(rules, overlay)| (rules, overlay))
    }

    /// Makes the overlays again for what is set for one target.
    fn change(&mut self, overlay: Overlay, target: &ScopeTarget) {
        self.overlay = overlay;
        let candidate =
            self.candidate.as_ref().map(|(rules, overlay)| overlay.with(rules, target, &self.assignments(target)));
        if let (Some((_, overlay)), Some(changed)) = (&mut self.candidate, candidate) {
            *overlay = changed;
        }
    }

    /// The overlay of other rules. Cost: linear in the number of rules and settings.
    fn overlay_of(&self, rules: &RuleSet) -> Overlay {
        let targets = self.by_target.iter();
        Overlay::new(
            rules,
            targets.map(|(target, same)| (target, same.values().map(|kept| &kept.assignment).collect())),
        )
    }

    /// Makes the overlay of new rules.
    pub(crate) fn lay_over(&mut self, rules: &RuleSet) {
        self.overlay = self.overlay_of(rules);
    }

    /// Of two settings that are equally narrow the one wins that was set later, in whatever order they come here.
    pub(crate) fn order_by_time(&mut self) {
        self.is_by_time = true;
        for kept in self.by_target.values_mut().flat_map(BTreeMap::values_mut) {
            kept.assignment.order = kept.setting.set_at.as_ns();
        }
    }

    /// Sets and removes what others have set and removed, whether or not that has an effect on the rules in force. Of more settings than there
    /// may be, the last ones are left out.
    ///
    /// Cost: as that of [`expire`](Self::expire).
    pub(crate) fn adopt(&mut self, rules: Option<&RuleSet>, changes: Vec<AdoptedSetting>) {
        let mut targets = BTreeSet::new();
        for change in changes {
            match change {
                AdoptedSetting::Set(setting) => {
                    let target = setting.scope.target.clone();
                    if self.get(&setting.scope, setting.name).is_some() || self.count < MAX_ADOPTED {
                        self.put(setting);
                        targets.insert(target);
                    }
                }
                AdoptedSetting::Unset(scope, name) => {
                    self.take(&scope, name);
                    targets.insert(scope.target);
                }
            }
        }
        if let Some(rules) = rules {
            self.lay_over_again(rules, &targets);
        }
    }

    /// Adds a setting, or replaces that of the same scope and name. It counts as set at `set_at`.
    ///
    /// # Errors
    /// The setting would have no effect on `rules`, or there are too many. Then nothing has changed.
    pub(crate) fn set(
        &mut self,
        rules: &RuleSet,
        now: Timestamp,
        set_at: Timestamp,
        change: SettingChange,
    ) -> Result<Setting, SettingError> {
        let SettingChange { scope, name, value, length, principal, reason } = change;
        check_reason(&reason).map_err(SettingError::Invalid)?;
        if length.is_some_and(|length| length.is_zero() || length > MAX_LENGTH) {
            return Err(SettingError::Invalid("a setting is in force for 1 ns to 366 days".to_owned()));
        }
        let until = length.map(|length| now.plus(length));
        let assignment = Assignment { scope, name, value, order: self.next };
        let plain = Overlay::plain_value(rules, &assignment);
        let Assignment { scope, value, .. } = assignment;
        // Kept in one form, however it is written: `0x10` as `16`.
        let value = plain.unwrap_or(value);
        self.insert(rules, Setting { scope, name, value, principal, set_at, reason, until })
    }

    fn insert(&mut self, rules: &RuleSet, setting: Setting) -> Result<Setting, SettingError> {
        let key = (setting.scope.clone(), setting.name);
        let target = setting.scope.target.clone();
        let is_new = !self.by_target.get(&target).is_some_and(|same| same.contains_key(&key));
        if is_new && self.count >= MAX_SETTINGS {
            return Err(SettingError::TooMany);
        }
        let before = self.put(setting.clone());
        let overlay = self.overlay.with(rules, &target, &self.assignments(&target));
        if let Some(why) = overlay.why_inactive(&setting.scope, setting.name) {
            let why = why.to_owned();
            match before {
                Some(before) => self.by_target.entry(target).or_default().insert(key, before),
                None => self.take(&setting.scope, setting.name),
            };
            return Err(SettingError::Invalid(why));
        }
        self.change(overlay, &target);
        Ok(setting)
    }

    /// Adds a setting that was stored, whether or not it has an effect on the rules in force. False: beyond the bound it is not.
    pub(crate) fn restore(&mut self, setting: Setting) -> bool {
        let has_room = self.count < MAX_SETTINGS;
        if has_room {
            self.put(setting);
        }
        has_room
    }

    /// Removes a setting.
    ///
    /// # Errors
    /// There is no such setting.
    pub(crate) fn unset(&mut self, rules: &RuleSet, scope: &Scope, name: SettingName) -> Result<Setting, SettingError> {
        let Some(kept) = self.take(scope, name) else {
            return Err(SettingError::NotSet { scope: scope.clone(), name });
        };
        self.change(self.overlay.with(rules, &scope.target, &self.assignments(&scope.target)), &scope.target);
        Ok(kept.setting)
    }

    /// Removes the settings that have expired, and returns them.
    ///
    /// Cost: as that of one change, or as that of other rules if those of many rules expire together.
    pub(crate) fn expire(&mut self, rules: &RuleSet, now: Timestamp) -> Vec<Setting> {
        let is_due = |setting: &&Setting| setting.until.is_some_and(|until| until <= now);
        let due: Vec<Setting> = self.list().filter(is_due).cloned().collect();
        let mut targets = BTreeSet::new();
        for setting in &due {
            self.take(&setting.scope, setting.name);
            targets.insert(&setting.scope.target);
        }
        let targets = targets.into_iter().cloned().collect();
        self.lay_over_again(rules, &targets);
        due
    }

    /// Makes the overlays again for what is set for these targets.
    fn lay_over_again(&mut self, rules: &RuleSet, targets: &BTreeSet<ScopeTarget>) {
        if targets.len() > FEW_TARGETS {
            self.lay_over(rules);
            self.lay_over_candidate(self.candidate.as_ref().map(|(rules, _)| Arc::clone(rules)));
        } else {
            for target in targets {
                self.change(self.overlay.with(rules, target, &self.assignments(target)), target);
            }
        }
    }

    /// The next instant at which a setting expires.
    pub(crate) fn next_expiry(&self) -> Option<Timestamp> {
        self.list().filter_map(|setting| setting.until).min()
    }

    /// The setting of exactly this scope and name.
    pub(crate) fn get(&self, scope: &Scope, name: SettingName) -> Option<&Setting> {
        self.by_target.get(&scope.target)?.get(&(scope.clone(), name)).map(|kept| &kept.setting)
    }

    /// What switches off the scope of a setting, which therefore has no effect now.
    pub(crate) fn ineffective(&self, rules: &RuleSet, setting: &Setting) -> Option<ValueSource> {
        if setting.name == SettingName::Enabled && !is_true(setting) {
            return None;
        }
        let scope = with_fixed_entries(rules, &setting.scope);
        match self.disabling(rules, &scope) {
            Some(by) => Some(ValueSource::Setting(by.clone())),
            None => self.disabled_domain(rules, &scope).map(|configured| as_configured(configured).source),
        }
    }

    /// The effective value of a name in a scope, and where it comes from.
    ///
    /// # Errors
    /// The scope does not fit the rules.
    pub(crate) fn effective(
        &self,
        rules: &RuleSet,
        scope: &Scope,
        name: SettingName,
    ) -> Result<EffectiveValue, SettingError> {
        let configured = Overlay::configured(rules, scope, name).map_err(SettingError::Invalid)?;
        let scope = &with_fixed_entries(rules, scope);
        let found = match name {
            SettingName::Enabled => match (self.disabling(rules, scope), self.disabled_domain(rules, scope)) {
                (None, Some(configured)) => return Ok(as_configured(configured)),
                (off, _) => off.or_else(|| self.within(&scope.target, scope, name)),
            },
            SettingName::ShadowMode => self.narrowest(rules, scope, name),
            _ => self.within(&scope.target, scope, name),
        };
        Ok(match found {
            Some(setting) => {
                EffectiveValue { value: setting.value.clone(), source: ValueSource::Setting(setting.clone()) }
            }
            None => as_configured(configured),
        })
    }

    /// The widest setting that switches the scope off.
    fn disabling(&self, rules: &RuleSet, scope: &Scope) -> Option<&Setting> {
        let wider = Self::wider(rules, scope);
        let mut all = wider.iter().rev().flat_map(|target| self.matching(target, scope, SettingName::Enabled));
        all.find(|setting| !is_true(setting))
    }

    /// Where the configuration switches off the domain of the scope, unless a setting for the whole domain switches it on.
    fn disabled_domain(&self, rules: &RuleSet, scope: &Scope) -> Option<ConfiguredValue> {
        let name = match &scope.target {
            ScopeTarget::Everything => return None,
            ScopeTarget::Domain(name) => name,
            ScopeTarget::Rule(path) => &rules.rules_named(path).next()?.domain,
        };
        let domain = rules.domain(name).filter(|domain| !domain.enabled)?;
        let whole = Scope { target: ScopeTarget::Domain(name.clone()), ..Scope::EVERYTHING };
        let is_on = self.within(&whole.target, &whole, SettingName::Enabled).is_some();
        (!is_on).then(|| domain.configured_enabled())
    }

    /// The setting of the narrowest scope.
    fn narrowest(&self, rules: &RuleSet, scope: &Scope, name: SettingName) -> Option<&Setting> {
        Self::wider(rules, scope).iter().find_map(|target| self.within(target, scope, name))
    }

    /// The targets that include the scope, the narrowest first.
    fn wider(rules: &RuleSet, scope: &Scope) -> Vec<ScopeTarget> {
        let mut targets = vec![scope.target.clone()];
        if let ScopeTarget::Rule(path) = &scope.target
            && let Some(rule) = rules.rules_named(path).next()
        {
            targets.push(ScopeTarget::Domain(rule.domain.clone()));
        }
        if scope.target != ScopeTarget::Everything {
            targets.push(ScopeTarget::Everything);
        }
        targets
    }

    /// The narrowest setting of that name of a target that applies to the entries of the scope.
    fn within(&self, target: &ScopeTarget, scope: &Scope, name: SettingName) -> Option<&Setting> {
        self.matching(target, scope, name).pop()
    }

    /// The settings of that name of a target that apply to the entries of the scope, the narrowest last.
    fn matching(&self, target: &ScopeTarget, scope: &Scope, name: SettingName) -> Vec<&Setting> {
        let has = |entry: &(String, String)| scope.entries.contains(entry);
        let fits = |kept: &&Kept| {
            let other = &kept.setting.scope;
            let same_limit = other.limit == scope.limit || scope.limit == 0 || other.limit == 0;
            kept.setting.name == name && same_limit && other.entries.iter().all(has) && self.is_active(kept)
        };
        let all = self.by_target.get(target).into_iter().flat_map(BTreeMap::values);
        let mut found: Vec<_> = all.filter(fits).collect();
        found.sort_by_key(|kept| (kept.setting.scope.entries.len(), kept.assignment.order));
        found.into_iter().map(|kept| &kept.setting).collect()
    }

    /// Every setting that applies to a check of a rule with these entries, the widest first.
    pub(crate) fn of_check(&self, rules: &RuleSet, path: &str, entries: &[Entry<'_>]) -> Vec<&Setting> {
        let pairs = entries.iter().map(|entry| (entry.key.to_string(), entry.value.to_string())).collect();
        let scope = Scope { target: ScopeTarget::Rule(path.to_owned()), entries: pairs, limit: 0 };
        let targets = Self::wider(rules, &scope);
        let names = || SettingName::ALL.into_iter();
        targets.iter().rev().flat_map(|target| names().flat_map(|name| self.matching(target, &scope, name))).collect()
    }

    fn is_active(&self, kept: &Kept) -> bool {
        self.overlay.why_inactive(&kept.setting.scope, kept.setting.name).is_none()
    }

    fn put(&mut self, setting: Setting) -> Option<Kept> {
        let (scope, name, value) = (setting.scope.clone(), setting.name, setting.value.clone());
        let order = if self.is_by_time { setting.set_at.as_ns() } else { self.next };
        let assignment = Assignment { scope: scope.clone(), name, value, order };
        self.next += 1;
        let same = self.by_target.entry(scope.target.clone()).or_default();
        let before = same.insert((scope, name), Kept { assignment, setting });
        self.count += usize::from(before.is_none());
        before
    }

    fn take(&mut self, scope: &Scope, name: SettingName) -> Option<Kept> {
        let same = self.by_target.get_mut(&scope.target)?;
        let kept = same.remove(&(scope.clone(), name))?;
        self.count -= 1;
        if same.is_empty() {
            self.by_target.remove(&scope.target);
        }
        Some(kept)
    }

    fn assignments(&self, target: &ScopeTarget) -> Vec<&Assignment> {
        self.by_target.get(target).into_iter().flat_map(BTreeMap::values).map(|kept| &kept.assignment).collect()
    }
}

/// The scope of a rule with the entries that all of its checks have.
fn with_fixed_entries(rules: &RuleSet, scope: &Scope) -> Scope {
    let mut scope = scope.clone();
    if let ScopeTarget::Rule(path) = &scope.target
        && let Some(rule) = rules.rules_named(path).next()
    {
        let missing = rule.fixed_entries().into_iter().filter(|(key, _)| !scope.entries.iter().any(|(k, _)| k == key));
        let missing: Vec<_> = missing.collect();
        scope.entries.extend(missing);
    }
    scope
}

fn as_configured(configured: ConfiguredValue) -> EffectiveValue {
    let source =
        configured.origin.map_or(ValueSource::Default, |origin| ValueSource::Configuration(origin.to_string()));
    EffectiveValue { value: configured.value, source }
}

fn is_true(setting: &Setting) -> bool {
    setting.value.trim() == "true"
}

/// Rules and domains up to which their overlays are made one by one.
const FEW_TARGETS: usize = 8;
