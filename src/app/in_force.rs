//! Puts a configuration in force, and logs what it changes.

use std::sync::Arc;

use crate::config::RulesInForce;
use crate::limiter::{Limiter, View};
use crate::rules::{self, Changes, RuleSet};
use crate::sanitize::sanitize_within;
use crate::units::Timestamp;

/// Puts rules and settings in force, and the candidate next to them, and logs the differences of the rules, except at the first load.
pub(super) fn replace(
    limiter: &Limiter,
    now: Timestamp,
    (rules, overlay): RulesInForce<'_>,
    candidate: Option<RulesInForce<'_>>,
) {
    let is_other = |before: &&RuleSet| !std::ptr::eq(*before, Arc::as_ptr(rules));
    let changes =
        limiter.view().as_ref().and_then(View::rules).filter(is_other).map(|before| rules::changes(before, rules));
    limiter.put_in_force(now, Arc::clone(rules), overlay);
    limiter.put_candidate(now, candidate);
    if let Some(changes) = changes {
        log(&changes);
    }
}

fn log(changes: &Changes) {
    let Changes { added, removed, changed, lines } = changes;
    if lines.is_empty() {
        return tracing::info!("no rule has changed");
    }
    tracing::info!(added, removed, changed, "rules changed");
    for line in lines {
        tracing::info!("{}", sanitize_within(MAX_LINE_BYTES, line));
    }
}

/// Enough for a rule with a deep path of which every value changed.
const MAX_LINE_BYTES: usize = 2_000;
