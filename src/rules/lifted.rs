//! Limits that are configured but deny nothing: because of `enabled: false`, shadow mode, or a setting.

use std::fmt;
use std::sync::Arc;

use super::{Domain, DomainOverlay, Overlay, Rule, RuleOverlay, RuleSet, Switches};

/// Why configured limits deny nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lift {
    /// `enabled: false` of the domain, or of everything.
    DomainDisabled,
    /// `enabled: false` of every limit of the rule.
    RuleDisabled,
    /// A setting makes the rule unlimited.
    Unlimited,
    /// The rule is in shadow mode.
    ShadowMode,
    /// `enabled: false` of some limits of the rule; the others are in force.
    LimitDisabled,
}

impl Lift {
    /// Its name in the metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::DomainDisabled => "domain_disabled",
            Self::RuleDisabled => "rule_disabled",
            Self::Unlimited => "unlimited",
            Self::ShadowMode => "shadow_mode",
            Self::LimitDisabled => "limit_disabled",
        }
    }
}

/// A domain or a rule whose limits are lifted.
#[derive(Clone, Copy, Debug)]
pub struct Lifted<'r> {
    /// The domain's name.
    pub domain: &'r str,
    /// The rule, as it is in force; `None` for a whole domain, whose rules are not listed one by one.
    pub rule: Option<&'r Rule>,
    /// The number of rules concerned.
    pub rules: usize,
    /// The reason.
    pub lift: Lift,
    /// Only for checks with these entries.
    pub entries: &'r [(String, String)],
    /// A setting lifts them, not the configuration.
    pub by_setting: bool,
}

/// The number of domains and rules whose limits are lifted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiftedCounts {
    /// Domains with `enabled: false`.
    pub disabled_domains: usize,
    /// Rules of other domains that are disabled or unlimited, in all or some of their limits.
    pub disabled_rules: usize,
    /// Rules of other domains in shadow mode.
    pub shadow_rules: usize,
}

impl RuleSet {
    /// All domains and rules whose limits are lifted, with the settings over them: domains first, then rules, in the order of the
    /// configuration. A rule is listed once, with the reason that lifts most of it, and once more for each set of entries for
    /// which settings lift more.
    ///
    /// Cost: linear in the number of rules and settings; off the decision path.
    pub fn lifted<'r>(&'r self, overlay: &'r Overlay) -> Vec<Lifted<'r>> {
        let mut lifted = Vec::new();
        for domain in self.domains() {
            let switches = overlay.switches_of(domain);
            let rules = || self.rules().iter().filter(|rule| rule.domain == domain.name).count();
            if !switches.enabled.unwrap_or(domain.enabled) {
                lifted.push(Lifted::domain(domain, rules(), &[], switches.enabled.is_some()));
                continue;
            }
            let narrow = overlay.domain(&domain.name).map(DomainOverlay::narrow).unwrap_or_default();
            for (entries, narrow) in narrow {
                let lift = match narrow {
                    Switches { enabled: Some(false), .. } => Lift::DomainDisabled,
                    Switches { shadow_mode: Some(true), .. } => Lift::ShadowMode,
                    _ => continue,
                };
                let concerned =
                    self.rules().iter().filter(|rule| rule.domain == domain.name && may_have(rule, entries));
                lifted.push(Lifted { lift, ..Lifted::domain(domain, concerned.count(), entries, true) });
            }
        }
        for rule in self.rules() {
            if let Some(domain) = self.domain(&rule.domain) {
                let switches = overlay.switches_of(domain);
                if switches.enabled.unwrap_or(domain.enabled) {
                    lifted.extend(lifted_rule(rule, overlay.rule(rule.index), switches.shadow_mode));
                }
            }
        }
        lifted
    }

    /// The number of domains and rules whose limits are lifted.
    pub fn lifted_counts(&self, overlay: &Overlay) -> LiftedCounts {
        let mut counts = LiftedCounts::default();
        for lifted in self.lifted(overlay).iter().filter(|lifted| lifted.entries.is_empty()) {
            match lifted.lift {
                Lift::DomainDisabled => counts.disabled_domains += 1,
                Lift::RuleDisabled | Lift::LimitDisabled | Lift::Unlimited => counts.disabled_rules += 1,
                Lift::ShadowMode => counts.shadow_rules += 1,
            }
        }
        counts
    }
}

/// Whether descriptors of the rule can have all of these entries.
fn may_have(rule: &Rule, entries: &[(String, String)]) -> bool {
    entries.iter().all(|(key, value)| rule.levels.iter().any(|level| level.fits(key, value)))
}

