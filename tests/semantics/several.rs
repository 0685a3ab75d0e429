//! Several limits in one check: lists of limits, and all or nothing.

use tidegate::limiter::Settings;

use crate::scene::{Scene, check, check_with, domain};

#[test]
fn every_limit_of_a_list_must_allow() {
    check(
        &domain(
            "- {key: a, rate_limits: [{unit: second, requests_per_unit: 10, name: fast}, {unit: minute, requests_per_unit: 15}]}",
        ),
        "# The one with the least share left speaks: 9 of 10, or 14 of 15.
         0    | d | a=v => OK         | OK         d.a 10/second 9 1s #fast
         0 x8 | d | a=v => OK
         0    | d | a=v => OK         | OK         d.a 10/second 0 1s #fast
         # What the one denies, the other does not count.
         0 x9 | d | a=v => OVER_LIMIT | OVER_LIMIT d.a 10/second 0 1s #fast
         1 x4 | d | a=v => OK
         1    | d | a=v => OK         | OK         d.a 15/minute 0 59s
         1 x9 | d | a=v => OVER_LIMIT | OVER_LIMIT d.a 15/minute 0 59s
         # Nor does the first count what the second denied.
         1    | d | a=v +0 => OK      | OK d.a 15/minute 0 59s
         # When both deny, the longer wait speaks.
         1    | d | a=v +99 => OVER_LIMIT | OVER_LIMIT d.a 15/minute 0 59s",
    );
}

#[test]
fn two_alike_in_one_list_are_two_counters() {
    check(
        &domain("- {key: a, rate_limits: [{unit: hour, requests_per_unit: 10}, {unit: hour, requests_per_unit: 5}]}"),
        "0 x5 | d | a=v => OK
         0    | d | a=v => OVER_LIMIT | OVER_LIMIT d.a 5/hour 0 3600s",
    );
}

const HIERARCHY: &str = "
domain: d
charge: all_or_nothing
descriptors:
- {key: user, rate_limit: {unit: minute, requests_per_unit: 500}}
- {key: tenant, rate_limit: {unit: minute, requests_per_unit: 1000}}
- {key: node, rate_limit: {unit: minute, requests_per_unit: 5000}}";

/// The contract's worked example: three users of one tenant send 400 each.
#[test]
fn all_or_nothing() {
    let script = "
         0 x400 | d | user=1; tenant=t; node=n => OK
         0 x400 | d | user=2; tenant=t; node=n => OK
         0 x199 | d | user=3; tenant=t; node=n => OK
         0      | d | user=3; tenant=t; node=n => OK         | OK d.user 500/minute 300 60s; OK d.tenant 1000/minute 0 60s; OK d.node 5000/minute 4000 60s
         0 x200 | d | user=3; tenant=t; node=n => OVER_LIMIT | OK d.user 500/minute 300 60s; OVER_LIMIT d.tenant 1000/minute 0 60s; OK d.node 5000/minute 4000 60s
         0      | d | user=1 +0; user=2 +0; user=3 +0 => OK  | OK d.user 500/minute 100 60s; OK d.user 500/minute 100 60s; OK d.user 500/minute 300 60s";
    check(HIERARCHY, script);
    Scene::new(HIERARCHY).run(script).counted(
        "d.node: checks 1000, hits 1000, within 1000
         d.tenant: checks 1200, hits 1200, over 200, near 200, within 1000, denied 200
         d.user: checks 1003, hits 1000, within 1000",
    );
}

#[test]
fn more_tenants_exhaust_the_node_though_none_is_over() {
    let spend = |tenant| {
        let one = |user| format!("0 | d +500 | user={tenant}{user}; tenant={tenant}; node=n => OK\n");
        [one(1), one(2)].concat()
    };
    let script: String = ["a", "b", "c", "d", "e"].map(spend).concat();
    let denied = "0 | d | user=f; tenant=f; node=n => OVER_LIMIT | OK d.user 500/minute 500 60s; OK d.tenant 1000/minute 1000 60s; OVER_LIMIT d.node 5000/minute 0 60s";
    check(HIERARCHY, &[&script, denied].concat());
}

#[test]
fn independent_charges_what_all_or_nothing_does_not() {
    let rules = "
descriptors:
- {key: one, rate_limit: {unit: hour, requests_per_unit: 1}}
- {key: ten, rate_limit: {unit: hour, requests_per_unit: 10}}";
    let script = |left: u32| {
        format!(
            "0    | d | one=v; ten=v => OK
             0 x5 | d | one=v; ten=v => OVER_LIMIT
             0    | d | ten=v +0     => OK | OK d.ten 10/hour {left} 3600s"
        )
    };
    check(&format!("domain: d{rules}"), &script(4));
    check(&format!("domain: d\ncharge: independent{rules}"), &script(4));
    check(&format!("domain: d\ncharge: all_or_nothing{rules}"), &script(9));
}

