//! Explains what a check would get, with the settings that apply to it.

use super::Operations;
use super::counters::BadRequest;
use crate::config::{Setting, SettingsBook};
use crate::limiter::ExplainedLimit;
use crate::rules::{Entry, How, NearMiss, Rule, RuleSet, Scope, ScopeTarget, SettingName, Step, unknown};

/// An explanation, in words where people read it.
#[derive(Debug)]
pub(crate) struct ExplainedCheck {
    /// What each entry matched.
    pub(crate) steps: Vec<Step>,
    /// The path of the rule that was found.
    pub(crate) rule: Option<String>,
    /// Why none was found, or why the rule does not limit the check.
    pub(crate) why: String,
    /// The paths of rules that nearly match, with what is missing.
    pub(crate) near_misses: Vec<(String, String)>,
    /// The limits, each with where it comes from.
    pub(crate) limits: Vec<(ExplainedLimit, String)>,
    pub(crate) over_limit: bool,
    pub(crate) shadow_mode: bool,
    /// The settings that apply, the widest first.
    pub(crate) settings: Vec<Setting>,
}

impl Operations {
    /// Explains what a check with one descriptor would get. Charges nothing.
    ///
    /// # Errors
    /// There is no such domain, or the descriptor has no entries.
    pub(crate) fn explain(
        &self,
        domain: &str,
        entries: &[(String, String)],
        hits: u64,
    ) -> Result<ExplainedCheck, BadRequest> {
        let view = self.limiter.view().ok_or_else(|| BadRequest("no configuration is in force".to_owned()))?;
        let now = self.clock.now();
        let entries = Entry::borrowed(entries);
        let Some(explained) = view.explain(now, domain, &entries, hits) else {
            let domains = view.rules().into_iter().flat_map(RuleSet::domains).map(|domain| &*domain.name);
            return Err(BadRequest(unknown("domain", domain, domains)));
        };
        let settings = |rule: &Rule| {
            self.publisher.read(|book, rules| {
                let rules = rules?;
                Some(book.of_check(rules, &rule.path, &entries).into_iter().cloned().collect::<Vec<_>>())
            })
        };
        let applying = explained.rule.and_then(settings).unwrap_or_default();
        let why = match (&explained.explanation.ended, explained.rule) {
            (Some(ended), _) => ended.to_string(),
            (None, Some(rule)) => why_not_limited(rule, explained.enabled, explained.shadow_mode),
            (None, None) => String::new(),
        };
        let limits = explained.limits.into_iter().map(|limit| {
            let source = explained.rule.map_or_else(String::new, |rule| self.source(rule, &entries, &limit));
            (limit, source)
        });
        Ok(ExplainedCheck {
            steps: explained.explanation.steps.clone(),
            rule: explained.rule.map(|rule| rule.path.clone()),
            why,
            near_misses: explained.explanation.near_misses.iter().map(near_miss).collect(),
            limits: limits.collect(),
            over_limit: explained.over_limit,
            shadow_mode: explained.shadow_mode,
            settings: applying,
        })
    }

    /// Where the number of a limit comes from.
    fn source(&self, rule: &Rule, entries: &[Entry<'_>], limit: &ExplainedLimit) -> String {
        let pairs = entries.iter().map(|entry| (entry.key.to_string(), entry.value.to_string())).collect();
        let place = if rule.has_several_limits() { u32::try_from(limit.counter.place).unwrap_or(0) } else { 0 };
        let scope = Scope { target: ScopeTarget::Rule(rule.path.clone()), entries: pairs, limit: place };
        let effective = self.publisher.effective(&scope, SettingName::RequestsPerUnit);
        effective.map(|effective| effective.source.to_string()).unwrap_or_default()
    }

    /// Reads the settings, which do not change meanwhile.
    pub(crate) fn read_settings<T>(&self, read: impl FnOnce(&SettingsBook) -> T) -> T {
        self.publisher.read(|book, _| read(book))
    }
}

fn near_miss(near: &NearMiss<'_>) -> (String, String) {
    (near.rule.path.clone(), near.reason.to_string())
}

/// Why a rule that was found limits nothing; empty if it does.
fn why_not_limited(rule: &Rule, enabled: bool, shadow_mode: bool) -> String {
    let text = if rule.unlimited {
        "the rule is unlimited"
    } else if !enabled {
        "switched off (enabled: false) for these entries: as if there were no limit"
    } else if rule.limits.iter().all(|limit| !limit.enabled) {
        "the rule is switched off (enabled: false): as if there were no limit"
    } else if shadow_mode {
        "the rule is in shadow mode: what is over its limit is admitted"
    } else {
        ""
    };
    text.to_owned()
}

/// The name of how an entry was matched.
pub(crate) fn how(how: How) -> &'static str {
    match how {
        How::Exact => "exact",
        How::Pattern => "pattern",
        How::Default => "default",
        How::Nothing => "none",
    }
}
