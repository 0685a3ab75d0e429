//! Usage by request: who made how many requests, and how many of them were denied, through every door of the real binary.

use std::time::Duration;

use tonic::transport::Channel;
use tonic::{Code, Status};

use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use tidegate::api::proto::envoy::service::ratelimit::v3::RateLimitRequest;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use tidegate::api::proto::tidegate::v1::query_usage_request::GroupBy;
use tidegate::api::proto::tidegate::v1::usage_service_client::UsageServiceClient;
use tidegate::api::proto::tidegate::v1::{
    EntryFilter, QueryUsageRequest, RequestUsage, UsageCounts, UsageFilter, WatchUsageRequest,
};

use crate::TestServer;
use crate::observers::{everything, next, watch};
use crate::server::connect;

/// The worked example, with windows that no test run outlives.
fn config(charge: &str) -> String {
    format!(
        "domain: api
charge: {charge}
usage: {{by: [user, tenant]}}
descriptors:
- key: user
  descriptors:
  - {{key: endpoint, rate_limit: {{unit: year, requests_per_unit: 3}}}}
- {{key: tenant, rate_limit: {{unit: year, requests_per_unit: 4}}}}
"
    )
}

/// One check = (user), (user, endpoint), (tenant).
async fn ask(server: &TestServer, user: &str, times: u32) {
    let mut service = RateLimitServiceClient::new(server.channel().await);
    let entry = |key: &str, value: &str| Entry { key: key.into(), value: value.into() };
    let descriptor = |entries| RateLimitDescriptor { entries, ..RateLimitDescriptor::default() };
    let descriptors = vec![
        descriptor(vec![entry("user", user)]),
        descriptor(vec![entry("user", user), entry("endpoint", "/pay")]),
        descriptor(vec![entry("tenant", "t")]),
    ];
    for _ in 0..times {
        let request = RateLimitRequest { domain: "api".into(), descriptors: descriptors.clone(), hits_addend: 0 };
        service.should_rate_limit(request).await.unwrap();
    }
}

/// Value, requests, denied.
type Reported = (String, u64, u64);

fn reported(value: &str, counts: Option<UsageCounts>) -> Reported {
    let counts = counts.unwrap();
    assert_eq!(counts.num_requests, counts.num_requests_allowed + counts.num_requests_denied);
    (value.to_owned(), counts.num_requests, counts.num_requests_denied)
}

fn rows(requests: &[RequestUsage]) -> Vec<Reported> {
    requests.iter().map(|row| reported(&format!("{}={}", row.key, row.value), row.counts)).collect()
}

fn owned(rows: &[(&str, u64, u64)]) -> Vec<Reported> {
    rows.iter().map(|(value, requests, denied)| ((*value).to_owned(), *requests, *denied)).collect()
}

async fn watched(server: &TestServer, request: WatchUsageRequest) -> (Vec<Reported>, Vec<Reported>) {
    let report = next(&mut watch(server, request).await).await;
    (rows(&report.requests), rows(&report.request_totals))
}

fn by(keys: &[&str]) -> WatchUsageRequest {
    WatchUsageRequest { requests_by: keys.iter().map(ToString::to_string).collect(), ..everything() }
}

fn query(key: &str) -> QueryUsageRequest {
    let group_by = vec![GroupBy::Entry as i32];
    QueryUsageRequest { requests_by: key.into(), group_by, ..QueryUsageRequest::default() }
}

