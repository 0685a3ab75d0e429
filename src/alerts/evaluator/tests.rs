//! Scripts of denials, and the notifications that they cause.

use super::*;
use crate::rules::{LoadOptions, RuleSet, SourceFile, load};
use crate::units::Nanos;
use crate::usage::{DeniedDescriptor, DeniedLimit, denial_for_tests, limit_for_tests};

const ALERTS: &str = "
domain: api
descriptors:
- {key: partner, rate_limit: {unit: second, requests_per_unit: 1}}
- {key: tenant, rate_limit: {unit: second, requests_per_unit: 1}}
alerts:
- {name: a, denials: 10, window: 1m, repeat_interval: 5m, ";

/// Rules with one alert that has these further keys.
fn rules(keys: &str) -> RuleSet {
    let text = format!("{ALERTS}{keys}}}\n").into_bytes();
    load(&[SourceFile { name: "f".into(), text }], LoadOptions::default()).unwrap()
}

fn evaluator(keys: &str) -> Evaluator {
    let mut evaluator = Evaluator::default();
    evaluator.configure(rules(keys).domains());
    evaluator
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_ns(1_000_000_000_000).plus(Nanos::from_secs(seconds))
}

fn denial(seconds: u64, rule: &str, entries: &[(&str, &str)]) -> Denial {
    Denial { at: at(seconds), ..denial_for_tests("api", rule, entries) }
}

/// What fired: subject, denials, since the last message, messages suppressed.
fn fired(evaluator: &mut Evaluator, seconds: u64) -> Vec<(Subject, u64, u64, u64)> {
    let messages = evaluator.fire(at(seconds)).into_iter();
    messages.map(|message| (message.subject, message.denials, message.since_last, message.suppressed)).collect()
}

#[test]
fn a_rule_fires_when_its_count_is_reached_within_the_time() {
    // Second, denials in it, and the notification.
    let script = [
        (0, 9, None),
        (30, 0, None),
        (61, 0, None),
        (70, 1, None), // The nine are too old by now.
        (75, 8, None),
        (80, 1, Some((10, 19, 0))),
        (81, 0, None),
        (82, 0, None),
    ];
    let mut evaluator = evaluator("rule: partner");
    for (second, denials, expected) in script {
        evaluator.count_rule(at(second), "api", "api.partner", denials);
        evaluator.count_rule(at(second), "api", "api.tenant", 1_000);
        evaluator.count_rule(at(second), "other", "api.partner", 1_000);
        let reported = |(n, since, suppressed)| (Subject::Rule("api.partner".into()), n, since, suppressed);
        assert_eq!(fired(&mut evaluator, second), Vec::from_iter(expected.map(reported)), "at {second}");
    }
}

#[test]
fn each_rule_counts_on_its_own() {
    let mut evaluator = evaluator("");
    for (rule, denials) in [("api.partner", 12), ("api.tenant", 9)] {
        evaluator.count_rule(at(0), "api", rule, denials);
    }
    assert_eq!(fired(&mut evaluator, 0), [(Subject::Rule("api.partner".into()), 12, 12, 0)]);
    evaluator.count_rule(at(1), "api", "api.tenant", 1);
    assert_eq!(fired(&mut evaluator, 1), [(Subject::Rule("api.tenant".into()), 10, 10, 0)]);
}

#[test]
fn the_repeat_interval_suppresses_and_the_next_message_says_how_much() {
    let mut evaluator = evaluator("");
    let mut reported = Vec::new();
    // Ten denials a second: the count is reached in each.
    for second in 0..=601 {
        evaluator.count_rule(at(second), "api", "api.partner", 10);
        reported.extend(
            fired(&mut evaluator, second)
                .into_iter()
                .map(|(_, n, since, repeat_interval)| (second, n, since, repeat_interval)),
        );
    }
    assert_eq!(reported, [(0, 10, 10, 0), (300, 10, 3_000, 299), (600, 10, 3_000, 299)]);
}

#[test]
fn entries_count_by_value_whatever_the_rule() {
    let mut evaluator = evaluator("per: {entry: partner}");
    assert!(evaluator.counts_entries() && !evaluator.counts_rules());
    for _ in 0..5 {
        evaluator.count_denial(&denial(0, "api.partner", &[("partner", "acme")]));
        evaluator.count_denial(&denial(1, "api.tenant", &[("tenant", "t"), ("partner", "acme")]));
        evaluator.count_denial(&denial(1, "api.tenant", &[("tenant", "acme")]));
        evaluator.count_denial(&denial(1, "api.partner", &[("partner", "bolt")]));
        let shadow = Denial { shadow: true, ..denial(1, "api.partner", &[("partner", "bolt")]) };
        (0..9).for_each(|_| evaluator.count_denial(&shadow));
    }
    assert_eq!(fired(&mut evaluator, 1), [(Subject::Value("acme".into()), 10, 10, 0)]);
}

#[test]
fn an_alert_may_be_about_one_rule_and_its_entries() {
    let mut evaluator = evaluator("rule: api.partner, per: {entry: partner}");
    for _ in 0..10 {
        evaluator.count_denial(&denial(0, "api.partner", &[("partner", "a\nb")]));
        evaluator.count_denial(&denial(0, "api.other", &[("partner", "acme")]));
    }
    assert_eq!(fired(&mut evaluator, 0), [(Subject::Value(r"a\nb".into()), 10, 10, 0)]);
}

#[test]
fn a_denied_check_counts_once_for_the_value_that_any_of_its_descriptors_has() {
    let entry = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
    // Denied for the tenant and for the partner; the user is in a descriptor that nothing denied.
    let mut check = denial(0, "api.tenant", &[("tenant", "t")]);
    check.descriptors.push(DeniedDescriptor { index: 1, entries: entry("partner", "acme") });
    check
        .descriptors
        .push(DeniedDescriptor { index: 2, entries: [entry("user", "ann"), entry("partner", "b")].concat() });
    check.others.push(DeniedLimit { descriptor: 2, ..limit_for_tests("api.partner") });
    for (keys, value) in [
        ("per: {entry: user}", "ann"),
        ("per: {entry: tenant}", "t"),
        ("rule: api.tenant, per: {entry: user}", "ann"),
        ("per: {entry: partner}", "acme"),
        // Of two values the one in the descriptor that the rule denied.
        ("rule: api.partner, per: {entry: partner}", "b"),
    ] {
        let mut evaluator = evaluator(keys);
        (0..10).for_each(|_| evaluator.count_denial(&check));
        assert_eq!(fired(&mut evaluator, 0), [(Subject::Value(value.into()), 10, 10, 0)], "{keys}");
    }
}

#[test]
fn values_beyond_the_bound_are_one_until_others_are_over() {
    let mut evaluator = evaluator("per: {entry: partner}");
    let count = |evaluator: &mut Evaluator, second, value: &str| {
        evaluator.count_denial(&denial(second, "api.partner", &[("partner", value)]));
    };
    for value in 0..MAX_SUBJECTS + 10 {
        count(&mut evaluator, 0, &value.to_string());
    }
    assert_eq!(fired(&mut evaluator, 0), [(Subject::Other, 10, 10, 0)]);
    assert_eq!(evaluator.subjects, MAX_SUBJECTS + 1);
    for _ in 0..10 {
        count(&mut evaluator, 120, "new");
    }
    assert_eq!(fired(&mut evaluator, 120), [(Subject::Value("new".into()), 10, 10, 0)]);
    // `other` is still within its repeat interval, so it is kept.
    assert_eq!(evaluator.subjects, 2);
}

#[test]
fn a_reload_keeps_the_counts_of_alerts_that_stay_as_they_are() {
    let mut evaluator = evaluator("");
    evaluator.count_rule(at(0), "api", "api.partner", 9);
    evaluator.configure(rules("").domains());
    evaluator.count_rule(at(1), "api", "api.partner", 1);
    assert_eq!(fired(&mut evaluator, 1).len(), 1);
    evaluator.count_rule(at(2), "api", "api.partner", 9);
    evaluator.configure(rules("per: {entry: partner}").domains());
    evaluator.configure(rules("").domains());
    evaluator.count_rule(at(3), "api", "api.partner", 1);
    assert_eq!(fired(&mut evaluator, 3), []);
}
