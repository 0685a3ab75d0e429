//! Settings over the rules: which one wins, what they do to counts, and what cannot be set.

use smallvec::smallvec;

use tidegate::limiter::{Check, Code, Descriptor, Override, Settings, WorkerSlot};
use tidegate::rules::{Entry, Period, Unit};

use super::operated::{Operated, read};

pub(super) const RULES: &str = "domain: api
descriptors:
- key: user
  rate_limit: {unit: minute, requests_per_unit: 10}
- key: tenant
  rate_limit: {unit: minute, requests_per_unit: 20}
  descriptors:
  - key: user
    rate_limit: {unit: minute, requests_per_unit: 5}
- key: shadow
  shadow_mode: true
  rate_limit: {unit: minute, requests_per_unit: 0}
- key: off
  rate_limit: {unit: minute, requests_per_unit: 0, enabled: false}
- key: list
  rate_limits:
  - {unit: second, requests_per_unit: 7}
  - {unit: day, requests_per_unit: 100}
- key: bucket
  rate_limit: {unit: second, requests_per_unit: 10, algorithm: token_bucket}
- key: log
  rate_limit: {unit: minute, requests_per_unit: 6, algorithm: sliding_log}
- key: free
  rate_limit: {unlimited: true}
";

/// Settings, a descriptor, and the limit that is in force for it.
const PRECEDENCE: &[(&[&str], &str, &str)] = &[
    (&[], "user=ann", "10"),
    (&["rule api.user: requests_per_unit=3"], "user=ann", "3"),
    (&["rule api.user: requests_per_unit=3"], "tenant=acme,user=ann", "5"),
    (&["rule api.user: requests_per_unit=3", "rule api.user, user=ann: requests_per_unit=4"], "user=ann", "4"),
    (&["rule api.user, user=ann: requests_per_unit=4", "rule api.user: requests_per_unit=3"], "user=ann", "4"),
    (&["rule api.user, user=ann: requests_per_unit=4", "rule api.user: requests_per_unit=3"], "user=bob", "3"),
    (&["rule api.user: requests_per_unit=-1"], "user=ann", "unlimited"),
    (&["rule api.user: requests_per_unit=-1", "rule api.user, user=ann: requests_per_unit=2"], "user=ann", "2"),
    (&["rule api.user: enabled=false"], "user=ann", "off"),
    (&["rule api.user: enabled=false", "rule api.user, user=ann: enabled=true"], "user=ann", "off"),
    (&["rule api.user, user=ann: enabled=false"], "user=bob", "10"),
    (&["rule api.off: enabled=true"], "off=1", "0"),
    (&["rule api.off, off=1: enabled=true"], "off=1", "0"),
    (&["rule api.off, off=1: enabled=true"], "off=2", "off"),
    (&["domain api: enabled=false"], "user=ann", "off"),
    (&["domain api: enabled=false", "rule api.user: enabled=true"], "user=ann", "off"),
    (&["domain api, tenant=acme: enabled=false"], "tenant=acme", "off"),
    (&["domain api, tenant=acme: enabled=false"], "tenant=acme,user=ann", "off"),
    (&["domain api, tenant=acme: enabled=false"], "tenant=other,user=ann", "5"),
    (&["domain api, tenant=acme: enabled=false", "domain api: enabled=true"], "tenant=acme", "off"),
    (&["domain api, tenant=acme, user=ann: enabled=false"], "tenant=acme,user=bob", "5"),
    (&["everything: enabled=false"], "user=ann", "off"),
    (&["everything: enabled=false", "domain api: enabled=true", "rule api.user: enabled=true"], "user=ann", "off"),
    (&["everything: enabled=true"], "off=1", "off"),
    // Shadow mode: the narrowest that is set.
    (&[], "shadow=1", "0 shadow"),
    (&["rule api.shadow: shadow_mode=false"], "shadow=1", "0"),
    (&["rule api.user: requests_per_unit=0", "rule api.user: shadow_mode=true"], "user=ann", "0 shadow"),
    (&["rule api.user: requests_per_unit=0", "domain api: shadow_mode=true"], "user=ann", "0 shadow"),
    (&["rule api.user: requests_per_unit=0", "everything: shadow_mode=true"], "user=ann", "0 shadow"),
    (&["everything: shadow_mode=true", "domain api: shadow_mode=false"], "shadow=1", "0"),
    (&["domain api: shadow_mode=true", "rule api.shadow: shadow_mode=false"], "shadow=1", "0"),
    (&["rule api.shadow: shadow_mode=false", "rule api.shadow, shadow=1: shadow_mode=true"], "shadow=1", "0 shadow"),
    (&["domain api: shadow_mode=false", "domain api, shadow=1: shadow_mode=true"], "shadow=1", "0 shadow"),
    (&["domain api, shadow=1: shadow_mode=true", "domain api: shadow_mode=false"], "shadow=2", "0"),
    // Scopes of which neither includes the other: each name from the narrowest, of equals from the latest.
    (
        &[
            "rule api.tenant.user, tenant=acme: requests_per_unit=50",
            "rule api.tenant.user, user=ann: requests_per_unit=40",
        ],
        "tenant=acme,user=ann",
        "40",
    ),
    (
        &[
            "rule api.tenant.user, user=ann: requests_per_unit=40",
            "rule api.tenant.user, tenant=acme: requests_per_unit=50",
        ],
        "tenant=acme,user=ann",
        "50",
    ),
    (
        &[
            "rule api.tenant.user, tenant=acme, user=ann: requests_per_unit=60",
            "rule api.tenant.user, tenant=acme: requests_per_unit=50",
            "rule api.tenant.user, user=ann: requests_per_unit=40",
        ],
        "tenant=acme,user=ann",
        "60",
    ),
    (
        &["rule api.tenant.user, tenant=acme: enabled=false", "rule api.tenant.user, user=ann: requests_per_unit=40"],
        "tenant=acme,user=ann",
        "off",
    ),
    // A list: the place says which limit.
    (&["rule api.list, limit 1: requests_per_unit=2"], "list=1", "2"),
    (&["rule api.list, limit 2: requests_per_unit=1"], "list=1", "1"),
    (&["rule api.list, limit 1: enabled=false"], "list=1", "100"),
    (&["rule api.list: enabled=false"], "list=1", "off"),
    (&["rule api.list, limit 1: requests_per_unit=-1"], "list=1", "100"),
    // An unlimited rule needs a period before it can have a number.
    (&["rule api.free: period=1m", "rule api.free: requests_per_unit=8"], "free=1", "8"),
    (&["rule api.free: period=1m"], "free=1", "unlimited"),
    // What looks like a pattern is a value.
    (&["rule api.user, user=.*: requests_per_unit=1"], "user=ann", "10"),
    (&["rule api.user, user=.*: requests_per_unit=1"], "user=.*", "1"),
    (&["rule api.user, user=a*: requests_per_unit=1"], "user=ann", "10"),
];

