//! Several limits in one check: lists of limits, and all or nothing.

use tidegate::limiter::Settings;

use crate::scene::{Scene, check, check_with, domain};

#[test]
fn every_limit_of_a_list_must_allow() {
    check(
        &domain(
            "- {key: a, rate_limits: [{unit: second, requests_per_unit: 10, name: fast}, {unit: minute, requests_per_unit: 15}]}",
        ),
        "# The one with the least share left governs: 9 of 10, or 14 of 15.
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
         # When both deny, the longer wait governs.
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
fn a_denied_check_keeps_the_charges_that_count_though_denied() {
    check(
        "
domain: d
charge: all_or_nothing
descriptors:
- {key: a, rate_limit: {unit: hour, requests_per_unit: 5, count_denied: true}}
- {key: b, rate_limit: {unit: hour, requests_per_unit: 9, algorithm: sliding_log, count_denied: true}}
- {key: c, rate_limits: [{unit: hour, requests_per_unit: 7}, {unit: day, requests_per_unit: 70}]}",
        "0 | d +3 | a=v; b=v; c=v => OK
         0 | d +3 | a=v; b=v; c=v => OVER_LIMIT | OVER_LIMIT d.a 5/hour 0 3600s; OK d.b 9/hour 3 3600s; OK d.c 7/hour 4 3600s
         0 | d +3 | a=v; b=v; c=v => OVER_LIMIT | OVER_LIMIT d.a 5/hour 0 3600s; OK d.b 9/hour 0 3600s; OK d.c 7/hour 4 3600s
         0 | d +0 | a=v +0; b=v +0; c=v +0 => OVER_LIMIT | OVER_LIMIT d.a 5/hour 0 3600s; OK d.b 9/hour 0 3600s; OK d.c 7/hour 4 3600s",
    );
}

const QUOTA: &str = "{unit: hour, requests_per_unit: 5}";

/// The quota that is asked, and what makes its check go wrong where the look and the charge are two steps.
fn all_over_is_denied(settings: Settings, rules: &str, check: &str) {
    let config = format!("domain: d\ncharge: all_or_nothing\ndescriptors:\n{rules}");
    let scene = Scene::with(settings, &config);
    let admitted: u32 = scene.admitted(&format!("0 x1000 | d | {check} => OK"));
    let hits = u32::try_from(check.matches('=').count()).unwrap();
    // The check that takes the last hit passes.
    assert_eq!(admitted, 5_u32.div_ceil(hits), "{config}\n{check}");
}

#[test]
fn a_quota_named_twice_in_a_check_admits_no_more_than_its_limit() {
    let quota = format!("- {{key: q, quota_mode: true, rate_limit: {QUOTA}}}");
    all_over_is_denied(Settings::default(), &quota, "q=v; q=v");
    let shared = format!("- {{key: q, value: 'a*', share_threshold: true, quota_mode: true, rate_limit: {QUOTA}}}");
    all_over_is_denied(Settings::default(), &shared, "q=ab; q=ac");
    let global = Settings { quota_mode: true, ..Settings::default() };
    all_over_is_denied(global, &format!("- {{key: q, rate_limit: {QUOTA}}}"), "q=v; q=v");
}

#[test]
fn a_quota_whose_queue_is_full_is_over() {
    check(
        "
domain: d
charge: all_or_nothing
descriptors:
- key: q
  quota_mode: true
  rate_limit: {unit: hour, requests_per_unit: 2, algorithm: token_bucket, queue: {size: 2, mode: advise}}",
        "0 x2 | d | q=v    => OK
         0    | d | q=v    => OK advise=1800s
         0    | d | q=v    => OK advise=3600s
         0 x9 | d | q=v    => OVER_LIMIT
         0    | d | q=v +3 => OVER_LIMIT",
    );
}

#[test]
fn a_quota_that_finds_no_memory_is_over() {
    let rules = "
domain: d
charge: all_or_nothing
descriptors:
- {key: q, quota_mode: true, rate_limit: {unit: hour, requests_per_unit: 5}}
- {key: r, rate_limit: {unit: hour, requests_per_unit: 5}}";
    let settings = Settings { counter_budget_bytes: 0, ..Settings::default() };
    Scene::with(settings, rules).run(
        "0 x3 | d | q=v      => OVER_LIMIT | OVER_LIMIT d.q 5/hour 0 3600s
         0 x3 | d | q=v; r=v => OVER_LIMIT",
    );
}

/// One quota that has room admits; those that are over are charged as if they were alone.
#[test]
fn quotas_are_charged_while_one_of_them_has_room() {
    check(
        "
domain: d
charge: all_or_nothing
descriptors:
- {key: two, quota_mode: true, rate_limit: {unit: hour, requests_per_unit: 2}}
- {key: four, quota_mode: true, rate_limit: {unit: hour, requests_per_unit: 4, algorithm: sliding_log}}
- {key: shadow, quota_mode: true, shadow_mode: true, rate_limit: {unit: hour, requests_per_unit: 0}}",
        "0 x2 | d | two=v; four=v => OK
         0 x2 | d | two=v; four=v => OK
         0 x9 | d | two=v; four=v => OVER_LIMIT | OVER_LIMIT d.two 2/hour 0 3600s; OVER_LIMIT d.four 4/hour 0 3600s
         # Two hits that were denied while the other admitted count, those of denied checks do not.
         0    | d | two=v +0      => OVER_LIMIT
         # In shadow mode it is a quota that is never over.
         0    | d | two=v; shadow=v => OK",
    );
}

/// The code and the statuses agree, whatever the order: a quota that is over, and counts its denied hits, comes last.
#[test]
fn a_quota_that_is_over_takes_nothing_from_one_that_is_not() {
    let quota = "
domain: d
charge: all_or_nothing
descriptors:
- {key: q, quota_mode: true, rate_limit: {unit: hour, requests_per_unit: 3}}";
    check(
        quota,
        "0 | d | q=v +4; q=v => OK         | OVER_LIMIT d.q 3/hour 0 3600s; OK d.q 3/hour 2 3600s
         0 | d | q=v         => OVER_LIMIT | OVER_LIMIT d.q 3/hour 0 3600s",
    );
}

#[test]
fn a_quota_that_is_over_says_so_whoever_denies() {
    let rules = "
descriptors:
- {key: none, quota_mode: true, rate_limit: {unit: hour, requests_per_unit: 0, algorithm: sliding_log, ban: {for: 1h, when: exceeded}}}
- {key: some, quota_mode: true, rate_limit: {unit: hour, requests_per_unit: 9}}
- {key: zero, rate_limit: {unit: hour, requests_per_unit: 0}}";
    let script = |banned: &str, left: u32| {
        format!(
            "0 | d | none=v; some=v; zero=v => OVER_LIMIT | OVER_LIMIT d.none 0/hour 0 3600s; OK d.some 9/hour {left} 3600s; OVER_LIMIT d.zero 0/hour 0 3600s
             # It begins its ban only where it denied.
             1 | d | none=v +0 => {banned}"
        )
    };
    check(&format!("domain: d\ncharge: all_or_nothing{rules}"), &script("OK", 9));
    Scene::new(&format!("domain: d{rules}")).run(&script("OVER_LIMIT", 8));
}

#[test]
fn unlimited_descriptors_are_no_quotas() {
    let rules = "
descriptors:
- {key: q, rate_limit: {unit: hour, requests_per_unit: 1}}
- {key: free, rate_limit: {unlimited: true}}
- {key: negative, rate_limit: {unit: hour, requests_per_unit: -1}}
- {key: named, rate_limit: {name: n, unlimited: true}}
- {key: other, rate_limit: {unlimited: true, replaces: [{name: n}]}}
- {key: off, rate_limit: {unit: hour, requests_per_unit: 1, enabled: false}}";
    for charge in ["independent", "all_or_nothing"] {
        let config = format!("domain: d\ncharge: {charge}{rules}");
        let settings = Settings { quota_mode: true, ..Settings::default() };
        check_with(
            settings,
            &config,
            "0 | d | q=v           => OK
             0 | d | q=v; free=v     => OVER_LIMIT | OVER_LIMIT d.q 1/hour 0 3600s; OK d.free unlimited
             0 | d | q=v; negative=v => OVER_LIMIT
             # The reference says of a replaced one that it is unlimited, too.
             0 | d | q=v; named=v; other=v => OVER_LIMIT | OVER_LIMIT d.q 1/hour 0 3600s; OK d.named unlimited; OK d.other unlimited
             # What no limit matches is a quota that passes.
             0 | d | q=v; none=v     => OK
             0 | d | q=v; off=v      => OK
             0 | d | free=v          => OK",
        );
    }
}

/// A check of as many descriptors and limits as there may be.
#[test]
fn a_thousand_descriptors_of_many_limits() {
    let limits: Vec<_> = (1..=16).map(|days| format!("{{period: {days}d, requests_per_unit: 2}}")).collect();
    let config =
        format!("domain: d\ncharge: all_or_nothing\ndescriptors:\n- {{key: a, rate_limits: [{}]}}", limits.join(", "));
    let check: Vec<_> = (0..1_000).map(|i| format!("a=v{}", i % 997)).collect();
    let check = check.join("; ");
    Scene::new(&config).run(&format!("0 | d | {check} => OK\n0 | d | {check} => OVER_LIMIT\n0 | d | a=v3 => OK"));
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
