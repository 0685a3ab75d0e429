//! Settings over the rules: which one wins, what they do to counts, and what cannot be set.

use std::sync::Arc;

use smallvec::smallvec;

use tidegate::limiter::{Check, Code, Descriptor, Limiter, Override, Settings, WorkerSlot};
use tidegate::rules::{
    Assignment, Entry, LoadOptions, Overlay, Period, RuleSet, Scope, ScopeTarget, SettingName, SourceFile, Unit, load,
};
use tidegate::units::{Nanos, Timestamp};

const RULES: &str = "domain: api
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

/// A limiter with settings, at an instant of its own.
struct Operated {
    limiter: Limiter,
    rules: Arc<RuleSet>,
    now: Timestamp,
    set: Vec<Assignment>,
}

impl Operated {
    fn new(rules: &str) -> Self {
        let file = SourceFile { name: "rules.yaml".into(), text: rules.into() };
        let rules = Arc::new(load(&[file], LoadOptions::default()).unwrap());
        let limiter = Limiter::new(Settings::default());
        let now = Timestamp::from_ns(1_000_000_000_000);
        limiter.put_in_force(now, Arc::clone(&rules), &Overlay::default());
        Self { limiter, rules, now, set: Vec::new() }
    }

    /// With settings such as `rule api.user, user=ann: requests_per_unit=3`, one after the other.
    fn with(rules: &str, settings: &[&str]) -> Self {
        let mut operated = Self::new(rules);
        for setting in settings {
            operated.set(setting);
        }
        operated
    }

    /// Sets a value, or replaces it.
    fn set(&mut self, setting: &str) {
        let (scope, name, value) = read(setting);
        self.set.retain(|known| (&known.scope, known.name) != (&scope, name));
        let order = self.set.iter().map(|known| known.order + 1).max().unwrap_or(0);
        self.set.push(Assignment { scope, name, value, order });
        self.apply();
    }

    fn unset(&mut self, setting: &str) {
        let (scope, name, _) = read(&format!("{setting}=x"));
        self.set.retain(|known| (&known.scope, known.name) != (&scope, name));
        self.apply();
    }

    fn apply(&self) {
        self.limiter.put_in_force(self.now, Arc::clone(&self.rules), &self.overlay());
    }

    fn overlay(&self) -> Overlay {
        let mut targets: Vec<&ScopeTarget> = self.set.iter().map(|one| &one.scope.target).collect();
        targets.sort_unstable();
        targets.dedup();
        let targets = targets.into_iter().map(|target| {
            let of_target: Vec<&Assignment> = self.set.iter().filter(|one| one.scope.target == *target).collect();
            (target, of_target)
        });
        Overlay::new(&self.rules, targets)
    }

    fn check(&self, descriptor: &str, hits: u64) -> (Code, String) {
        self.check_with(descriptor, hits, None)
    }

    /// The code, and the limit: `10`, `10 shadow`, `off`, `unlimited` or `none`.
    fn check_with(&self, descriptor: &str, hits: u64, limit: Option<Override>) -> (Code, String) {
        let pairs = pairs(descriptor);
        let entries = Entry::borrowed(&pairs).into_iter().collect();
        let descriptor = Descriptor { entries, hits: Some(hits), limit, refund: false };
        let check = Check { domain: "api".into(), descriptors: smallvec![descriptor], ..Check::default() };
        let view = self.limiter.view().unwrap();
        let decision = view.check(WorkerSlot::default(), self.now, &check);
        let status = &decision.statuses[0];
        let shown = match (status.limit, status.rule) {
            (Some(limit), _) if status.denied.is_some() && status.code == Code::Ok => {
                format!("{} shadow", limit.requests_per_unit)
            }
            (Some(limit), _) => limit.requests_per_unit.to_string(),
            (None, Some(_)) if status.unlimited => "unlimited".to_owned(),
            (None, Some(_)) => "off".to_owned(),
            (None, None) => "none".to_owned(),
        };
        (decision.code, shown)
    }

    fn remaining(&self, descriptor: &str) -> u64 {
        let pairs = pairs(descriptor);
        let view = self.limiter.view().unwrap();
        let explained = view.explain(self.now, "api", &Entry::borrowed(&pairs), 1).unwrap();
        explained.limits[0].counter.remaining
    }

    fn pass(&mut self, length: Nanos) {
        self.now = self.now.plus(length);
    }
}

/// `rule PATH, limit N, K=V: NAME=VALUE`, `domain NAME, K=V: ...` or `everything: ...`.
fn read(setting: &str) -> (Scope, SettingName, String) {
    let (scope, assigned) = setting.split_once(": ").unwrap();
    let (name, value) = assigned.split_once('=').unwrap();
    let mut parts = scope.split(", ");
    let target = match parts.next().unwrap().split_once(' ') {
        None => ScopeTarget::Everything,
        Some(("domain", name)) => ScopeTarget::Domain(name.to_owned()),
        Some((_, path)) => ScopeTarget::Rule(path.to_owned()),
    };
    let (mut entries, mut limit) = (Vec::new(), 0);
    for part in parts {
        match part.strip_prefix("limit ") {
            Some(place) => limit = place.parse().unwrap(),
            None => entries.extend(pairs(part)),
        }
    }
    let name = SettingName::read(name, &target).unwrap();
    (Scope::new(target, entries, limit).unwrap(), name, value.to_owned())
}

fn pairs(text: &str) -> Vec<(String, String)> {
    text.split(',').map(|entry| entry.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())).unwrap()).collect()
}

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
        ("rule api.usr: requests_per_unit=1", "there is no rule 'api.usr'; the nearest: api.user, "),
        ("domain apj: enabled=false", "there is no domain 'apj'; the nearest: api"),
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