#[test]
fn the_narrower_scope_wins_and_what_is_off_stays_off() {
    for (settings, descriptor, expected) in PRECEDENCE {
        let operated = Operated::with(RULES, settings);
        let (_, shown) = operated.check(descriptor, 1);
        assert_eq!(shown, *expected, "{settings:?} {descriptor}");
    }
}

/// What has no effect, and why; `Ok` is the limit of the one that has.
#[test]
fn what_cannot_be_set_has_no_effect_and_says_why() {
    let cases = [
        ("rule api.usr: requests_per_unit=1", "there is no rule 'api.usr'"),
        ("domain apj: enabled=false", "there is no domain 'apj'"),
        (
            "rule api.user, tenant=acme: requests_per_unit=1",
            "rule 'api.user' has no entry 'tenant=acme': its keys are user",
        ),
        (
            "rule api.user: requests_per_unit=abc",
            "error loading config file: yaml: unmarshal errors: line 1: cannot unmarshal",
        ),
        ("rule api.user: burst=5", "'burst' belongs to algorithm token_bucket, but this limit has fixed_window"),
        ("rule api.bucket: burst=0", "'burst' must be a whole number from 1 to 4294967295, found '0'"),
        ("rule api.bucket: ban=1m", "token_bucket supports a ban only with 'when: exceeded'"),
        (
            "rule api.log: requests_per_unit=65537",
            "sliding_log keeps the time of every hit, so requests_per_unit is at most",
        ),
        ("rule api.user: period=0s", "'period' "),
        ("rule api.user: enabled=maybe", "'enabled' must be true or false, found 'maybe'"),
        ("rule api.user: enabled=", "'enabled' needs one value"),
        ("rule api.list: requests_per_unit=1", "rule 'api.list' has 2 limits: give the place of one, --limit 1 to 2"),
        ("rule api.list, limit 3: requests_per_unit=1", "rule 'api.list' has no limit 3, only 2"),
        ("rule api.free: requests_per_unit=8", "invalid rate limit unit ''"),
    ];
    for (setting, expected) in cases {
        let operated = Operated::with(RULES, &[setting]);
        let (scope, name, _) = read(setting);
        let overlay = operated.overlay();
        let why = overlay.why_inactive(&scope, name).unwrap_or_else(|| panic!("{setting} has an effect"));
        assert!(why.starts_with(expected), "{setting}: {why}");
        assert_eq!(operated.check("user=ann", 1).1, "10", "{setting}");
    }
}

