//! Switches of rules and of the process: unlimited, replaces, shadow mode, quota mode, enabled.

use tidegate::limiter::Settings;

use crate::scene::{Scene, check, check_with, domain};

#[test]
fn unlimited_by_flag_and_by_a_negative_number() {
    check(
        &domain(
            "
- {key: a, rate_limit: {unit: hour, requests_per_unit: 1}}
- {key: a, value: vip, rate_limit: {unlimited: true}}
- {key: minus, rate_limit: {unit: hour, requests_per_unit: -1}}
- {key: list, rate_limits: [{unlimited: true}, {unit: hour, requests_per_unit: 1}]}",
        ),
        "0 x3 | d     | a=vip        => OK | OK d.a_vip unlimited
         0    | d     | a=vip +max   => OK | OK d.a_vip unlimited
         0 x3 | d     | minus=v      => OK | OK d.minus unlimited
         0    | d     | a=vip refund => OK | OK d.a_vip unlimited
         0    | d     | a=v; a=vip   => OK | OK d.a 1/hour 0 3600s; OK d.a_vip unlimited
         0    | d     | a=v; a=vip   => OVER_LIMIT | OVER_LIMIT d.a 1/hour 0 3600s; OK d.a_vip unlimited
         # One of several that says unlimited lifts nothing but itself.
         0    | d     | list=v       => OK         | OK d.list 1/hour 0 3600s
         0    | d     | list=v       => OVER_LIMIT | OVER_LIMIT d.list 1/hour 0 3600s",
    );
}

const REPLACING: &str = "
- {key: user, rate_limit: {name: base, unit: hour, requests_per_unit: 2}}
- {key: plan, value: pro, rate_limit: {name: pro, unit: hour, requests_per_unit: 5, replaces: [{name: base}]}}
- {key: plan, value: vip, rate_limit: {unlimited: true, replaces: [{name: base}, {name: pro}]}}
- {key: plan, value: off, rate_limit: {enabled: false, unit: hour, requests_per_unit: 5, replaces: [{name: base}]}}
- {key: x, rate_limit: {name: x, unit: hour, requests_per_unit: 1, replaces: [{name: y}]}}
- {key: y, rate_limit: {name: y, unit: hour, requests_per_unit: 1, replaces: [{name: x}]}}
- {key: free, rate_limit: {name: free, unlimited: true}}
- {key: paid, rate_limit: {unit: hour, requests_per_unit: 9, replaces: [{name: free}]}}
- {key: nameless, rate_limit: {unit: hour, requests_per_unit: 1}}";

#[test]
fn a_limit_that_is_replaced_is_neither_told_nor_counted() {
    check(
        &domain(REPLACING),
        "0    | d | user=u                     => OK | OK d.user 2/hour 1 3600s #base
         0 x3 | d | user=u; plan=pro           => OK
         0    | d | user=u; plan=pro           => OK | OK -; OK d.plan_pro 5/hour 1 3600s #pro
         0    | d | plan=pro; user=u           => OK | OK d.plan_pro 5/hour 0 3600s #pro; OK -
         0    | d | plan=pro; user=u           => OVER_LIMIT | OVER_LIMIT d.plan_pro 5/hour 0 3600s #pro; OK -
         # An unlimited rule replaces as well, and a whole chain.
         0    | d | user=u; plan=vip           => OK | OK -; OK d.plan_vip unlimited
         0    | d | user=u; plan=pro; plan=vip => OK | OK -; OK -; OK d.plan_vip unlimited
         # Replaced by its name it is reported unlimited all the same, as in the reference.
         0    | d | free=1                     => OK | OK d.free unlimited
         0    | d | free=1; paid=1             => OK | OK d.free unlimited; OK d.paid 9/hour 8 3600s
         # A rule that is switched off does not.
         0    | d | user=u; plan=off           => OK | OK d.user 2/hour 0 3600s #base; OK -
         # Each other: neither is left.
         0 x3 | d | x=1; y=1                   => OK | OK -; OK -
         0    | d | x=1; nameless=1            => OK | OK d.x 1/hour 0 3600s #x; OK d.nameless 1/hour 0 3600s
         # The counter of what was replaced is as it was.
         0    | d | user=u                     => OVER_LIMIT",
    );
}

#[test]
fn statistics_do_not_know_what_was_replaced() {
    Scene::new(&domain(REPLACING))
        .run("0 x4 | d | user=u; plan=vip => OK")
        .counted("d.plan_vip: checks 4, hits 4, within 4");
}

#[test]
fn shadow_mode_of_a_rule_admits_and_counts() {
    let config = domain(
        "
- {key: s, shadow_mode: true, rate_limit: {unit: hour, requests_per_unit: 10}}
- {key: n, rate_limit: {unit: hour, requests_per_unit: 1}}",
    );
    let script = "
         0 | d +9 | s=v      => OK | OK d.s 10/hour 1 3600s
         0 | d +4 | s=v      => OK | OK d.s 10/hour 0 3600s
         0 | d +2 | s=v      => OK | OK d.s 10/hour 0 3600s
         0 | d    | s=v; n=v => OK | OK d.s 10/hour 0 3600s; OK d.n 1/hour 0 3600s
         0 | d    | s=v; n=v => OVER_LIMIT | OK d.s 10/hour 0 3600s; OVER_LIMIT d.n 1/hour 0 3600s";
    check(&config, script);
    Scene::new(&config).run(script).counted(
        "d.n: checks 2, hits 2, over 1, near 1, within 1, denied 1
         d.s: checks 5, hits 17, over 7, near 2, within 9, shadow 7",
    );
}

