//! Settings: what they do to the next check.

use tonic::Code;

use tidegate::api::proto::tidegate::v1::{Entry, GetSettingRequest, ListAuditRequest, ListSettingsRequest};

use super::{Operator, admitted, denied, scope};
use crate::TestServer;
use crate::server::http;

/// Windows that no test outlives.
pub(super) const RULES: &str = "
domain: api
descriptors:
  - key: user
    rate_limit: {unit: year, requests_per_unit: 3}
  - key: tenant
    rate_limit: {unit: year, requests_per_unit: 2}
    descriptors:
      - key: user
        rate_limit: {unit: year, requests_per_unit: 1}
  - key: node
    rate_limit: {unit: year, requests_per_unit: 2}
";

#[tokio::test]
async fn the_next_check_is_held_against_the_new_number_and_counts_are_kept() {
    let server = TestServer::start(RULES, &[]);
    let mut operator = Operator::of(&server).await;
    for want in [admitted(3, 2), admitted(3, 1), admitted(3, 0), denied(3)] {
        assert_eq!(operator.check("user=ann").await, want);
    }
    assert_eq!(operator.check("user=bob").await, admitted(3, 2));

    let raised = operator.set("rule api.user", "requests_per_unit", "1000").await.unwrap();
    assert_eq!((&*raised.old, &*raised.warning), ("3", ""));
    assert_eq!(
        operator.check("user=ann").await,
        admitted(1000, 995),
        "the count is kept, with the hit that was denied"
    );
    assert_eq!(operator.check("user=bob").await, admitted(1000, 998), "of every user");

    operator.set("rule api.user user=ann", "requests_per_unit", "4").await.unwrap();
    assert_eq!(operator.check("user=ann").await, denied(4), "the narrower scope wins");
    assert_eq!(operator.check("user=bob").await, admitted(1000, 997), "nobody else is concerned");
    operator.set("rule api.user user=ann", "requests_per_unit", "-1").await.unwrap();
    assert!(operator.check("user=ann").await.ok, "a negative number is unlimited");

    assert_eq!(
        operator.settings().await,
        ["rule api.user requests_per_unit 1000", "rule api.user user=ann requests_per_unit -1"]
    );
    operator.unset("rule api.user user=ann", "requests_per_unit").await.unwrap();
    assert_eq!(operator.check("user=ann").await, admitted(1000, 993), "what was unlimited was not counted");
    let removed = operator.unset("rule api.user", "requests_per_unit").await.unwrap();
    assert_eq!(removed.value, "3", "the value of the file");
    assert_eq!(operator.check("user=ann").await, denied(3));
    assert_eq!(operator.check("user=bob").await, denied(3));
    let again = operator.unset("rule api.user", "requests_per_unit").await.unwrap_err();
    assert_eq!(again.code(), Code::NotFound, "{again:?}");
}

#[tokio::test]
async fn a_tenant_is_switched_off_and_everybody_else_stays_limited() {
    let server = TestServer::start(RULES, &[]);
    let mut operator = Operator::of(&server).await;
    operator.set("domain api tenant=acme", "enabled", "false").await.unwrap();
    for round in 0..5 {
        for row in ["tenant=acme", "tenant=acme user=ann"] {
            let answer = operator.check(row).await;
            assert!(answer.ok, "round {round}, {row}: {answer:?}");
        }
    }
    for want in [admitted(2, 1), admitted(2, 0), denied(2)] {
        assert_eq!(operator.check("tenant=beta").await, want);
    }
    assert_eq!(operator.check("user=acme").await, admitted(3, 2), "another key with that value");
    operator.unset("domain api tenant=acme", "enabled").await.unwrap();
    assert_eq!(operator.check("tenant=acme").await, admitted(2, 1), "nothing was counted meanwhile");
}