#[test]
fn one_that_cannot_be_applied_leaves_the_others_in_force() {
    let operated = Operated::with(RULES, &["rule api.user: burst=5", "rule api.user: requests_per_unit=4"]);
    assert_eq!(operated.check("user=ann", 1).1, "4");
}

#[test]
fn counts_are_kept() {
    let mut operated = Operated::new(RULES);
    let check = |operated: &Operated, expected: &str| {
        let (code, limit) = operated.check("user=ann", 1);
        assert_eq!(format!("{} {limit}", code.name()), expected);
    };
    for _ in 0..10 {
        check(&operated, "OK 10");
    }
    check(&operated, "OVER_LIMIT 10");
    operated.set("rule api.user: requests_per_unit=12");
    check(&operated, "OK 12");
    operated.set("everything: enabled=false");
    check(&operated, "OK off");
    operated.unset("everything: enabled");
    check(&operated, "OVER_LIMIT 12");
    operated.unset("rule api.user: requests_per_unit");
    check(&operated, "OVER_LIMIT 10");
}

/// A request override is another limit, which `enabled: false` of a wider scope lifts as well.
#[test]
fn what_is_off_lifts_request_overrides_too() {
    let limit = Some(Override { requests_per_unit: 0, period: Some(Period::from_units(Unit::Minute, 1)) });
    let cases: &[(&[&str], Code)] = &[
        (&[], Code::OverLimit),
        (&["everything: enabled=false"], Code::Ok),
        (&["domain api, user=ann: enabled=false"], Code::Ok),
        (&["domain api, user=bob: enabled=false"], Code::OverLimit),
    ];
    for (settings, expected) in cases {
        let operated = Operated::with(RULES, settings);
        assert_eq!(operated.check_with("user=ann", 1, limit).0, *expected, "{settings:?}");
    }
}

/// In shadow mode as a whole, request overrides deny nothing either, and a narrower setting can take part of it back.
#[test]
fn shadow_mode_covers_request_overrides() {
    let limit = Some(Override { requests_per_unit: 0, period: Some(Period::from_units(Unit::Minute, 1)) });
    let cases: &[(&[&str], Code, &str)] = &[
        (&[], Code::OverLimit, "0"),
        (&["everything: shadow_mode=true"], Code::Ok, "0 shadow"),
        (&["domain api: shadow_mode=true"], Code::Ok, "0 shadow"),
        (&["domain api, user=ann: shadow_mode=true"], Code::Ok, "0 shadow"),
        (&["domain api, user=bob: shadow_mode=true"], Code::OverLimit, "0"),
        (&["everything: shadow_mode=true", "domain api: shadow_mode=false"], Code::OverLimit, "0"),
    ];
    for (settings, code, shown) in cases {
        let operated = Operated::with(RULES, settings);
        assert_eq!(operated.check_with("user=ann", 1, limit), (*code, (*shown).to_owned()), "{settings:?}");
    }
}

