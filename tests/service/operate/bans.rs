//! Bans by operators.

use tonic::Code;

use tidegate::api::proto::tidegate::v1::{BanCounterRequest, ListCountersRequest, SetSettingRequest};

use super::counters::{KEYS, RULES, rule};
use super::{Operator, admitted, entries, reload, seconds, setting};
use crate::TestServer;
use crate::server::eventually_async;

/// Rules for values that match a pattern.
const PATTERNS: &str = "
domain: api
descriptors:
  - key: path
    value: '/v1/*'
    rate_limit: {unit: year, requests_per_unit: 3}
  - key: host
    value: '*.test'
    share_threshold: true
    rate_limit: {unit: year, requests_per_unit: 3}
";

#[tokio::test]
async fn a_ban_denies_with_every_algorithm_outlives_a_reload_and_is_lifted() {
    let server = TestServer::start(RULES, &[]);
    let mut operator = Operator::of(&server).await;
    for key in KEYS {
        let (a, rule) = (format!("{key}=a"), format!("api.{key}"));
        // One counter exists, and one does not yet.
        operator.check(&a).await;
        for row in [&a, &format!("{key}=new")] {
            operator.ban(&rule, row, 3_600).await.unwrap();
            assert!(!operator.check(row).await.ok, "{row} is banned");
        }
        assert!(operator.check(&format!("{key}=b")).await.ok, "{key}: nobody else");
    }
    reload(&server, &RULES.replace("requests_per_unit: 3", "requests_per_unit: 5"));
    for key in KEYS {
        let (rule_name, limits) = (format!("api.{key}"), if key == "two" { 2 } else { 1 });
        for value in ["a", "new"] {
            assert!(!operator.check(&format!("{key}={value}")).await.ok, "{key}={value} after a reload");
        }
        let banned = ListCountersRequest { denied: true, ..rule(&rule_name) };
        let banned = operator.counters(banned).await;
        assert_eq!(banned.len(), 2 * limits, "{key}: {banned:?}");
        assert!(banned.iter().all(|counter| counter.banned_until.is_some()), "{key}: {banned:?}");
        let unbanned = operator.unban(&rule_name, &format!("{key}=a")).await.unwrap();
        assert_eq!(unbanned, u64::try_from(limits).unwrap(), "{key}");
        assert_eq!(operator.check(&format!("{key}=a")).await, admitted(5, 4), "{key}: fresh after the ban");
        assert!(!operator.check(&format!("{key}=new")).await.ok, "{key}: the other ban stays");
        let unbanned = operator.unban(&rule_name, "").await.unwrap();
        assert_eq!(unbanned, u64::try_from(limits).unwrap(), "{key}: what is not banned is not changed");
        assert_eq!(operator.check(&format!("{key}=a")).await, admitted(5, 3), "{key}");
        assert!(operator.check(&format!("{key}=new")).await.ok, "{key}");
    }
}

#[tokio::test]
async fn a_ban_ends_by_itself_and_is_not_lifted_by_a_larger_limit() {
    let server = TestServer::start(RULES, &[]);
    let mut operator = Operator::of(&server).await;
    for key in ["fixed", "log"] {
        operator.ban(&format!("api.{key}"), &format!("{key}=a"), 3_600).await.unwrap();
        operator.set(&format!("rule api.{key}"), "requests_per_unit", "100").await.unwrap();
        assert!(!operator.check(&format!("{key}=a")).await.ok, "{key}");
        operator.ban(&format!("api.{key}"), &format!("{key}=b"), 1).await.unwrap();
    }
    // Switched off: as if there were no limit, and so no ban.
    let off = SetSettingRequest { r#for: Some(seconds(3_600)), ..setting("domain api fixed=a", "enabled", "false") };
    operator.admin.set_setting(off).await.unwrap();
    assert!(operator.check("fixed=a").await.ok);
    operator.unset("domain api fixed=a", "enabled").await.unwrap();
    assert!(!operator.check("fixed=a").await.ok, "the ban is still there");
    for key in ["fixed", "log"] {
        eventually_async("the end of the ban", async || operator.check(&format!("{key}=b")).await.ok).await;
    }
}

#[tokio::test]
async fn counters_of_patterns_are_banned_by_the_value_or_all_together() {
    let server = TestServer::start(PATTERNS, &[]);
    let mut operator = Operator::of(&server).await;
    // Each path has a counter of its own; all hosts share one.
    operator.ban("api.path_/v1/*", "path=/v1/a", 3_600).await.unwrap();
    let error = operator.ban("api.host_*.test", "host=a.test", 3_600).await.unwrap_err();
    assert!(error.message().ends_with("has no entry 'host=a.test': its entries are host=*.test"), "{error:?}");
    operator.ban("api.host_*.test", "host=*.test", 3_600).await.unwrap();
    for (row, is_ok) in [("path=/v1/a", false), ("path=/v1/b", true), ("host=a.test", false), ("host=b.test", false)] {
        assert_eq!(operator.check(row).await.ok, is_ok, "{row}");
    }
    let error = operator.ban("api.path_/v1/*", "path=/v2/a", 3_600).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error:?}");
    assert_eq!(operator.unban("api.host_*.test", "").await.unwrap(), 1);
    assert_eq!(operator.unban("api.path_/v1/*", "path=/v1/a").await.unwrap(), 1);
    for row in ["path=/v1/a", "host=a.test", "host=b.test"] {
        assert!(operator.check(row).await.ok, "{row}");
    }
}

