//! Request overrides.

use crate::scene::{Scene, check, domain};

const RULES: &str = "
- {key: a, rate_limit: {unit: hour, requests_per_unit: 1, name: named}}
- {key: s, shadow_mode: true, rate_limit: {unit: hour, requests_per_unit: 1}}
- {key: u, rate_limit: {unlimited: true}}
- {key: r, rate_limit: {unlimited: true, replaces: [{name: named}]}}";

#[test]
fn an_override_counts_by_itself_whatever_the_rules_say() {
    check(
        &domain(RULES),
        "0 | d | a=v               => OK         | OK d.a 1/hour 0 3600s #named
         0 | d | a=v limit=3/hour  => OK         | OK - 3/hour 2 3600s
         0 | d | a=v limit=3/hour  => OK         | OK - 3/hour 1 3600s
         # Another limit of the same window keeps the count, another window has its own.
         0 | d | a=v limit=5/hour  => OK         | OK - 5/hour 2 3600s
         0 | d | a=v limit=1/hour  => OVER_LIMIT | OVER_LIMIT - 1/hour 0 3600s
         0 | d | a=v limit=1/day   => OK         | OK - 1/day 0 86400s
         0 | d | a=v limit=1/day   => OVER_LIMIT | OVER_LIMIT - 1/day 0 86400s
         # Nothing of the tree: no shadow, no unlimited, nothing replaced, no depth.
         0 | d | s=v limit=0/hour  => OVER_LIMIT
         0 | d | u=v limit=0/hour  => OVER_LIMIT
         0 | d | a=w limit=1/hour; r=v => OK     | OK - 1/hour 0 3600s; OK d.r unlimited
         0 | d | x=1,y=2,z=3 limit=1/hour => OK  | OK - 1/hour 0 3600s
         0 | d | x=1,y=2 limit=1/hour     => OK  | OK - 1/hour 0 3600s
         0 | d | () limit=1/hour          => OK  | OK - 1/hour 0 3600s
         0 | d | () limit=1/hour          => OVER_LIMIT
         # But the domain must exist.
         0 | unknown | a=v limit=0/hour   => OK  | OK -",
    );
}

#[test]
fn every_unit_and_multiplier() {
    let units = [
        ("second", 1),
        ("minute", 60),
        ("hour", 3_600),
        ("day", 86_400),
        ("month", 2_592_000),
        ("year", 31_536_000),
        ("week", 604_800),
    ];
    for (unit, length) in units {
        let (last, next, third) = (4 * length - 1, 4 * length, 3 * length);
        check(
            &domain(RULES),
            &format!(
                "{next} | d | a=v limit=2/{unit}    => OK         | OK - 2/{unit} 1 {length}s
                 {next} | d | a=v +2 limit=2/{unit} => OVER_LIMIT | OVER_LIMIT - 2/{unit} 0 {length}s
                 {next} | d | b=v limit=2/3{unit}   => OK         | OK - 2/3{unit} 1 {}s
                 {next} | d | b=v limit=2/1{unit}   => OK         | OK - 2/{unit} 1 {length}s",
                2 * length,
            ),
        );
        check(
            &domain(RULES),
            &format!(
                "{third} | d | a=v limit=1/{unit} => OK         | OK         - 1/{unit} 0 {length}s
                 {last}  | d | a=v limit=1/{unit} => OVER_LIMIT | OVER_LIMIT - 1/{unit} 0 1s
                 {next}  | d | a=v limit=1/{unit} => OK         | OK         - 1/{unit} 0 {length}s"
            ),
        );
    }
}

#[test]
fn an_override_of_unknown_unit_is_ignored_and_counted() {
    let config = domain(RULES);
    let script = "
         0 | d | a=v limit=9/unknown  => OK         | OK d.a 1/hour 0 3600s #named
         0 | d | a=v limit=9/unknown  => OVER_LIMIT | OVER_LIMIT d.a 1/hour 0 3600s #named
         0 | d | u=v limit=0/unknown; none=v limit=0/#8 => OK | OK d.u unlimited; OK -
         0 | d | none=v limit=0/#-1   => OK | OK -
         0 | unknown | a=v limit=9/unknown => OK | OK -";
    check(&config, script);
    let scene = Scene::new(&config);
    scene.run(script);
    assert_eq!(scene.limiter().usage().overrides_ignored(), 5);
}

#[test]
fn hits_refunds_and_quotas_of_overrides() {
    check(
        &domain(RULES),
        "0 | d +4 | a=v limit=9/hour            => OK | OK - 9/hour 5 3600s
         0 | d    | a=v +0 limit=9/hour         => OK | OK - 9/hour 5 3600s
         0 | d    | a=v +2 refund limit=9/hour  => OK | OK - 9/hour 7 3600s
         0 | d    | a=v +99 limit=9/hour        => OVER_LIMIT
         0 | d    | a=v +max refund limit=9/hour => OK | OK - 9/hour 9 3600s
         # Too large a multiplier lasts for ever.
         0 | d    | m=v limit=1/4294967295year  => OK
         0 | d    | m=v limit=1/4294967295year  => OVER_LIMIT",
    );
}
