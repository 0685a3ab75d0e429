//! The entry keys by which the rules in force count requests.

use crate::limiter::{Limiter, View};

/// Checks that requests are counted by this key, in the domain or in any.
///
/// # Errors
/// They are not: the keys by which they are counted, and how to add one, as text to follow a colon.
pub(super) fn counted_by(limiter: &Limiter, domain: Option<&str>, key: &str) -> Result<(), String> {
    let view = limiter.view();
    let mut counting = Vec::new();
    if let Some(rules) = view.as_ref().and_then(View::rules) {
        let asked = rules.domains().filter(|own| domain.is_none_or(|name| name == own.name));
        for own in asked.filter(|own| !own.usage_by.is_empty()) {
            if own.usage_by.iter().any(|known| known == key) {
                return Ok(());
            }
            counting.push(own);
        }
    }
    let shown = counting.iter().take(MAX_SHOWN);
    let shown = shown.map(|own| format!("in domain {:?} they are counted by {}", own.name, own.usage_by.join(", ")));
    let mut known: Vec<_> = shown.collect();
    if known.is_empty() {
        known.push("no selected domain counts requests by any entry key".to_owned());
    }
    known.extend(counting.len().checked_sub(MAX_SHOWN).filter(|more| *more > 0).map(|more| format!("{more} more")));
    Err(format!("{}; to add a key, name it in `usage: {{by: [...]}}` at the top of the rules file", known.join("; ")))
}

/// The number of domains whose keys an error lists.
const MAX_SHOWN: usize = 10;