#[tokio::test]
async fn what_names_no_counter_is_a_clear_error() {
    let server = TestServer::start(RULES, &[]);
    let mut operator = Operator::of(&server).await;
    let bans = [
        ("", "fixed=a", 60, "give the path of a rule"),
        ("api.fixd", "fixed=a", 60, "api.fixed"),
        ("api.fixed", "", 60, "a counter for each fixed"),
        ("api.fixed", "user=a", 60, "its keys are fixed"),
        ("api.fixed", "fixed=a user=b", 60, "its keys are fixed"),
        ("api.tenant_acme.user", "tenant=acme", 60, "user"),
        ("api.tenant_acme.user", "tenant=beta user=ann", 60, "tenant=acme"),
        ("api.free", "free=a", 60, "no limit"),
        ("api.fixed", "fixed=a", 0, "366 days"),
        ("api.fixed", "fixed=a", 367 * 86_400, "366 days"),
        ("api.fixed", "fixed=a", -1, "not negative"),
        ("api.fixed", "fixed=a", i64::MAX, "366 days"),
    ];
    for (rule, of, length, text) in bans {
        let error = operator.ban(rule, of, length).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{rule} {of}: {error:?}");
        assert!(error.message().contains(text), "{rule} {of}: {}", error.message());
    }
    let without_length = BanCounterRequest { rule: "api.fixed".to_owned(), ..BanCounterRequest::default() };
    let error = operator.admin.ban_counter(without_length).await.unwrap_err();
    assert!(error.message().contains("a ban needs a length"), "{error:?}");
    for (rule, of, text) in [("api.fixd", "", "api.fixed"), ("api.fixed", "user=a", "its keys are fixed")] {
        for error in [operator.reset(rule, of).await.unwrap_err(), operator.unban(rule, of).await.unwrap_err()] {
            assert_eq!(error.code(), Code::InvalidArgument, "{rule} {of}: {error:?}");
            assert!(error.message().contains(text), "{rule} {of}: {}", error.message());
        }
    }
    let wrong_domain = ListCountersRequest { domain: "apis".to_owned(), ..ListCountersRequest::default() };
    let lists = [
        (rule("api.fixd"), "api.fixed"),
        (wrong_domain, "api"),
        (ListCountersRequest { page_token: "next".to_owned(), ..rule("api.fixed") }, "page_token"),
        (ListCountersRequest { page_token: u64::MAX.to_string(), ..rule("api.fixed") }, "page_token"),
        (ListCountersRequest { entries: entries("=a"), ..rule("api.fixed") }, "no key"),
        (ListCountersRequest { entries: entries(&"a=b ".repeat(17)), ..rule("api.fixed") }, "at most 16"),
    ];
    for (request, text) in lists {
        let error = operator.admin.list_counters(request).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error:?}");
        assert!(error.message().contains(text), "{}", error.message());
    }
    assert_eq!(operator.reset("api.fixed", "fixed=a").await.unwrap(), 0, "no counter was made");
    assert_eq!(operator.check("fixed=a").await, admitted(3, 2));
}
