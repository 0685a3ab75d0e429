//! Operators that do not behave: a clear error each, and nothing half done.

use prost_types::Duration;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Status};

use tidegate::api::proto::tidegate::v1::{
    BanCounterRequest, ConfigFile, Entry, ExplainRequest, GetSettingRequest, ListAuditRequest, ListCountersRequest,
    ListLimitsRequest, ListSettingsRequest, ResetCountersRequest, SetSettingRequest, SettingScope,
    StartCandidateRequest, UnbanCountersRequest, UnsetSettingRequest,
};

use super::{Operator, admitted, entries, scope, seconds, setting};
use crate::TestServer;

pub(super) const RULES: &str = "
domain: api
descriptors:
  - key: user
    rate_limit: {unit: year, requests_per_unit: 3}
  - key: path
    value: '/v1/*'
    rate_limit: {unit: year, requests_per_unit: 3}
";

/// A megabyte that a log or a terminal would also choke on.
fn huge() -> String {
    "\u{1b}[31m\n%0a".repeat((1 << 20) / 9 + 1)
}

fn assert_clear<T: std::fmt::Debug>(what: &str, outcome: Result<T, Status>, codes: &[Code]) {
    let status = outcome.expect_err(what);
    assert!(codes.contains(&status.code()), "{what}: {status:?}");
    let message = status.message();
    assert!(!message.is_empty() && message.len() < 2_000, "{what}: {} bytes", message.len());
    assert!(!message.contains('\u{1b}'), "{what}: {message:?}");
}

#[tokio::test]
async fn a_megabyte_of_any_name_is_rejected_in_a_few_words() {
    let server = TestServer::start(RULES, &[]);
    let mut operator = Operator::of(&server).await;
    let entry = |key: &str, value: &str| vec![Entry { key: key.to_owned(), value: value.to_owned() }];
    let user = || SettingScope { rule: "api.user".to_owned(), ..SettingScope::default() };
    let scopes = [
        SettingScope { rule: huge(), ..SettingScope::default() },
        SettingScope { domain: huge(), ..SettingScope::default() },
        SettingScope { entries: entry(&huge(), "a"), ..user() },
        SettingScope { entries: entry("user", &huge()), ..user() },
        SettingScope { domain: "api".to_owned(), entries: entry(&huge(), &huge()), ..SettingScope::default() },
    ];
    let rejected = [Code::InvalidArgument, Code::NotFound];
    for (place, wrong) in scopes.into_iter().enumerate() {
        let (name, what) = ("enabled".to_owned(), format!("scope {place}"));
        let set = SetSettingRequest { scope: Some(wrong.clone()), ..setting("", "enabled", "false") };
        assert_clear(&what, operator.admin.set_setting(set).await, &rejected);
        let get = GetSettingRequest { scope: Some(wrong.clone()), name: name.clone() };
        assert_clear(&what, operator.admin.get_setting(get).await, &rejected);
        let unset = UnsetSettingRequest { scope: Some(wrong), name, reason: String::new() };
        assert_clear(&what, operator.admin.unset_setting(unset).await, &rejected);
    }
    let sets = [
        ("name", SetSettingRequest { name: huge(), ..setting("rule api.user", "", "1") }),
        ("value", setting("rule api.user", "requests_per_unit", &huge())),
        ("switch", setting("rule api.user", "enabled", &huge())),
        ("reason", SetSettingRequest { reason: huge(), ..setting("rule api.user", "requests_per_unit", "1") }),
    ];
    for (what, set) in sets {
        assert_clear(what, operator.admin.set_setting(set).await, &rejected);
    }
    operator.set("", "enabled", "true").await.unwrap();
    let unset = UnsetSettingRequest { scope: None, name: "enabled".to_owned(), reason: huge() };
    assert_clear("reason", operator.admin.unset_setting(unset).await, &rejected);
    operator.unset("", "enabled").await.unwrap();
    counters_and_questions(&mut operator, &entry("user", &huge()), &entry(&huge(), "a")).await;
    assert!(operator.settings().await.is_empty());
    let audit = operator.admin.list_audit(ListAuditRequest::default()).await.unwrap().into_inner();
    let lengths: Vec<_> = audit.entries.iter().map(|entry| (&*entry.action, entry.scope.len())).collect();
    assert_eq!(lengths.len(), 5, "{lengths:?}");
    assert!(lengths.iter().all(|(_, length)| *length <= 5_000), "{lengths:?}");
    assert_eq!(operator.check("user=ann").await, admitted(3, 2));
    let long = server.log().into_iter().find(|line| line.len() > 4_000);
    assert!(long.is_none(), "a line of {} bytes in the log", long.unwrap_or_default().len());
}

