//! Puts a configuration in force, and logs what it changes.

use crate::limiter::{Limiter, View};
use crate::rules::{self, Changes, RuleSet};
use crate::sanitize::sanitize_within;
use crate::units::Timestamp;

/// Replaces the rules in force, and logs the differences, except at the first load.
pub(super) fn replace(limiter: &Limiter, now: Timestamp, rules: RuleSet) {
    let changes = limiter.view().as_ref().and_then(View::rules).map(|before| rules::changes(before, &rules));
    limiter.replace_rules(now, rules);
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