/// What is over a limit while the process is in shadow mode: a setting of any scope is in force in place of the process's.
#[test]
fn a_setting_replaces_the_shadow_mode_of_the_process() {
    let over = Some(Override { requests_per_unit: 0, period: Some(Period::from_units(Unit::Minute, 1)) });
    let cases: &[(&[&str], Code, Code)] = &[
        (&[], Code::Ok, Code::Ok),
        (&["everything: shadow_mode=false"], Code::OverLimit, Code::OverLimit),
        (&["everything: shadow_mode=true"], Code::Ok, Code::Ok),
        (&["domain api: shadow_mode=false"], Code::OverLimit, Code::OverLimit),
        (&["domain api, user=ann: shadow_mode=false"], Code::OverLimit, Code::OverLimit),
        (&["domain api, user=bob: shadow_mode=false"], Code::Ok, Code::Ok),
        (&["rule api.user: shadow_mode=false"], Code::OverLimit, Code::Ok),
        (&["rule api.user, user=ann: shadow_mode=false"], Code::OverLimit, Code::Ok),
        (&["everything: shadow_mode=false", "rule api.user: shadow_mode=true"], Code::Ok, Code::OverLimit),
    ];
    for (settings, by_rule, by_request) in cases {
        let operated =
            Operated::in_mode(RULES, Settings { shadow_mode: true, ..Settings::default() }).and_set(settings);
        assert_eq!(operated.check("user=ann", 11).0, *by_rule, "{settings:?}");
        assert_eq!(operated.check_with("user=ann", 1, over).0, *by_request, "{settings:?}: override");
    }
}

/// `enabled` of a scope does not make its older `shadow_mode` the later one.
#[test]
fn the_latest_shadow_mode_of_equally_narrow_scopes_wins() {
    let settings = [
        "rule api.tenant.user: requests_per_unit=0",
        "domain api, tenant=acme: shadow_mode=true",
        "domain api, user=ann: shadow_mode=false",
        "domain api, tenant=acme: enabled=true",
    ];
    let operated = Operated::with(RULES, &settings);
    assert_eq!(operated.check("tenant=acme,user=ann", 1), (Code::OverLimit, "0".to_owned()));
}

/// All or nothing in the shadow mode of the process: what a setting takes out of it denies the check, which then charges nothing.
#[test]
fn one_limit_out_of_the_shadow_denies_all_or_nothing() {
    let rules = "domain: api
charge: all_or_nothing
descriptors:
- {key: user, rate_limit: {unit: minute, requests_per_unit: 2}}
- {key: tenant, rate_limit: {unit: minute, requests_per_unit: 1}}
";
    let operated = Operated::in_mode(rules, Settings { shadow_mode: true, ..Settings::default() })
        .and_set(&["rule api.user: shadow_mode=false"]);
    let check = || {
        let one = |key: &'static str, value: &'static str| Descriptor {
            entries: smallvec![Entry { key: key.into(), value: value.into() }],
            hits: Some(1),
            limit: None,
            refund: false,
        };
        let descriptors = smallvec![one("user", "ann"), one("tenant", "acme")];
        let check = Check { domain: "api".into(), descriptors, ..Check::default() };
        let view = operated.limiter.view().unwrap();
        let decision = view.check(WorkerSlot::default(), operated.now, &check);
        (decision.code, decision.statuses.iter().map(|status| status.code).collect::<Vec<_>>())
    };
    assert_eq!(check(), (Code::Ok, vec![Code::Ok, Code::Ok]));
    assert_eq!(check(), (Code::Ok, vec![Code::Ok, Code::OverLimit]), "the tenant's limit is in shadow mode");
    assert_eq!(check(), (Code::OverLimit, vec![Code::OverLimit, Code::Ok]), "the user's is not, and denies");
    assert_eq!(operated.remaining("user=ann"), 0);
}

/// A rule all of whose checks have an entry that is switched off looks off.
#[test]
fn a_rule_with_a_fixed_entry_looks_off() {
    let rules = "domain: api
descriptors:
- {key: tenant, value: acme, rate_limit: {unit: minute, requests_per_unit: 2}}
- {key: tenant, rate_limit: {unit: minute, requests_per_unit: 1}}
- {key: user, rate_limit: {unit: minute, requests_per_unit: 1}}
";
    let operated = Operated::with(rules, &["domain api, tenant=acme: enabled=false"]);
    let view = operated.limiter.view().unwrap();
    let on: Vec<_> =
        view.plan().unwrap().rules_in_force().map(|rule| (&*rule.rule.path, rule.domain_enabled)).collect();
    assert_eq!(on, [("api.tenant_acme", false), ("api.tenant", true), ("api.user", true)]);
    let lifted: Vec<_> = view.lifted().iter().map(ToString::to_string).collect();
    assert_eq!(lifted, ["domain api, tenant=acme: enabled: false (2 rules) (setting)"]);
}