/// A changed period is another counter; when the setting is removed, the former one goes on.
#[test]
fn a_period_has_counters_of_its_own() {
    let mut operated = Operated::new(RULES);
    assert_eq!(operated.check("user=ann", 10).0, Code::Ok);
    operated.set("rule api.user: period=1h");
    assert_eq!((operated.check("user=ann", 10).0, operated.check("user=ann", 1).0), (Code::Ok, Code::OverLimit));
    operated.set("rule api.user: requests_per_unit=11");
    assert_eq!((operated.check("user=ann", 1).0, operated.check("user=ann", 1).0), (Code::OverLimit, Code::OverLimit));
    operated.unset("rule api.user: period");
    assert_eq!((operated.check("user=ann", 1).0, operated.check("user=ann", 1).0), (Code::Ok, Code::OverLimit));
}

/// Limits of one kind keep their counters when a setting takes one of them away.
#[test]
fn an_unlimited_limit_does_not_give_its_counters_to_another() {
    let two = "domain: api
descriptors:
- key: k
  rate_limits:
  - {unit: day, requests_per_unit: 100, algorithm: token_bucket}
  - {unit: second, requests_per_unit: 10, algorithm: token_bucket}
";
    let mut operated = Operated::new(two);
    assert_eq!(operated.check("k=1", 10).0, Code::Ok);
    assert_eq!(operated.check("k=1", 1).0, Code::OverLimit);
    operated.set("rule api.k, limit 1: requests_per_unit=-1");
    assert_eq!(operated.check("k=1", 1).0, Code::OverLimit, "the bucket of the second limit is empty");
    operated.pass(Nanos::SECOND);
    assert_eq!((operated.check("k=1", 10).0, operated.check("k=1", 1).0), (Code::Ok, Code::OverLimit));
}

/// A bucket keeps the hits that it lacks when a setting changes its rate for one user, and nobody else's fills at that rate.
#[test]
fn a_bucket_keeps_its_missing_hits() {
    let mut operated = Operated::new(RULES);
    for user in ["ann", "bob"] {
        assert_eq!(operated.check(&format!("bucket={user}"), 10).0, Code::Ok);
    }
    operated.set("rule api.bucket, bucket=ann: requests_per_unit=100");
    operated.set("rule api.bucket, bucket=ann: burst=10");
    operated.pass(Nanos::from_ns(50_000_000));
    assert_eq!((operated.remaining("bucket=ann"), operated.remaining("bucket=bob")), (5, 0));
    operated.unset("rule api.bucket, bucket=ann: requests_per_unit");
    operated.pass(Nanos::from_ns(300_000_000));
    assert_eq!((operated.remaining("bucket=ann"), operated.remaining("bucket=bob")), (8, 3));
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

/// A ban by an operator holds whatever the limit is, and leaves a fresh counter.
#[test]
fn an_operator_bans_a_counter_of_every_algorithm() {
    for algorithm in
        ["fixed_window, starts: first_request", "fixed_window", "sliding_window", "sliding_log", "token_bucket"]
    {
        let rules = format!(
            "domain: api\ndescriptors:\n- {{key: k, rate_limit: {{unit: hour, requests_per_unit: 5, algorithm: {algorithm}}}}}\n"
        );
        let mut operated = Operated::new(&rules);
        assert_eq!(operated.check("k=1", 3).0, Code::Ok);
        let until = operated.now.plus(Nanos::from_secs(60));
        let named = pairs("k=1");
        operated.limiter.ban_counter("api.k", &named, until).unwrap();
        operated.set("rule api.k: requests_per_unit=6");
        assert_eq!(
            (operated.check("k=1", 1).0, operated.check("k=2", 1).0),
            (Code::OverLimit, Code::Ok),
            "{algorithm}"
        );
        operated.pass(Nanos::from_ns(59_999_999_999));
        assert_eq!(operated.check("k=1", 0).0, Code::OverLimit, "{algorithm}: a look is denied too");
        operated.pass(Nanos::from_ns(1));
        assert_eq!(
            (operated.check("k=1", 6).0, operated.check("k=1", 1).0),
            (Code::Ok, Code::OverLimit),
            "{algorithm}"
        );

        operated.limiter.ban_counter("api.k", &named, operated.now.plus(Nanos::SECOND)).unwrap();
        assert_eq!(operated.limiter.reset_counters(operated.now, "api.k", &[], true), 1, "{algorithm}: unbanned");
        assert_eq!(
            (operated.check("k=1", 6).0, operated.check("k=1", 1).0),
            (Code::Ok, Code::OverLimit),
            "{algorithm}"
        );
        assert_eq!(operated.limiter.reset_counters(operated.now, "api.k", &named, true), 0, "{algorithm}: no ban runs");
        assert_eq!(operated.limiter.reset_counters(operated.now, "api.k", &named, false), 1, "{algorithm}: reset");
        assert_eq!(operated.check("k=1", 6).0, Code::Ok, "{algorithm}");
    }
}

#[test]
fn a_ban_needs_the_entries_of_one_counter() {
    let operated = Operated::new(RULES);
    let until = operated.now.plus(Nanos::SECOND);
    let ban =
        |path: &str, entries: &[(String, String)]| operated.limiter.ban_counter(path, entries, until).unwrap_err();
    assert_eq!(
        ban("api.tenant.user", &pairs("tenant=acme")),
        "rule 'api.tenant.user' has a counter for each tenant, user: give --entry for all of them"
    );
    assert_eq!(
        ban("api.user", &pairs("user=ann,tenant=acme")),
        "rule 'api.user' has no entry 'tenant=acme': its entries are user"
    );
    assert!(ban("api.free", &pairs("free=1")).contains("has no limit"));
}
