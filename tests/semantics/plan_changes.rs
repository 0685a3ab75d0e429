//! What becomes of counters when settings or a reload change the limits that are in force for them.

use std::collections::HashSet;

use tidegate::limiter::{Code, Settings};
use tidegate::units::Nanos;

use super::operated::{Operated, pairs};
use super::settings::RULES;

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
        assert_eq!(
            operated.limiter.reset_counters(operated.now, "api.k", &[], true, HashSet::new()),
            1,
            "{algorithm}: unbanned"
        );
        assert_eq!(
            (operated.check("k=1", 6).0, operated.check("k=1", 1).0),
            (Code::Ok, Code::OverLimit),
            "{algorithm}"
        );
        assert_eq!(
            operated.limiter.reset_counters(operated.now, "api.k", &named, true, HashSet::new()),
            0,
            "{algorithm}: no ban runs"
        );
        assert_eq!(
            operated.limiter.reset_counters(operated.now, "api.k", &named, false, HashSet::new()),
            1,
            "{algorithm}: reset"
        );
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

/// Two entries use a rate that a third one gives up: its bucket, without checks, must not go on to fill at it.
#[test]
fn a_bucket_does_not_fill_at_a_rate_that_others_still_have() {
    let rules = "domain: api
descriptors:
- key: k
  rate_limit: {unit: minute, requests_per_unit: 6, burst: 100, algorithm: token_bucket}
";
    for narrow in [true, false] {
        let mut operated = Operated::new(rules);
        operated.set("rule api.k, k=b: requests_per_unit=600");
        operated.set("rule api.k, k=c: requests_per_unit=600");
        assert_eq!(operated.check("k=c", 100).0, Code::Ok);
        if narrow {
            operated.unset("rule api.k, k=c: requests_per_unit");
        } else {
            operated.set("rule api.k, k=c: requests_per_unit=6");
        }
        operated.pass(Nanos::from_secs(9));
        assert_eq!(operated.remaining("k=c"), 0, "6 a minute are one in 10 s");
        operated.pass(Nanos::SECOND);
        assert_eq!(operated.remaining("k=c"), 1);
    }
}

/// A bucket under crossing settings fills at the rate of the one that stays.
#[test]
fn a_bucket_of_crossing_settings_fills_at_the_rate_that_is_left() {
    let rules = "domain: api
descriptors:
- key: t
  descriptors:
  - key: u
    rate_limit: {unit: minute, requests_per_unit: 6, burst: 100, algorithm: token_bucket}
";
    let mut operated = Operated::new(rules);
    operated.set("rule api.t.u, t=a: requests_per_unit=60");
    operated.set("rule api.t.u, u=x: requests_per_unit=600");
    assert_eq!(operated.check("t=a,u=x", 100).0, Code::Ok);
    operated.unset("rule api.t.u, u=x: requests_per_unit");
    operated.pass(Nanos::from_secs(10));
    assert_eq!(operated.remaining("t=a,u=x"), 10);
    operated.unset("rule api.t.u, t=a: requests_per_unit");
    operated.pass(Nanos::from_secs(10));
    assert_eq!(operated.remaining("t=a,u=x"), 11);
}

/// A ban by an operator is the caller's: it holds under another period, is found there, and does not come back once lifted.
#[test]
fn a_ban_by_an_operator_follows_the_limit() {
    let hourly = "domain: api\ndescriptors:\n- {key: k, rate_limit: {unit: hour, requests_per_unit: 5}}\n";
    let changes: [fn(&mut Operated); 4] = [
        |operated| operated.set("rule api.k: period=2h"),
        |operated| operated.set("rule api.k, k=1: period=2h"),
        |operated| {
            operated.reload("domain: api\ndescriptors:\n- {key: k, rate_limit: {unit: day, requests_per_unit: 5}}\n");
        },
        |operated| {
            operated.reload(
                "domain: api\ndescriptors:\n- {key: k, rate_limit: {unit: day, requests_per_unit: 5, algorithm: sliding_log}}\n",
            );
        },
    ];
    for (nth, change) in changes.into_iter().enumerate() {
        let mut operated = Operated::new(hourly);
        let until = operated.now.plus(Nanos::from_secs(60));
        operated.limiter.ban_counter("api.k", &pairs("k=1"), until).unwrap();
        change(&mut operated);
        let codes = |operated: &Operated| (operated.check("k=1", 1).0, operated.check("k=2", 1).0);
        assert_eq!(codes(&operated), (Code::OverLimit, Code::Ok), "change {nth}: the ban holds");
        operated.pass(Nanos::from_secs(59));
        assert_eq!(codes(&operated), (Code::OverLimit, Code::Ok), "change {nth}: to its end");
        assert_eq!(
            operated.limiter.reset_counters(operated.now, "api.k", &[], true, HashSet::new()),
            1,
            "change {nth}: it is found"
        );
        assert_eq!(codes(&operated), (Code::Ok, Code::Ok), "change {nth}: lifted");
        operated.unset("rule api.k: period");
        operated.unset("rule api.k, k=1: period");
        operated.reload(hourly);
        assert_eq!(codes(&operated), (Code::Ok, Code::Ok), "change {nth}: it does not come back");
    }
}

/// Without memory for the counter of one limit of a rule, none of them is banned.
#[test]
fn a_ban_of_several_limits_is_all_or_nothing() {
    let rules = "domain: api
descriptors:
- key: k
  rate_limits: [{unit: hour, requests_per_unit: 9}, {unit: day, requests_per_unit: 9, algorithm: sliding_log}]
";
    let settings = Settings { counter_budget_bytes: 1, ..Settings::default() };
    let operated = Operated::in_mode(rules, settings);
    let error = operated.limiter.ban_counter("api.k", &pairs("k=1"), operated.now.plus(Nanos::SECOND)).unwrap_err();
    assert!(error.contains("memory budget"), "{error}");
    assert_eq!(
        operated.limiter.reset_counters(operated.now, "api.k", &[], true, HashSet::new()),
        0,
        "nothing is banned"
    );
}

/// A ban set while another period is in force holds when that setting is removed.
#[test]
fn a_ban_by_an_operator_returns_with_the_configured_limit() {
    let mut operated = Operated::with(RULES, &["rule api.user, user=ann: period=1h"]);
    operated.limiter.ban_counter("api.user", &pairs("user=ann"), operated.now.plus(Nanos::SECOND)).unwrap();
    operated.unset("rule api.user, user=ann: period");
    assert_eq!((operated.check("user=ann", 1).0, operated.check("user=bob", 1).0), (Code::OverLimit, Code::Ok));
    operated.pass(Nanos::SECOND);
    assert_eq!(operated.check("user=ann", 10).0, Code::Ok, "a fresh counter");
}