#[test]
fn all_or_nothing_of_one_counter_twice() {
    check(
        "
domain: d
charge: all_or_nothing
descriptors:
- {key: a, rate_limit: {unit: hour, requests_per_unit: 3}}",
        "0 | d | a=v; a=v => OK         | OK d.a 3/hour 2 3600s; OK d.a 3/hour 1 3600s
         0 | d | a=v; a=v => OVER_LIMIT
         0 | d | a=v      => OK         | OK d.a 3/hour 0 3600s",
    );
}

#[test]
fn all_or_nothing_with_shadow_mode_and_quota_mode() {
    check(
        "
domain: d
charge: all_or_nothing
descriptors:
- {key: n9, rate_limit: {unit: hour, requests_per_unit: 9}}
- {key: n0, rate_limit: {unit: hour, requests_per_unit: 0}}
- {key: s0, shadow_mode: true, rate_limit: {unit: hour, requests_per_unit: 0}}
- {key: q0, quota_mode: true, rate_limit: {unit: hour, requests_per_unit: 0}}
- {key: q9, quota_mode: true, rate_limit: {unit: hour, requests_per_unit: 9}}",
        "# Shadow mode denies nothing, so that the other is charged.
         0 | d | n9=v; s0=v       => OK         | OK d.n9 9/hour 8 3600s; OK d.s0 0/hour 0 3600s
         0 | d | n9=v; s0=v; n0=v => OVER_LIMIT | OK d.n9 9/hour 8 3600s; OK d.s0 0/hour 0 3600s; OVER_LIMIT d.n0 0/hour 0 3600s
         # One quota that is left admits the check.
         0 | d | n9=v; q0=v; q9=v => OK         | OK d.n9 9/hour 7 3600s; OVER_LIMIT d.q0 0/hour 0 3600s; OK d.q9 9/hour 8 3600s
         # No quota is left: nobody pays.
         0 | d | n9=v; q0=v       => OVER_LIMIT | OK d.n9 9/hour 7 3600s; OVER_LIMIT d.q0 0/hour 0 3600s
         0 | d | q9=v; n0=v       => OVER_LIMIT | OK d.q9 9/hour 8 3600s; OVER_LIMIT d.n0 0/hour 0 3600s
         0 | d | n9=v +9; q9=v    => OVER_LIMIT | OVER_LIMIT d.n9 9/hour 7 3600s; OK d.q9 9/hour 8 3600s
         0 | d | n9=v +7; q9=v +8 => OK         | OK d.n9 9/hour 0 3600s; OK d.q9 9/hour 0 3600s",
    );
}

#[test]
fn all_or_nothing_of_limits_that_count_what_they_deny() {
    check(
        "
domain: d
charge: all_or_nothing
descriptors:
- {key: a, rate_limit: {unit: hour, requests_per_unit: 5, count_denied: true}}
- {key: b, rate_limit: {unit: hour, requests_per_unit: 9, algorithm: sliding_log, count_denied: true}}
- {key: c, rate_limits: [{unit: hour, requests_per_unit: 7}, {unit: day, requests_per_unit: 70}]}",
        "0    | d +3 | a=v; b=v; c=v => OK
         0 x9 | d +3 | a=v; b=v; c=v => OVER_LIMIT | OVER_LIMIT d.a 5/hour 2 3600s; OK d.b 9/hour 6 3600s; OK d.c 7/hour 4 3600s
         0    | d +2 | a=v; b=v; c=v => OK         | OK d.a 5/hour 0 3600s; OK d.b 9/hour 4 3600s; OK d.c 7/hour 2 3600s",
    );
}

#[test]
fn a_refund_in_a_denied_check_is_given_all_the_same() {
    check(
        HIERARCHY,
        "0 | d | user=1 +9               => OK | OK d.user 500/minute 491 60s
         0 | d | user=1 +4 refund; tenant=t +1001 => OVER_LIMIT | OK d.user 500/minute 495 60s; OVER_LIMIT d.tenant 1000/minute 1000 60s
         0 | d | user=1 +0               => OK | OK d.user 500/minute 495 60s",
    );
}

#[test]
fn global_shadow_mode_charges_what_it_admits_and_counts_it() {
    let config = "
domain: d
charge: all_or_nothing
descriptors:
- {key: n0, rate_limit: {unit: hour, requests_per_unit: 0}}
- {key: n9, rate_limit: {unit: hour, requests_per_unit: 9}}";
    let settings = Settings { shadow_mode: true, ..Settings::default() };
    let script = "0 | d | n0=v; n9=v => OK | OVER_LIMIT d.n0 0/hour 0 3600s; OK d.n9 9/hour 8 3600s";
    check_with(settings, config, script);
    Scene::with(settings, config).run(script).counted(
        "d.n0: checks 1, hits 1, over 1, denied 1
         d.n9: checks 1, hits 1, within 1",
    );
}