async fn counters_and_questions(operator: &mut Operator, value: &[Entry], key: &[Entry]) {
    let rejected = [Code::InvalidArgument, Code::NotFound];
    let admin = &mut operator.admin;
    let list = ListCountersRequest { rule: huge(), ..ListCountersRequest::default() };
    assert_clear("list", admin.list_counters(list).await, &rejected);
    let list = ListCountersRequest { domain: huge(), ..ListCountersRequest::default() };
    assert_clear("list", admin.list_counters(list).await, &rejected);
    let list = ListCountersRequest { page_token: huge(), ..ListCountersRequest::default() };
    assert_clear("list", admin.list_counters(list).await, &rejected);
    let reset = ResetCountersRequest { rule: huge(), ..ResetCountersRequest::default() };
    assert_clear("reset", admin.reset_counters(reset).await, &rejected);
    let reset = ResetCountersRequest { rule: "api.user".to_owned(), entries: key.to_vec(), reason: String::new() };
    assert_clear("reset", admin.reset_counters(reset).await, &rejected);
    let unban = UnbanCountersRequest { rule: "api.user".to_owned(), reason: huge(), ..UnbanCountersRequest::default() };
    assert_clear("unban", admin.unban_counters(unban).await, &rejected);
    let ban = BanCounterRequest { rule: huge(), r#for: Some(seconds(60)), ..BanCounterRequest::default() };
    assert_clear("ban", admin.ban_counter(ban.clone()).await, &rejected);
    let ban = BanCounterRequest { rule: "api.user".to_owned(), entries: key.to_vec(), ..ban };
    assert_clear("ban", admin.ban_counter(ban).await, &rejected);
    let files = vec![ConfigFile { name: huge(), content: RULES.into() }];
    assert_clear(
        "a file",
        admin.start_candidate(StartCandidateRequest { files, merge_domains: false }).await,
        &rejected,
    );
    // A counter may have such a value.
    let rule = || "api.user".to_owned();
    let ban =
        BanCounterRequest { rule: rule(), entries: value.to_vec(), r#for: Some(seconds(60)), reason: String::new() };
    admin.ban_counter(ban).await.unwrap();
    let unban = UnbanCountersRequest { rule: rule(), entries: value.to_vec(), reason: String::new() };
    assert_eq!(admin.unban_counters(unban).await.unwrap().into_inner().unbanned, 1);
    let reset = ResetCountersRequest { rule: rule(), entries: value.to_vec(), reason: String::new() };
    admin.reset_counters(reset).await.unwrap();
    for domain in ["api".to_owned(), huge()] {
        for entries in [value, key] {
            let explain = ExplainRequest { domain: domain.clone(), entries: entries.to_vec(), hits: 0 };
            match admin.explain(explain).await {
                Ok(explained) => assert!(explained.into_inner().why.len() < 2_000),
                rejection @ Err(_) => assert_clear("explain", rejection, &rejected),
            }
            let limits = ListLimitsRequest { domain: domain.clone(), entries: entries.to_vec() };
            match admin.list_limits(limits).await {
                Ok(limits) => drop(limits),
                rejection @ Err(_) => assert_clear("limits", rejection, &rejected),
            }
        }
    }
}

#[tokio::test]
async fn entries_that_look_like_patterns_are_literal() {
    let server = TestServer::start(RULES, &[]);
    let mut operator = Operator::of(&server).await;
    for value in [".*", "[a-z]+", "*", "a*", "^ann$", "%", "ann|bob", "\\d", "/v1/*"] {
        let of = format!("rule api.user user={value}");
        operator.set(&of, "requests_per_unit", "0").await.unwrap();
        operator.set(&format!("domain api user={value}"), "enabled", "false").await.unwrap();
        operator.unset(&format!("domain api user={value}"), "enabled").await.unwrap();
        assert!(!operator.check(&format!("user={value}")).await.ok, "{value} itself");
        for other in ["ann", "bob", "a", "1", "/v1/x"] {
            assert!(operator.check(&format!("user={other}")).await.ok, "{value} is not {other}");
        }
        let listed =
            ListCountersRequest { entries: entries(&format!("user={value}")), ..ListCountersRequest::default() };
        let found = operator.counters(listed).await;
        assert!(found.iter().all(|counter| counter.entries[0].value == value), "{found:?}");
        let reset = ResetCountersRequest { rule: "api.user".to_owned(), ..ResetCountersRequest::default() };
        operator.admin.reset_counters(reset).await.unwrap();
    }
    // Neither does a path that the pattern of a rule matches become another setting than its own.
    operator.set("rule api.path_/v1/* path=/v1/pay", "requests_per_unit", "0").await.unwrap();
    assert!(!operator.check("path=/v1/pay").await.ok);
    assert!(operator.check("path=/v1/pays").await.ok);
}

#[tokio::test]
async fn lengths_of_time_out_of_range_are_rejected() {
    let server = TestServer::start(RULES, &[]);
    let mut operator = Operator::of(&server).await;
    let wrong = [(-1, 0), (0, -1), (i64::MIN, i32::MIN), (i64::MAX, i32::MAX), (0, 0), (366 * 86_400, 1)];
    for (seconds, nanos) in wrong {
        let length = Some(Duration { seconds, nanos });
        let what = format!("{length:?}");
        let set = SetSettingRequest { r#for: length, ..setting("rule api.user", "requests_per_unit", "9") };
        assert_clear(&what, operator.admin.set_setting(set).await, &[Code::InvalidArgument]);
        let ban = BanCounterRequest {
            rule: "api.user".to_owned(),
            entries: entries("user=ann"),
            r#for: length,
            reason: String::new(),
        };
        assert_clear(&what, operator.admin.ban_counter(ban).await, &[Code::InvalidArgument]);
        if seconds < 0 || nanos < 0 {
            let audit = ListAuditRequest { since: length, limit: 0, ..ListAuditRequest::default() };
            assert_clear(&what, operator.admin.list_audit(audit).await, &[Code::InvalidArgument]);
        }
    }
    let since = Some(Duration { seconds: i64::MAX, nanos: i32::MAX });
    operator
        .admin
        .list_audit(ListAuditRequest { since, limit: u32::MAX, ..ListAuditRequest::default() })
        .await
        .unwrap();
    assert!(operator.settings().await.is_empty());
    assert_eq!(operator.check("user=ann").await, admitted(3, 2));
}

#[tokio::test]
async fn empty_messages_are_answered_or_rejected_clearly() {
    let server = TestServer::start(RULES, &[]);
    let mut operator = Operator::of(&server).await;
    let admin = &mut operator.admin;
    let invalid = [Code::InvalidArgument];
    assert_clear("set", admin.set_setting(SetSettingRequest::default()).await, &invalid);
    assert_clear("get", admin.get_setting(GetSettingRequest::default()).await, &invalid);
    assert_clear("unset", admin.unset_setting(UnsetSettingRequest::default()).await, &invalid);
    assert_clear("reset", admin.reset_counters(ResetCountersRequest::default()).await, &invalid);
    assert_clear("ban", admin.ban_counter(BanCounterRequest::default()).await, &invalid);
    assert_clear("unban", admin.unban_counters(UnbanCountersRequest::default()).await, &invalid);
    assert_clear("explain", admin.explain(ExplainRequest::default()).await, &invalid);
    assert_clear("limits", admin.list_limits(ListLimitsRequest::default()).await, &invalid);
    assert!(admin.list_settings(ListSettingsRequest::default()).await.unwrap().into_inner().settings.is_empty());
    assert!(admin.list_audit(ListAuditRequest::default()).await.unwrap().into_inner().entries.is_empty());
    assert_eq!(admin.list_counters(ListCountersRequest::default()).await.unwrap().into_inner().total, 0);
    let both = SettingScope { rule: "api.user".to_owned(), domain: "api".to_owned(), ..SettingScope::default() };
    let set = SetSettingRequest { scope: Some(both), ..setting("", "enabled", "false") };
    assert_clear("a rule and a domain", admin.set_setting(set).await, &invalid);
    let place = SettingScope { limit: u32::MAX, ..scope("rule api.user") };
    let set = SetSettingRequest { scope: Some(place), ..setting("", "requests_per_unit", "1") };
    assert_clear("a limit that the rule does not have", admin.set_setting(set).await, &invalid);
}

/// A request as a later version might send it.
#[derive(Clone, PartialEq, prost::Message)]
struct LaterSetSetting {
    #[prost(message, optional, tag = "1")]
    scope: Option<SettingScope>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    value: String,
    #[prost(string, tag = "1000")]
    approved_by: String,
    #[prost(message, optional, tag = "1001")]
    window: Option<Duration>,
}

#[tokio::test]
async fn fields_that_are_not_known_are_ignored() {
    let server = TestServer::start(RULES, &[]);
    let mut operator = Operator::of(&server).await;
    let request = LaterSetSetting {
        scope: Some(scope("rule api.user")),
        name: "requests_per_unit".to_owned(),
        value: "9".to_owned(),
        approved_by: "ann".to_owned(),
        window: Some(seconds(60)),
    };
    let mut client = tonic::client::Grpc::new(crate::server::connect(&server.admin).await);
    client.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<_, tidegate::api::proto::tidegate::v1::SetSettingResponse>::default();
    let path = http::uri::PathAndQuery::from_static("/tidegate.v1.AdminService/SetSetting");
    client.unary(tonic::Request::new(request), path, codec).await.unwrap();
    assert_eq!(operator.settings().await, ["rule api.user requests_per_unit 9"]);
    assert_eq!(operator.check("user=ann").await, admitted(9, 8));
}

#[tokio::test]
async fn a_request_that_is_compressed_or_too_large_is_rejected_with_a_status() {
    let server = TestServer::start(RULES, &[]);
    let mut operator = Operator::of(&server).await;
    let set = SetSettingRequest { reason: "r".repeat(6 << 20), ..setting("rule api.user", "requests_per_unit", "1") };
    assert_clear("6 MiB", operator.admin.set_setting(set).await, &[Code::OutOfRange, Code::ResourceExhausted]);
    let mut compressing = operator.admin.clone().send_compressed(CompressionEncoding::Gzip);
    let outcome = compressing.set_setting(setting("rule api.user", "requests_per_unit", "9")).await;
    // Either is fine: it is decoded, or it is said that it cannot be.
    if let Err(status) = outcome {
        assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
        assert!(operator.settings().await.is_empty());
    }
    assert!(operator.check("user=ann").await.ok);
}
