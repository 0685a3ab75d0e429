//! Which settings and changes a request lists.

use crate::api::proto::tidegate::v1 as proto;
use crate::limiter::{Limiter, View};

/// Selects scopes. All given conditions must hold; an empty filter selects all.
#[derive(Clone, Debug, Default)]
pub(super) struct ScopeFilter {
    pub(super) rule: String,
    pub(super) domain: String,
    pub(super) entries: Vec<proto::Entry>,
}

impl ScopeFilter {
    /// Whether it selects a scope; what has none, such as a candidate, only if it selects all.
    pub(super) fn takes(&self, scope: Option<&proto::SettingScope>, limiter: &Limiter) -> bool {
        let Self { rule, domain, entries } = self;
        let Some(scope) = scope else { return rule.is_empty() && domain.is_empty() && entries.is_empty() };
        (rule.is_empty() || scope.rule == *rule)
            && (domain.is_empty() || scope.domain == *domain || is_of(&scope.rule, domain, limiter))
            && entries.iter().all(|entry| scope.entries.contains(entry))
    }
}

/// Whether a rule belongs to a domain. Of one that is not in force, the path tells.
fn is_of(path: &str, domain: &str, limiter: &Limiter) -> bool {
    let view = limiter.view();
    match view.as_ref().and_then(View::rules).and_then(|rules| rules.rules_named(path).next()) {
        Some(rule) => rule.domain == domain,
        None => path.strip_prefix(domain).is_some_and(|rest| rest.starts_with('.')),
    }
}
