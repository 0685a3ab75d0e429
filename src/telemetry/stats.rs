//! The statistics of the reference service as it prints them at `/stats`: one per line, with its names.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::labels::sanitized;
use super::snapshot::{RuleSeries, Snapshot};
use crate::usage::Measure;

/// `NAME: VALUE` in the order of names.
pub fn stats_text(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    for (name, value) in statistics(snapshot) {
        // Writing to a String does not fail.
        let _written = writeln!(text, "{name}: {value}");
    }
    text
}

/// Each counter of the reference service with its name.
pub(super) fn statistics(snapshot: &Snapshot) -> BTreeMap<String, u64> {
    let mut stats = BTreeMap::new();
    for RuleSeries { domain, rule, totals, .. } in &snapshot.rules {
        let path = rule.strip_prefix(domain).and_then(|path| path.strip_prefix('.')).unwrap_or(rule);
        let name = format!("ratelimit.service.rate_limit.{}.{}", sanitized(domain), sanitized(path));
        for (end, measure) in OF_RULES {
            // Paths that are spelled the same are one, as there.
            *stats.entry(format!("{name}.{end}")).or_insert(0) += totals.get(measure);
        }
    }
    for (domain, count) in &snapshot.domains_not_found {
        *stats.entry(format!("ratelimit.service.rate_limit.{}.domain_not_found", sanitized(domain))).or_insert(0) +=
            count;
    }
    stats.insert("ratelimit.service.config_load_success".to_owned(), snapshot.config.successes);
    stats.insert("ratelimit.service.config_load_error".to_owned(), snapshot.config.failures);
    stats.insert("ratelimit.service.global_shadow_mode".to_owned(), snapshot.global_shadow_mode);
    let errors = snapshot.errors.iter().map(|(_, count)| count).sum();
    stats.insert("ratelimit.service.call.should_rate_limit.service_error".to_owned(), errors);
    for (method, count) in &snapshot.requests {
        stats.insert(format!("ratelimit_server.{method}.total_requests"), *count);
    }
    stats
}

const OF_RULES: [(&str, Measure); 5] = [
    ("total_hits", Measure::Hits),
    ("over_limit", Measure::HitsOverLimit),
    ("near_limit", Measure::HitsNearLimit),
    ("within_limit", Measure::HitsWithinLimit),
    ("shadow_mode", Measure::HitsShadowDenied),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::Totals;

    #[test]
    fn names_are_those_of_the_reference() {
        let series = |rule: &str, hits| RuleSeries {
            domain: "a:b".into(),
            rule: rule.into(),
            totals: Totals::default().with(Measure::HitsOverLimit, hits),
            ..RuleSeries::default()
        };
        let rules = vec![series("a:b.ip_10.0.0.1.path", 2), series("a:b.ip_10_0_0_1.path", 3)];
        let text = stats_text(&Snapshot { rules, ..Snapshot::default() });
        for line in [
            "ratelimit.service.rate_limit.a_b.ip_10_0_0_1.path.over_limit: 5",
            "ratelimit.service.rate_limit.a_b.ip_10_0_0_1.path.total_hits: 0",
            "ratelimit.service.config_load_success: 0",
        ] {
            assert!(text.lines().any(|shown| shown == line), "no {line:?} in\n{text}");
        }
    }
}