const QUOTAS: &str = "
- {key: q0, quota_mode: true, rate_limit: {unit: hour, requests_per_unit: 0}}
- {key: q9, quota_mode: true, rate_limit: {unit: hour, requests_per_unit: 999}}
- {key: n0, rate_limit: {unit: hour, requests_per_unit: 0}}
- {key: n9, rate_limit: {unit: hour, requests_per_unit: 999}}
- {key: sq0, quota_mode: true, shadow_mode: true, rate_limit: {unit: hour, requests_per_unit: 0}}
- {key: uq, quota_mode: true, rate_limit: {unlimited: true}}";

#[test]
fn quota_mode_denies_when_all_quotas_are_over() {
    check(
        &domain(QUOTAS),
        "0 | d | q0=v             => OVER_LIMIT | OVER_LIMIT d.q0 0/hour 0 3600s
         0 | d | q9=v             => OK
         0 | d | q0=v; q9=v       => OK         | OVER_LIMIT d.q0 0/hour 0 3600s; OK d.q9 999/hour 997 3600s
         0 | d | q9=v; q0=v       => OK
         0 | d | q0=v; q0=w       => OVER_LIMIT
         0 | d | q0=v; q0=w; q9=v => OK
         0 | d | n0=v             => OVER_LIMIT
         0 | d | q9=v; n0=v       => OVER_LIMIT
         0 | d | q0=v; n9=v       => OVER_LIMIT
         0 | d | q9=v; n9=v       => OK
         0 | d | q0=v; q9=v; n9=v => OK
         0 | d | q0=v; q9=v; n0=v => OVER_LIMIT
         # Shadow mode wins over quota mode: what it admits has passed.
         0 | d | sq0=v            => OK
         0 | d | q0=v; sq0=v      => OK
         0 | d | n0=v; sq0=v      => OVER_LIMIT
         # Without a limit, and unlimited, is no quota.
         0 | d | q0=v; none=v     => OVER_LIMIT
         0 | d | q0=v; uq=v       => OVER_LIMIT",
    );
}

#[test]
fn global_quota_mode_makes_every_descriptor_a_quota() {
    check_with(
        Settings { quota_mode: true, ..Settings::default() },
        &domain(QUOTAS),
        "0 | d | n0=v             => OVER_LIMIT | OVER_LIMIT d.n0 0/hour 0 3600s
         0 | d | n0=v; n9=v       => OK         | OVER_LIMIT d.n0 0/hour 0 3600s; OK d.n9 999/hour 998 3600s
         0 | d | n0=v; n0=w       => OVER_LIMIT
         0 | d | n0=v; q0=w       => OVER_LIMIT
         0 | d | n0=v; none=v     => OK
         0 | d | n0=v; ()         => OK
         0 | d | n0=v; uq=v       => OVER_LIMIT
         0 | d | n0=v; sq0=v      => OK
         0 | d | n0=v; n0=v limit=0/hour => OVER_LIMIT
         0 | d | n0=v; n0=v limit=9/hour => OK",
    );
}

#[test]
fn global_shadow_mode_admits_everything_and_counts_it() {
    let settings = Settings { shadow_mode: true, ..Settings::default() };
    let script = "
         0 | d | n0=v             => OK | OVER_LIMIT d.n0 0/hour 0 3600s
         0 | d | n0=v; n9=v       => OK | OVER_LIMIT d.n0 0/hour 0 3600s; OK d.n9 999/hour 998 3600s
         0 | d | q0=v             => OK | OVER_LIMIT d.q0 0/hour 0 3600s
         0 | d | n9=v limit=0/day => OK
         0 | d | n9=v             => OK";
    let config = domain(QUOTAS);
    check_with(settings, &config, script);
    let scene = Scene::with(settings, &config);
    scene.run(script);
    assert_eq!(scene.limiter().usage().global_shadow(), 4);
    scene.counted(
        "d.n0: checks 2, hits 2, over 2, denied 2
         d.n9: checks 2, hits 2, within 2
         d.n9_v: checks 1, hits 1, over 1, denied 1
         d.q0: checks 1, hits 1, over 1, denied 1",
    );
}

#[test]
fn what_is_switched_off_is_as_if_it_were_not_there() {
    let rules = "
- {key: off, rate_limit: {unit: hour, requests_per_unit: 0, enabled: false}}
- {key: on, rate_limit: {unit: hour, requests_per_unit: 1, enabled: true}}
- {key: some, rate_limits: [{unit: hour, requests_per_unit: 0, enabled: false}, {unit: hour, requests_per_unit: 1}]}";
    let script = "
         0 x3 | d | off=v  => OK         | OK -
         0    | d | on=v   => OK         | OK d.on 1/hour 0 3600s
         0    | d | on=v   => OVER_LIMIT
         0    | d | some=v => OK         | OK d.some 1/hour 0 3600s
         0    | d | some=v => OVER_LIMIT | OVER_LIMIT d.some 1/hour 0 3600s";
    check(&domain(rules), script);
    Scene::new(&domain(rules)).run(script).counted(
        "d.off: checks 3, hits 3, within 3
         d.on: checks 2, hits 2, over 1, near 1, within 1, denied 1
         d.some: checks 2, hits 2, over 1, near 1, within 1, denied 1",
    );
    let off = format!("domain: d\nenabled: false\ndescriptors:\n{rules}");
    let script = "
         0 x3 | d | on=v              => OK | OK -
         0    | d | on=v              => OK | OK -";
    check(&off, script);
    Scene::new(&off).run(script).counted("d.on: checks 4, hits 4, within 4");
}
