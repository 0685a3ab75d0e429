//! Who is told to have used what: the usage by rule and by counter, as observers see it.

use tidegate::limiter::Settings;
use tidegate::units::Timestamp;

use crate::scene::{Scene, domain};

/// Runs the script; then what each counter was allowed and denied is `want`, a line for each, and it adds up.
#[track_caller]
fn check(config: &str, script: &str, want: &str) {
    let scene = Scene::with(Settings { usage_series: 100, ..Settings::default() }, config);
    scene.run(script);
    assert_usage(&scene, want);
}

#[track_caller]
fn assert_usage(scene: &Scene, want: &str) {
    let usage = scene.limiter().usage().snapshot();
    let rows = usage.counters.iter().map(|counter| {
        let entries: Vec<_> = counter.name.entries.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let name = if counter.other { "other".to_owned() } else { entries.join(",") };
        let totals = counter.totals;
        format!("{} {name}: {} + {}", counter.name.rule.path, totals.requests_allowed, totals.requests_denied)
    });
    let want: Vec<_> = want.lines().map(str::trim).collect();
    assert_eq!(rows.collect::<Vec<_>>(), want);
    let of_counters: u64 = usage.counters.iter().map(|counter| counter.totals.hits()).sum();
    assert_eq!(of_counters, usage.total().hits(), "the counters add up to the rules");
    let metrics: u64 = scene.limiter().usage().series_usage().iter().map(|series| series.totals.hits()).sum();
    assert_eq!(metrics, usage.total().hits(), "the metrics tell the same");
}

#[test]
fn each_set_of_values_is_told_apart() {
    check(
        &domain("- {key: a, rate_limit: {unit: hour, requests_per_unit: 2}}"),
        "0 x2 | d | a=v => OK
         0 x3 | d | a=v => OVER_LIMIT
         0    | d | a=w => OK
         0    | d | b=w => OK",
        "d.a a=v: 2 + 3
         d.a a=w: 1 + 0",
    );
}

#[test]
fn a_counter_that_is_looked_at_is_the_same_one() {
    check(
        &domain("- {key: a, rate_limit: {unit: hour, requests_per_unit: 2}}"),
        "0    | d | a=v +0 => OK
         0    | d | a=v    => OK
         7200 | d | a=v    => OK",
        "d.a a=v: 3 + 0",
    );
}

#[test]
fn several_limits_of_a_rule_are_one() {
    check(
        &domain("- {key: a, rate_limits: [{unit: second, requests_per_unit: 2}, {unit: hour, requests_per_unit: 3}]}"),
        "0 x2 | d | a=v => OK
         0    | d | a=v => OVER_LIMIT
         1    | d | a=v => OK
         1    | d | a=v => OVER_LIMIT",
        "d.a a=v: 3 + 2",
    );
}

#[test]
fn a_rule_is_told_by_its_first_limit_also_when_that_counter_is_gone() {
    let limits = "[{unit: second, requests_per_unit: 2}, {unit: day, requests_per_unit: 2}]";
    let scene = Scene::new(&domain(&format!("- {{key: a, rate_limits: {limits}}}")));
    scene.run("0 x2 | d | a=v => OK");
    scene.limiter().store().sweep_all(Timestamp::from_ns(9_000_000_000));
    scene.run("9 x3 | d | a=v => OVER_LIMIT");
    assert_usage(&scene, "d.a a=v: 2 + 3");
}

#[test]
fn what_is_denied_all_or_nothing_counts_where_it_was_denied() {
    check(
        "domain: d
charge: all_or_nothing
descriptors:
  - {key: user, rate_limit: {unit: hour, requests_per_unit: 9}}
  - {key: tenant, rate_limit: {unit: hour, requests_per_unit: 2}}",
        "0 x2 | d | user=u; tenant=t => OK
         0 x3 | d | user=w; tenant=t => OVER_LIMIT",
        "d.tenant tenant=t: 2 + 3
         d.user user=u: 2 + 0",
    );
}

#[test]
fn limits_that_requests_bring_along_are_one_rule() {
    check(
        &domain("- {key: a, rate_limit: {unit: hour, requests_per_unit: 9}}"),
        "0    | d | a=v limit=1/hour => OK
         0    | d | a=v limit=1/hour => OVER_LIMIT
         0    | d | b=w limit=1/minute => OK
         0    | d | a=v => OK",
        "d.(override) a=v: 1 + 1
         d.(override) b=w: 1 + 0
         d.a a=v: 1 + 0",
    );
}

#[test]
fn metrics_by_value_change_nothing_for_observers() {
    check(
        &domain("- {key: a, value_to_metric: true, rate_limit: {unit: hour, requests_per_unit: 1}}"),
        "0    | d | a=v => OK
         0    | d | a=v => OVER_LIMIT
         0    | d | a=w => OK",
        "d.a a=v: 1 + 1
         d.a a=w: 1 + 0",
    );
}

#[test]
fn checks_without_a_counter_are_other() {
    check(&domain("- {key: a, rate_limit: {unlimited: true}}"), "0 x3 | d | a=v => OK", "d.a other: 3 + 0");
}

#[test]
fn a_shared_pattern_is_told_as_it_is_configured() {
    check(
        &domain("- {key: a, value: v*, share_threshold: true, rate_limit: {unit: hour, requests_per_unit: 2}}"),
        "0 | d | a=v1 => OK
         0 | d | a=v2 => OK
         0 | d | a=v3 => OVER_LIMIT",
        "d.a_v* a=v*: 2 + 1",
    );
}

#[test]
fn a_reload_with_another_window_goes_on_with_the_same_series() {
    let scene = Scene::new(&domain("- {key: a, rate_limit: {unit: hour, requests_per_unit: 1}}"));
    scene.run("0 | d | a=v => OK");
    scene.reload(&domain("- {key: a, rate_limit: {unit: minute, requests_per_unit: 1}}"));
    scene.run("0 | d | a=v => OK\n0 | d | a=v => OVER_LIMIT");
    assert_usage(&scene, "d.a a=v: 2 + 1");
}

#[test]
fn what_has_no_series_left_is_other() {
    let scene = Scene::new(&domain("- {key: a, rate_limit: {unit: hour, requests_per_unit: 1}}"));
    scene.run("0 | d | a=1; a=2; a=3; a=4; a=5 => OK\n0 | d | a=4 => OVER_LIMIT");
    assert_usage(
        &scene,
        "d.a a=1: 1 + 0
         d.a a=2: 1 + 0
         d.a a=3: 1 + 0
         d.a other: 2 + 1",
    );
}