/// The rows of the history, once they are these.
async fn eventually(service: &mut UsageServiceClient<Channel>, request: QueryUsageRequest, want: &[(&str, u64, u64)]) {
    let mut rows = Vec::new();
    for _ in 0..1_500 {
        let answer = service.query_usage(request.clone()).await.unwrap().into_inner();
        rows = answer.rows.iter().map(|row| reported(&row.entry_value, row.counts)).collect();
        if rows == owned(want) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{request:?}: {rows:?}, not {want:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_user_is_reported_by_requests_live_in_the_history_and_in_the_metrics() {
    for (charge, bob, tenant) in [("independent", (4, 4), (10, 7)), ("all_or_nothing", (4, 3), (10, 6))] {
        let server = TestServer::start(&config(charge), &["--history-flush", "100ms"]);
        ask(&server, "ann", 6).await;
        ask(&server, "bob", 4).await;

        let users = [("user=ann", 6, 3), ("user=bob", bob.0, bob.1)];
        let total = [("user=", 10, 3 + bob.1)];
        assert_eq!(watched(&server, by(&["user"])).await, (owned(&users), owned(&total)), "{charge}");
        let both = [("tenant=t", tenant.0, tenant.1), users[0], users[1]];
        let totals = [("tenant=", tenant.0, tenant.1), total[0]];
        assert_eq!(watched(&server, by(&["user", "tenant"])).await, (owned(&both), owned(&totals)), "{charge}");
        assert_eq!(watched(&server, everything()).await, (vec![], vec![]), "only in reports that ask for it");

        let mut service = UsageServiceClient::new(connect(&server.admin).await);
        eventually(&mut service, query("user"), &[("ann", 6, 3), ("bob", bob.0, bob.1)]).await;
        eventually(&mut service, query("tenant"), &[("t", tenant.0, tenant.1)]).await;
        let entries = vec![EntryFilter { key: "user".into(), value: "bob".into() }];
        let only_bob = Some(UsageFilter { entries, ..UsageFilter::default() });
        let of_bob = QueryUsageRequest { filter: only_bob, group_by: vec![], ..query("user") };
        eventually(&mut service, of_bob, &[("", bob.0, bob.1)]).await;

        let of = |name: &str, key: &str, value: &str| {
            server.metric(&format!("{name}{{domain=\"api\",key=\"{key}\",value=\"{value}\"}}"))
        };
        let (all, denied) = ("tidegate_requests_by_entry_total", "tidegate_denied_requests_by_entry_total");
        assert_eq!((of(all, "user", "ann"), of(denied, "user", "ann")), (6, 3), "{charge}");
        assert_eq!((of(all, "user", "bob"), of(denied, "user", "bob")), bob, "{charge}");
        assert_eq!((of(all, "tenant", "t"), of(denied, "tenant", "t")), tenant, "{charge}");
        assert_eq!(server.metric("tidegate_usage_entry_values"), 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_goes_on_and_a_key_that_is_gone_is_answered_from_the_history() {
    let data = tempfile::tempdir().unwrap();
    let flags = ["--data-dir", data.path().to_str().unwrap(), "--history-flush", "100ms", "--drain", "0s"];
    // Three an hour: the second run begins where the first ended.
    for (requests, denied) in [(6, 3), (12, 9)] {
        let mut server = TestServer::start(&config("independent"), &flags);
        ask(&server, "ann", 6).await;
        let mut service = UsageServiceClient::new(connect(&server.admin).await);
        let answer = [("ann", requests, denied)];
        eventually(&mut service, query("user"), &answer).await;
        server.signal("TERM");
        assert_eq!(server.wait().code(), Some(0));
    }
    let server = TestServer::start(&config("independent").replace("by: [user, tenant]", "by: [tenant]"), &flags);
    let mut service = UsageServiceClient::new(connect(&server.admin).await);
    eventually(&mut service, query("user"), &[("ann", 12, 9)]).await;
    let rejected = service.watch_usage(by(&["user"])).await.unwrap_err();
    assert_eq!(rejected.code(), Code::InvalidArgument, "live usage counts no users any more: {rejected:?}");
}

#[tokio::test]
async fn a_key_that_nothing_counts_by_is_an_invalid_argument() {
    let server = TestServer::start(&config("independent"), &[]);
    let mut service = UsageServiceClient::new(connect(&server.admin).await);
    let named = |domain: &str, rule: &str, entry: Option<&str>| {
        let entries = entry.map(|key| EntryFilter { key: key.into(), value: "x".into() }).into_iter().collect();
        Some(UsageFilter { domain: domain.into(), rule: rule.into(), entries, only_denied: false })
    };
    let how = "in domain \"api\" they are counted by user, tenant; to add a key, name it in `usage: {by: [...]}`";
    let cases = [
        (by(&["endpoint"]), how),
        (by(&["user", "endpoint"]), "not counted by the entry key \"endpoint\""),
        (WatchUsageRequest { filter: named("api", "", None), ..by(&["endpoint"]) }, how),
        (WatchUsageRequest { filter: named("", "api.tenant", None), ..by(&["user"]) }, "belong to no rule"),
        (
            WatchUsageRequest { filter: named("", "", Some("tenant")), ..by(&["user"]) },
            "\"tenant\" is not in requests_by",
        ),
        (by(&[""]), "1 to 8 entry keys"),
        (by(&["user"; 9]), "1 to 8 entry keys"),
    ];
    let check = |rejected: &Status, message: &str| {
        assert_eq!(rejected.code(), Code::InvalidArgument, "{message}: {rejected:?}");
        assert!(rejected.message().contains(message), "{message}: {}", rejected.message());
    };
    for (request, message) in cases {
        check(&service.watch_usage(request.clone()).await.unwrap_err(), message);
        if let [key] = &request.requests_by[..]
            && !key.is_empty()
        {
            let request = QueryUsageRequest { filter: request.filter, ..query(key) };
            check(&service.query_usage(request).await.unwrap_err(), message);
        }
    }
    let by_rule = QueryUsageRequest { group_by: vec![GroupBy::Rule as i32], ..query("user") };
    let other_key = QueryUsageRequest { entry_key: "tenant".into(), ..query("user") };
    for (request, message) in [(by_rule, "leave RULE out"), (other_key, "entry_key must be the same")] {
        check(&service.query_usage(request).await.unwrap_err(), message);
    }

    let server = TestServer::start(crate::server::THREE_A_MINUTE, &[]);
    let mut service = UsageServiceClient::new(connect(&server.admin).await);
    let rejected = service.query_usage(query("user")).await.unwrap_err();
    check(
        &rejected,
        "no selected domain counts requests by any entry key; to add a key, name it in `usage: {by: [...]}`",
    );
}
