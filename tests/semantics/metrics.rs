//! Which series a check is counted in: detailed_metric, value_to_metric, share_threshold, overrides, and the bound.

use crate::scene::{Scene, domain};

#[test]
fn series_are_named_by_the_configuration_unless_a_rule_asks_for_values() {
    Scene::new(&domain(
        "
- {key: plain, rate_limit: {unit: hour, requests_per_unit: 9}}
- {key: fixed, value: v, rate_limit: {unit: hour, requests_per_unit: 9}}
- {key: wild, value: 'a*', rate_limit: {unit: hour, requests_per_unit: 9}}
- {key: value, value_to_metric: true, rate_limit: {unit: hour, requests_per_unit: 9}}
- {key: wildvalue, value: 'a*', value_to_metric: true, rate_limit: {unit: hour, requests_per_unit: 9}}
- {key: shared, value: 'a*', share_threshold: true, value_to_metric: true, detailed_metric: true, rate_limit: {unit: hour, requests_per_unit: 9}}
- key: p
  value_to_metric: true
  descriptors:
  - {key: q, rate_limit: {unit: hour, requests_per_unit: 9}}
- key: outer
  descriptors:
  - {key: leaf, detailed_metric: true, rate_limit: {unit: hour, requests_per_unit: 9}}
- key: sh
  value: 's*'
  share_threshold: true
  descriptors:
  - {key: leaf, detailed_metric: true, rate_limit: {unit: hour, requests_per_unit: 9}}",
    ))
    .run(
        "0 | d | plain=1; plain=2; fixed=v; wild=a1; wild=a2 => OK
         0 | d | value=1; value=2; value= => OK
         0 | d | wildvalue=a1; wildvalue=a2 => OK
         0 | d | shared=a1; shared=a2 => OK
         0 | d | p=1,q=2; p=3,q=4; p=,q=5 => OK
         0 | d | outer=1,leaf=2; outer=1,leaf= => OK
         0 | d | sh=s1,leaf=2; sh=s2,leaf=2 => OK",
    )
    .counted(
        "d.fixed_v: checks 1, hits 1, within 1
         d.outer_1.leaf: checks 1, hits 1, within 1
         d.outer_1.leaf_2: checks 1, hits 1, within 1
         d.p.q: checks 1, hits 1, within 1
         d.p_1.q: checks 1, hits 1, within 1
         d.p_3.q: checks 1, hits 1, within 1
         d.plain: checks 2, hits 2, within 2
         d.sh_s*.leaf_2: checks 2, hits 2, within 2
         d.shared_a*: checks 2, hits 2, within 2
         d.value: checks 1, hits 1, within 1
         d.value_1: checks 1, hits 1, within 1
         d.value_2: checks 1, hits 1, within 1
         d.wild_a*: checks 2, hits 2, within 2
         d.wildvalue_a1: checks 1, hits 1, within 1
         d.wildvalue_a2: checks 1, hits 1, within 1",
    );
}

#[test]
fn overrides_are_counted_by_their_values() {
    Scene::new(&domain("- {key: a, rate_limit: {unit: hour, requests_per_unit: 9}}"))
        .run(
            "0 | d | a=1 limit=1/hour; b=2,c= limit=9/hour => OK
             0 | d | a=1 limit=1/hour => OVER_LIMIT",
        )
        .counted(
            "d.a_1: checks 2, hits 2, over 1, near 1, within 1, denied 1
             d.b_2.c: checks 1, hits 1, within 1",
        );
}

#[test]
fn series_by_value_are_bounded_and_totals_stay_exact() {
    let scene = Scene::new(&domain(
        "
- {key: a, value_to_metric: true, rate_limit: {unit: hour, requests_per_unit: 9}}
- {key: b, rate_limit: {unit: hour, requests_per_unit: 9}}",
    ));
    let lines = (0..10_100).map(|i| format!("0 | d | a={i}; b=v limit=4294967295/hour => OK"));
    scene.run(&lines.collect::<Vec<_>>().join("\n"));
    let series = scene.limiter().usage().series_usage();
    let total: u64 = series.iter().map(|series| series.totals.hits()).sum();
    assert_eq!(total, 2 * 10_100);
    assert!(series.len() <= 10_000 + 3, "{}", series.len());
    let other = series.last().unwrap();
    assert_eq!((other.labels.rule.as_str(), other.totals.hits()), ("other", 101));
    // A rule's own series is not affected.
    let before = scene.run_and_diff("0 | d | b=v => OK");
    assert_eq!(before, "checks 1, hits 1, within 1");
}

#[test]
fn a_long_value_becomes_no_label() {
    let scene =
        Scene::new(&domain("- {key: a, value_to_metric: true, rate_limit: {unit: hour, requests_per_unit: 9}}"));
    let long = "x".repeat(100_000);
    scene.run(&format!("0 | d | a={long}; {long}=v limit=9/hour; a=short => OK")).counted(
        "d.a_short: checks 1, hits 1, within 1
         other: checks 2, hits 2, within 2",
    );
}