/// What is lifted of a rule, for all checks and for those with certain entries.
fn lifted_rule<'r>(
    rule: &'r Rule,
    overlay: Option<&'r Arc<RuleOverlay>>,
    shadow_mode: Option<bool>,
) -> Vec<Lifted<'r>> {
    let of = |set: &'r Rule, own_shadow: Option<bool>, entries: &'r [(String, String)]| {
        let shadow = own_shadow.or(shadow_mode).unwrap_or(rule.shadow_mode);
        let lift = lift(rule, set, shadow)?;
        let configured = self::lift(rule, rule, rule.shadow_mode);
        let by_setting = configured != Some(lift);
        Some(Lifted { domain: &rule.domain, rule: Some(set), rules: 1, lift, entries, by_setting })
    };
    let Some(overlay) = overlay else { return of(rule, None, &[]).into_iter().collect() };
    let whole = of(&overlay.whole().rule, overlay.whole().shadow_mode, &[]);
    let cases = overlay.cases().iter().filter_map(|case| of(&case.rule, case.shadow_mode, &case.entries));
    let more = cases.filter(|case| whole.is_none_or(|whole| whole.lift != case.lift));
    whole.into_iter().chain(more).collect()
}

impl<'r> Lifted<'r> {
    fn domain(domain: &'r Domain, rules: usize, entries: &'r [(String, String)], by_setting: bool) -> Self {
        Self { domain: &domain.name, rule: None, rules, lift: Lift::DomainDisabled, entries, by_setting }
    }
}

/// As in the configuration: `rule api.key, user=ann: shadow_mode: true (setting)`.
impl fmt::Display for Lifted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rule {
            None => write!(f, "domain {}", self.domain)?,
            Some(rule) => write!(f, "rule {}", rule.path)?,
        }
        self.entries.iter().try_for_each(|(key, value)| write!(f, ", {key}={value}"))?;
        f.write_str(match self.lift {
            Lift::ShadowMode => ": shadow_mode: true",
            Lift::Unlimited => ": unlimited",
            Lift::DomainDisabled | Lift::RuleDisabled | Lift::LimitDisabled => ": enabled: false",
        })?;
        match (self.rule, self.lift) {
            (None, _) => write!(f, " ({} rule{})", self.rules, if self.rules == 1 { "" } else { "s" })?,
            (Some(rule), Lift::LimitDisabled) => {
                let disabled = rule.limits.iter().filter(|limit| !limit.enabled).count();
                write!(f, " ({disabled} of {} limits)", rule.limits.len())?;
            }
            _ => {}
        }
        if self.by_setting { f.write_str(" (setting)") } else { Ok(()) }
    }
}

/// The reason why the limits of a rule in an enabled domain are lifted; `None` for a rule that is configured without limits.
/// `set` is the rule with the values of settings.
fn lift(configured: &Rule, set: &Rule, shadow_mode: bool) -> Option<Lift> {
    let disabled = set.limits.iter().filter(|limit| !limit.enabled).count();
    if set.limits.is_empty() {
        (!configured.limits.is_empty()).then_some(Lift::Unlimited)
    } else if disabled == set.limits.len() {
        Some(Lift::RuleDisabled)
    } else if shadow_mode {
        Some(Lift::ShadowMode)
    } else {
        (disabled > 0).then_some(Lift::LimitDisabled)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LoadOptions, SourceFile, load};
    use super::*;

    #[test]
    fn what_is_off_is_listed_once() {
        let cases: &[(&str, &[&str], LiftedCounts)] = &[
            ("- {key: k, rate_limit: {unit: day, requests_per_unit: 1}}", &[], LiftedCounts::default()),
            ("- {key: k, shadow_mode: true, rate_limit: {unlimited: true}}", &[], LiftedCounts::default()),
            (
                "- {key: k, shadow_mode: true, rate_limit: {unit: day, requests_per_unit: 1}}",
                &["rule d.k: shadow_mode: true"],
                LiftedCounts { shadow_rules: 1, ..LiftedCounts::default() },
            ),
            (
                "- {key: k, value: v, shadow_mode: true, rate_limit: {unit: day, requests_per_unit: 1, enabled: false}}",
                &["rule d.k_v: enabled: false"],
                LiftedCounts { disabled_rules: 1, ..LiftedCounts::default() },
            ),
            (
                "- key: k\n  rate_limits:\n  - {unit: day, requests_per_unit: 1, enabled: false}\n  - {unit: hour, requests_per_unit: 1}",
                &["rule d.k: enabled: false (1 of 2 limits)"],
                LiftedCounts { disabled_rules: 1, ..LiftedCounts::default() },
            ),
            (
                "- {key: k, shadow_mode: true, rate_limit: {unit: day, requests_per_unit: 1}}\nenabled: false",
                &["domain d: enabled: false (1 rule)"],
                LiftedCounts { disabled_domains: 1, ..LiftedCounts::default() },
            ),
        ];
        for (rules, expected, counts) in cases {
            let text = format!("domain: d\ndescriptors:\n{rules}\n").into_bytes();
            let set = load(&[SourceFile { name: "f".into(), text }], LoadOptions::default()).unwrap();
            let overlay = Overlay::default();
            let lifted: Vec<_> = set.lifted(&overlay).iter().map(ToString::to_string).collect();
            assert_eq!(
                (lifted, set.lifted_counts(&overlay)),
                (expected.iter().map(ToString::to_string).collect(), *counts),
                "{rules}"
            );
        }
    }
}
