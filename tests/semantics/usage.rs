//! The usage by rule and by counter, as observers see it.

use tidegate::limiter::{DRAFT_03_NAMES, NEAR_LIMIT_RATIO, Settings};
use tidegate::units::Timestamp;
use tidegate::usage::Measure;

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
        format!(
            "{} {name}: {} + {}",
            counter.name.rule.path,
            totals.get(Measure::RequestsAllowed),
            totals.get(Measure::RequestsDenied)
        )
    });
    let want: Vec<_> = want.lines().map(str::trim).collect();
    assert_eq!(rows.collect::<Vec<_>>(), want);
    let of_counters: u64 = usage.counters.iter().map(|counter| counter.totals.hits()).sum();
    assert_eq!(of_counters, usage.total().hits(), "the counters add up to the rules");
    let metrics: u64 = scene.limiter().usage().series_usage().iter().map(|series| series.totals.hits()).sum();
    assert_eq!(metrics, usage.total().hits(), "the metrics are the same");
}

#[test]
fn each_set_of_values_is_reported_apart() {
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
fn a_rule_is_reported_by_its_first_limit_also_when_that_counter_is_gone() {
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
fn a_shared_pattern_is_reported_as_it_is_configured() {
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

/// Runs the script; then the requests of each value of each key, allowed and denied, are `want`, a line for each.
#[track_caller]
fn check_requests(settings: Settings, config: &str, script: &str, want: &str) -> Scene {
    let scene = Scene::with(settings, config);
    scene.run(script);
    assert_requests(&scene, want);
    scene
}

#[track_caller]
fn assert_requests(scene: &Scene, want: &str) {
    let requests = scene.limiter().usage().snapshot().requests;
    let rows = requests.iter().map(|row| {
        let value = if row.other { "other" } else { &*row.name.value };
        let (key, totals) = (&row.name.key, row.totals);
        format!(
            "{} {}={value}: {} + {}",
            key.domain,
            key.key,
            totals.get(Measure::RequestsAllowed),
            totals.get(Measure::RequestsDenied)
        )
    });
    let want: Vec<_> = want.lines().map(str::trim).collect();
    assert_eq!(rows.collect::<Vec<_>>(), want);
}

const HUNDRED: Settings = Settings {
    shadow_mode: false,
    quota_mode: false,
    dynamic_metadata: false,
    counter_budget_bytes: 1 << 30,
    when_full: tidegate::store::WhenFull::Deny,
    workers: 1,
    usage_series: 100,
    counts_usage: true,
    near_limit_ratio: NEAR_LIMIT_RATIO,
    headers: &[],
    draft_03_names: DRAFT_03_NAMES,
};

/// A user, a user at an endpoint with 3 an hour, and a tenant with 4.
fn users_of_a_tenant(charge: &str) -> String {
    format!(
        "domain: d
charge: {charge}
usage: {{by: [user, tenant]}}
descriptors:
- key: user
  descriptors:
  - {{key: endpoint, rate_limit: {{unit: hour, requests_per_unit: 3}}}}
- {{key: tenant, rate_limit: {{unit: hour, requests_per_unit: 4}}}}"
    )
}

#[test]
fn requests_of_a_user_count_once_whichever_descriptor_denied() {
    let ann = "user=ann; user=ann,endpoint=/x; tenant=t";
    let bob = "user=bob; user=bob,endpoint=/x; tenant=t";
    // Denied calls of ann are charged to the tenant too: nothing is left for bob.
    check_requests(
        HUNDRED,
        &users_of_a_tenant("independent"),
        &format!(
            "0 x3 | d | {ann} => OK
             0 x3 | d | {ann} => OVER_LIMIT
             0 x4 | d | {bob} => OVER_LIMIT"
        ),
        "d tenant=t: 3 + 7
         d user=ann: 3 + 3
         d user=bob: 0 + 4",
    );
    check_requests(
        HUNDRED,
        &users_of_a_tenant("all_or_nothing"),
        &format!(
            "0 x3 | d | {ann} => OK
             0 x3 | d | {ann} => OVER_LIMIT
             0    | d | {bob} => OK
             0 x3 | d | {bob} => OVER_LIMIT"
        ),
        "d tenant=t: 4 + 6
         d user=ann: 3 + 3
         d user=bob: 1 + 3",
    );
}

#[test]
fn a_request_counts_by_its_first_value_and_for_each_key_that_it_carries() {
    check_requests(
        HUNDRED,
        &format!("usage: {{by: [k, m]}}\n{}", domain("- {key: k, rate_limit: {unit: hour, requests_per_unit: 9}}")),
        "# The first of several values, in the order of descriptors and entries; the same twice is one request.
         0 | d | k=a; k=b => OK
         0 | d | other=x,k=b; k=a => OK
         0 | d | k=a; k=a => OK
         # In a descriptor that no rule matches, and with no value at all.
         0 | d | nothing=x,m=1 => OK
         0 | d | k= => OK
         # No key that is named.
         0 | d | nothing=x => OK
         # A look is a request, what only gives back is none.
         0 | d | k=a +0 => OK
         0 | d | k=a refund => OK
         0 | d | k=c refund; k=d => OK
         # Another domain counts nothing.
         0 | unknown | k=a => OK",
        "d k=: 1 + 0
         d k=a: 3 + 0
         d k=b: 1 + 0
         d k=c: 1 + 0
         d m=1: 1 + 0",
    );
}

#[test]
fn the_hits_of_a_request_are_the_most_that_a_descriptor_asks_for() {
    let config = format!(
        "usage: {{by: [user]}}\n{}",
        domain("- {key: user, rate_limit: {unit: hour, requests_per_unit: 600}}\n- key: calls")
    );
    let scene = check_requests(
        HUNDRED,
        &config,
        "0 | d | user=ann +500; calls=1 => OK
         0 | d +7 | user=ann +0; calls=1 => OK
         0 | d | user=ann +500; user=ann +2 refund => OVER_LIMIT",
        "d user=ann: 2 + 1",
    );
    let totals = scene.limiter().usage().snapshot().requests[0].totals;
    assert_eq!((totals.get(Measure::HitsAllowed), totals.get(Measure::HitsDenied)), (507, 500));
}

#[test]
fn what_passed_was_not_denied() {
    let rule = |keys: &str| format!("- {{key: k, {keys}rate_limit: {{unit: hour, requests_per_unit: 1}}}}");
    let config = |rules: &str, top: &str| format!("{top}usage: {{by: [k]}}\n{}", domain(rules));
    let twice = "0 x2 | d | k=a => OK";
    for (name, settings, config, script, want) in [
        ("shadow mode of a rule", HUNDRED, config(&rule("shadow_mode: true, "), ""), twice, "d k=a: 2 + 0"),
        ("global shadow mode", Settings { shadow_mode: true, ..HUNDRED }, config(&rule(""), ""), twice, "d k=a: 2 + 0"),
        ("a domain that is off", HUNDRED, config(&rule(""), "enabled: false\n"), twice, "d k=a: 2 + 0"),
        (
            "a quota, beside one that has room",
            Settings { quota_mode: true, ..HUNDRED },
            config(&format!("{}\n- {{key: m, rate_limit: {{unit: hour, requests_per_unit: 9}}}}", rule("")), ""),
            "0 x2 | d | k=a; m=1 => OK\n0 | d | k=a => OVER_LIMIT",
            "d k=a: 2 + 1",
        ),
        ("an override", HUNDRED, config(&rule(""), ""), "0 | d | k=a limit=0/hour => OVER_LIMIT", "d k=a: 0 + 1"),
    ] {
        println!("{name}");
        check_requests(settings, &config, script, want);
    }
}

#[test]
fn values_beyond_the_bound_are_other_and_sums_stay_exact() {
    let long = "x".repeat(257);
    let config =
        format!("usage: {{by: [k]}}\n{}", domain("- {key: k, rate_limit: {unit: hour, requests_per_unit: 1}}"));
    let scene = check_requests(
        Settings { usage_series: 3, ..HUNDRED },
        &config,
        &format!(
            "0 | d | k=1 => OK
             0 | d | k={long} => OK
             0 | d | k=2 => OK
             0 | d | k=3 => OK
             0 | d | k=4 => OK
             0 x2 | d | k=4 => OVER_LIMIT
             0 | d | k=1 => OVER_LIMIT"
        ),
        "d k=1: 1 + 1
         d k=2: 1 + 0
         d k=3: 1 + 0
         d k=other: 2 + 2",
    );
    assert_eq!(scene.limiter().usage().entry_values_used(), 3);
}

#[test]
fn requests_go_on_after_a_reload() {
    let rules = domain("- {key: k, rate_limit: {unit: hour, requests_per_unit: 1}}");
    let scene = Scene::with(HUNDRED, &format!("usage: {{by: [k]}}\n{rules}"));
    scene.run("0 | d | k=a => OK");
    scene.reload(&rules).run("0 | d | k=a => OVER_LIMIT");
    assert_requests(&scene, "d k=a: 1 + 0");
    scene.reload(&format!("usage: {{by: [m, k]}}\n{rules}")).run("0 | d | k=a,m=1; k=a => OVER_LIMIT");
    assert_requests(
        &scene,
        "d k=a: 1 + 1
         d m=1: 0 + 1",
    );
}
