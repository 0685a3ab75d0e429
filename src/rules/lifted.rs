//! Limits that are configured but deny nothing: `enabled: false`, and rules in shadow mode.

use std::fmt;

use super::{Rule, RuleSet};

/// Why configured limits deny nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lift {
    /// `enabled: false` of the domain.
    DomainDisabled,
    /// `enabled: false` of every limit of the rule.
    RuleDisabled,
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
    /// The rule; `None` for a whole domain, whose rules are not listed one by one.
    pub rule: Option<&'r Rule>,
    /// The number of rules concerned.
    pub rules: usize,
    /// The reason.
    pub lift: Lift,
}

/// The number of domains and rules whose limits are lifted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiftedCounts {
    /// Domains with `enabled: false`.
    pub disabled_domains: usize,
    /// Rules of other domains with `enabled: false` in all or some of their limits.
    pub disabled_rules: usize,
    /// Rules of other domains in shadow mode.
    pub shadow_rules: usize,
}

impl RuleSet {
    /// All domains and rules whose limits are lifted: domains first, then rules, in the order of the configuration. A rule is
    /// listed once, with the reason that lifts most of it.
    ///
    /// Cost: linear in the number of rules; off the decision path.
    pub fn lifted(&self) -> Vec<Lifted<'_>> {
        let disabled = self.domains().filter(|domain| !domain.enabled).map(|domain| {
            let rules = self.rules().iter().filter(|rule| rule.domain == domain.name).count();
            Lifted { domain: &domain.name, rule: None, rules, lift: Lift::DomainDisabled }
        });
        let is_enabled = |rule: &&Rule| self.domain(&rule.domain).is_none_or(|domain| domain.enabled);
        let rules = self.rules().iter().filter(is_enabled).filter_map(|rule| {
            let lift = lift(rule)?;
            Some(Lifted { domain: &rule.domain, rule: Some(rule), rules: 1, lift })
        });
        disabled.chain(rules).collect()
    }

    /// The number of domains and rules whose limits are lifted.
    pub fn lifted_counts(&self) -> LiftedCounts {
        let mut counts = LiftedCounts::default();
        for lifted in self.lifted() {
            match lifted.lift {
                Lift::DomainDisabled => counts.disabled_domains += 1,
                Lift::RuleDisabled | Lift::LimitDisabled => counts.disabled_rules += 1,
                Lift::ShadowMode => counts.shadow_rules += 1,
            }
        }
        counts
    }
}

/// As in the configuration: `rule api.key: shadow_mode: true`.
impl fmt::Display for Lifted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(rule) = self.rule else {
            let plural = if self.rules == 1 { "" } else { "s" };
            return write!(f, "domain {}: enabled: false ({} rule{plural})", self.domain, self.rules);
        };
        match self.lift {
            Lift::ShadowMode => write!(f, "rule {}: shadow_mode: true", rule.path),
            Lift::DomainDisabled | Lift::RuleDisabled => write!(f, "rule {}: enabled: false", rule.path),
            Lift::LimitDisabled => {
                let disabled = rule.limits.iter().filter(|limit| !limit.enabled).count();
                write!(f, "rule {}: enabled: false ({disabled} of {} limits)", rule.path, rule.limits.len())
            }
        }
    }
}

/// The reason why the limits of a rule in an enabled domain are lifted; `None` for a rule without limits.
fn lift(rule: &Rule) -> Option<Lift> {
    let disabled = rule.limits.iter().filter(|limit| !limit.enabled).count();
    if rule.limits.is_empty() {
        None
    } else if disabled == rule.limits.len() {
        Some(Lift::RuleDisabled)
    } else if rule.shadow_mode {
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
            let lifted: Vec<_> = set.lifted().iter().map(ToString::to_string).collect();
            assert_eq!(
                (lifted, set.lifted_counts()),
                (expected.iter().map(ToString::to_string).collect(), *counts),
                "{rules}"
            );
        }
    }
}