#[tokio::test]
async fn everything_off_and_on_again_brings_back_the_counts() {
    let server = TestServer::start(RULES, &[]);
    let mut operator = Operator::of(&server).await;
    let rows = ["user=ann", "tenant=acme", "node=n1"];
    let mut before = Vec::new();
    for row in rows {
        before.push(operator.check(row).await);
    }
    operator.set("", "enabled", "false").await.unwrap();
    // What is off in a wider scope stays off.
    operator.set("rule api.user", "enabled", "true").await.unwrap();
    for row in rows {
        for _ in 0..5 {
            assert!(operator.check(row).await.ok, "{row}");
        }
    }
    operator.unset("", "enabled").await.unwrap();
    for (row, before) in rows.into_iter().zip(before) {
        let (limit, remaining) = before.limit.unwrap();
        assert_eq!(operator.check(row).await, admitted(limit, remaining - 1), "{row}");
    }
    let (_, metrics) = server.http("GET", "/metrics", b"");
    let counted: u64 = metrics
        .lines()
        .filter(|line| line.starts_with("ratelimit_service_rate_limit_total_hits{"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(counted, 21, "usage counts what is not limited:\n{metrics}");
}

#[tokio::test]
async fn the_effective_value_says_where_it_comes_from() {
    let server = TestServer::start(RULES, &[]);
    let mut operator = Operator::of(&server).await;
    operator.set("", "shadow_mode", "true").await.unwrap();
    operator.set("rule api.user", "requests_per_unit", "7").await.unwrap();
    operator.set("domain api tenant=acme", "enabled", "false").await.unwrap();
    let cases = [
        ("rule api.user", "requests_per_unit", "7", "setting of rule api.user"),
        ("rule api.user user=ann", "requests_per_unit", "7", "setting of rule api.user"),
        ("rule api.tenant", "requests_per_unit", "2", "rules.yaml:7"),
        ("rule api.tenant tenant=acme", "enabled", "false", "setting of domain api, tenant=acme"),
        ("rule api.tenant tenant=beta", "enabled", "true", "default"),
        ("rule api.tenant", "shadow_mode", "true", "setting of everything"),
        ("rule api.user", "ban", "none", "default"),
        ("domain api", "enabled", "true", "default"),
        ("", "shadow_mode", "true", "setting of everything"),
    ];
    for (of, name, value, source) in cases {
        let request = GetSettingRequest { scope: Some(scope(of)), name: name.to_owned() };
        let found = operator.admin.get_setting(request).await.unwrap().into_inner();
        assert_eq!(found.value, value, "{of} {name}");
        assert!(found.source.ends_with(source), "{of} {name}: {}", found.source);
        assert_eq!(found.setting.is_some(), source.starts_with("setting"), "{of} {name}");
    }
}

#[tokio::test]
async fn switches_may_be_written_as_in_a_file() {
    let server = TestServer::start(RULES, &[]);
    let mut operator = Operator::of(&server).await;
    operator.set("domain api", "enabled", "yes").await.unwrap();
    operator.set("rule api.user", "enabled", "off").await.unwrap();
    let request = GetSettingRequest { scope: Some(scope("rule api.user")), name: "enabled".to_owned() };
    let found = operator.admin.get_setting(request).await.unwrap().into_inner();
    assert_eq!((&*found.value, &*found.source), ("false", "setting of rule api.user"));
    assert_eq!(operator.settings().await, ["domain api enabled true", "rule api.user enabled false"]);
}

#[tokio::test]
async fn what_cannot_be_set_is_a_clear_error_and_changes_nothing() {
    let server = TestServer::start(RULES, &[]);
    let mut operator = Operator::of(&server).await;
    let cases = [
        ("rule api.usr", "requests_per_unit", "1", "api.user"),
        ("domain apis", "enabled", "false", "api"),
        ("rule api.user", "requests", "1", "requests_per_unit"),
        ("rule api.user", "requests_per_unit", "many", "whole number"),
        ("rule api.user", "requests_per_unit", "1.5", "whole number"),
        ("rule api.user", "requests_per_unit", "", "one value"),
        ("rule api.user", "requests_per_unit", "4294967296", "whole number"),
        ("rule api.user", "burst", "4", "token_bucket"),
        ("rule api.user", "queue", "4", "token_bucket"),
        ("rule api.user", "period", "0s", "period"),
        ("rule api.user", "ban", "soon", "ban"),
        ("rule api.user", "enabled", "perhaps", "enabled"),
        ("domain api", "requests_per_unit", "1", "a domain has: enabled, shadow_mode"),
        ("", "ban", "1m", "everything has: enabled, shadow_mode"),
        ("rule api.user tenant=acme", "requests_per_unit", "1", "its keys are user"),
        ("rule api.user user=ann user=bob", "requests_per_unit", "1", "given twice"),
    ];
    for (of, name, value, text) in cases {
        let error = operator.set(of, name, value).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{of} {name} {value}: {error:?}");
        assert!(error.message().contains(text), "{of} {name} {value}: {}", error.message());
    }
    assert!(operator.settings().await.is_empty());
    assert_eq!(operator.check("user=ann").await, admitted(3, 2));
    assert!(operator.admin.list_audit(ListAuditRequest::default()).await.unwrap().into_inner().entries.is_empty());
}

/// The lists of settings and changes, by rule, domain and entry; also after a restart.
#[tokio::test]
async fn settings_and_changes_are_listed_by_what_they_apply_to() {
    let data = tempfile::tempdir().unwrap();
    let mut server = TestServer::start(RULES, &["--data-dir", data.path().to_str().unwrap()]);
    let mut operator = Operator::of(&server).await;
    for (scope, name, value) in [
        ("rule api.user", "requests_per_unit", "9"),
        ("rule api.user user=ann", "requests_per_unit", "8"),
        ("domain api tenant=acme", "enabled", "true"),
        ("", "shadow_mode", "false"),
    ] {
        operator.set(scope, name, value).await.unwrap();
    }
    for round in ["at once", "after a restart"] {
        let entry = |key: &str, value: &str| vec![Entry { key: key.to_owned(), value: value.to_owned() }];
        for (rule, domain, entries, expected) in [
            ("", "", vec![], 4),
            ("api.user", "", vec![], 2),
            ("", "api", vec![], 3),
            ("", "other", vec![], 0),
            ("api.user", "", entry("user", "ann"), 1),
            ("", "", entry("tenant", "acme"), 1),
        ] {
            let (rule, domain) = (rule.to_owned(), domain.to_owned());
            let settings = ListSettingsRequest { rule: rule.clone(), domain: domain.clone(), entries: entries.clone() };
            let listed = operator.admin.list_settings(settings).await.unwrap().into_inner().settings;
            let what = format!("{round}: {rule} {domain} {entries:?}");
            let changes = ListAuditRequest { rule, domain, entries, ..ListAuditRequest::default() };
            let changes = operator.admin.list_audit(changes).await.unwrap().into_inner().entries;
            assert_eq!((listed.len(), changes.len()), (expected, expected), "{what}");
        }
        server.crash();
        server.restart();
        operator = Operator::of(&server).await;
    }
}

/// What an operator should know is said with the answer.
#[tokio::test]
async fn a_setting_without_an_effect_is_set_with_a_warning() {
    let server = TestServer::start(RULES, &[]);
    let mut operator = Operator::of(&server).await;
    assert_eq!(operator.set("rule api.user", "requests_per_unit", "9").await.unwrap().warning, "");
    operator.set("domain api", "enabled", "false").await.unwrap();
    let warning = operator.set("rule api.user", "requests_per_unit", "8").await.unwrap().warning;
    assert_eq!(warning, "it has no effect now: limits are switched off here (enabled: false, setting of domain api)");
}

/// The limits of a banned caller say so.
#[tokio::test]
async fn limits_say_that_a_ban_runs() {
    let server = TestServer::start(RULES, &[]);
    let mut operator = Operator::of(&server).await;
    operator.ban("api.user", "user=ann", 3_600).await.unwrap();
    let (_, of_ann) = http(&server.admin, "GET", "/limits?domain=api&user=ann", b"");
    let (_, of_bob) = http(&server.admin, "GET", "/limits?domain=api&user=bob", b"");
    let of = |text: &str| text.matches("\"bannedUntil\": \"20").count() + text.matches("\"bannedUntil\":\"20").count();
    assert_eq!((of(&of_ann), of(&of_bob)), (1, 0), "{of_ann} {of_bob}");
}

/// Where limits are shown, the value in force is, and that it is a setting.
#[tokio::test]
async fn pages_and_metrics_show_what_is_set() {
    let server = TestServer::start(RULES, &[]);
    let mut operator = Operator::of(&server).await;
    let line = || {
        let (_, config) = http(&server.admin, "GET", "/rlconfig", b"");
        config.lines().find(|line| line.starts_with("api.user: ")).unwrap().to_owned()
    };
    let metrics = || server.http("GET", "/metrics", b"").1;
    let limit = || {
        let metrics = metrics();
        let found =
            metrics.lines().find(|line| line.starts_with("tidegate_rule_limit{") && line.contains("\"api.user\""));
        found.unwrap().rsplit(' ').next().unwrap().to_owned()
    };
    let configured = line();
    assert!(!configured.contains("setting") && configured.contains("requests_per_unit=3,"), "{configured}");
    assert_eq!(limit(), "3");
    operator.set("rule api.user", "requests_per_unit", "1000").await.unwrap();
    let set = line();
    assert!(set.contains("requests_per_unit=1000,") && set.ends_with(", setting: true"), "{set}");
    assert_eq!(limit(), "1000");
    let counted = metrics();
    let counted: Vec<_> = counted.lines().filter(|line| line.starts_with("tidegate_settings{")).collect();
    assert_eq!(counted, [r#"tidegate_settings{domain="api",rule="api.user"} 1"#]);
    operator.unset("rule api.user", "requests_per_unit").await.unwrap();
    assert_eq!((line(), &*limit()), (configured, "3"));
}
