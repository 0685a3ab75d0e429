//! Observers: who uses what, live, for those that keep up and those that do not.

use prost_types::Duration;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use tidegate::api::proto::envoy::service::ratelimit::v3::RateLimitRequest;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use tidegate::api::proto::tidegate::v1::usage_service_client::UsageServiceClient;
use tidegate::api::proto::tidegate::v1::{
    Denial, DenialReport, EntryFilter, UsageFilter, UsageReport, WatchDenialsRequest, WatchUsageRequest,
};

use crate::TestServer;
use crate::drain::check;
use crate::server::{DEADLINE, THREE_A_MINUTE, connect, eventually_async};

pub(crate) const TENTH: Duration = Duration { seconds: 0, nanos: 100_000_000 };
const HOUR: Duration = Duration { seconds: 3_600, nanos: 0 };

pub(crate) type Reports = Streaming<UsageReport>;

/// Watches the usage ten times a second.
pub(crate) fn everything() -> WatchUsageRequest {
    WatchUsageRequest { interval: Some(TENTH), ..WatchUsageRequest::default() }
}

/// A stream on a connection of its own, which takes little ahead of its reader.
pub(crate) async fn watch(server: &TestServer, request: WatchUsageRequest) -> Reports {
    let channel = Endpoint::from_shared(format!("http://{}", server.admin)).unwrap();
    let channel = channel.initial_stream_window_size(65_535).initial_connection_window_size(65_535);
    let mut service = UsageServiceClient::new(channel.connect().await.unwrap());
    service.watch_usage(request).await.unwrap().into_inner()
}

/// The next report; a stream that has none in time has failed.
pub(crate) async fn next(reports: &mut Reports) -> UsageReport {
    tokio::time::timeout(DEADLINE, reports.message()).await.expect("no report in time").unwrap().expect("a report")
}

async fn watch_denials(server: &TestServer, filter: Option<UsageFilter>) -> Streaming<DenialReport> {
    let mut service = UsageServiceClient::new(connect_without_deadline(&server.admin).await);
    service.watch_denials(WatchDenialsRequest { filter, recent: 0 }).await.unwrap().into_inner()
}

/// The connections of the other tests have a deadline for each call, and so for each stream.
async fn connect_without_deadline(address: &str) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

/// One check with a descriptor for each of these values.
fn wide_check(key: &str, values: impl Iterator<Item = usize>) -> RateLimitRequest {
    let descriptor = |value: usize| {
        let entries = vec![Entry { key: key.to_owned(), value: format!("a-partner-with-a-long-name-{value}") }];
        RateLimitDescriptor { entries, ..RateLimitDescriptor::default() }
    };
    let descriptors = values.map(descriptor).collect();
    RateLimitRequest { domain: "api".to_owned(), descriptors, ..RateLimitRequest::default() }
}

fn filter(domain: &str, rule: &str) -> UsageFilter {
    UsageFilter { domain: domain.to_owned(), rule: rule.to_owned(), ..UsageFilter::default() }
}

#[tokio::test]
async fn a_snapshot_then_counts_that_grow() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    let mut checks = RateLimitServiceClient::new(server.channel().await);
    for value in ["a", "a", "a", "a", "b"] {
        checks.should_rate_limit(check("key", value)).await.unwrap();
    }
    let mut reports = watch(&server, everything()).await;
    let first = next(&mut reports).await;
    let reported = |report: &UsageReport| {
        let counts = report.total.unwrap();
        let rules: Vec<_> = report.rules.iter().map(|rule| rule.rule.clone()).collect();
        let row = |counter: &tidegate::api::proto::tidegate::v1::CounterUsage| {
            let counts = counter.counts.unwrap();
            (counter.entries[0].value.clone(), counts.num_requests_allowed, counts.num_requests_denied)
        };
        let counters: Vec<_> = report.counters.iter().map(row).collect();
        (rules, counters, counts.num_requests, counts.denials.unwrap().over_limit)
    };
    let rules = vec!["api.key".to_owned()];
    assert_eq!(reported(&first), (rules.clone(), vec![("a".into(), 3, 1), ("b".into(), 1, 0)], 5, 1));
    assert!(!first.resumed && first.num_reports_merged == 0);

    checks.should_rate_limit(check("key", "c")).await.unwrap();
    checks.should_rate_limit(check("nobody", "c")).await.unwrap();
    let mut last = first;
    eventually_async("a report of all checks", async || {
        let report = next(&mut reports).await;
        assert_eq!(report.instance, last.instance);
        assert_eq!(report.sequence, last.sequence + report.num_reports_merged + 1);
        last = report;
        last.total.unwrap().num_requests >= 6 && last.total.unwrap().num_requests_unmatched >= 1
    })
    .await;
    let counters = vec![("a".into(), 3, 1), ("b".into(), 1, 0), ("c".into(), 1, 0)];
    assert_eq!(reported(&last), (rules, counters, 6, 1));
}

#[tokio::test]
async fn observers_see_what_they_ask_for() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    let mut checks = RateLimitServiceClient::new(server.channel().await);
    for value in ["a", "a", "a", "a", "b", "b", "c"] {
        checks.should_rate_limit(check("key", value)).await.unwrap();
    }
    let entry = |value: &str| vec![EntryFilter { key: "key".to_owned(), value: value.to_owned() }];
    for (filter, top, counters, total) in [
        (UsageFilter::default(), 0, 3, 7),
        (UsageFilter::default(), 2, 2, 7),
        (UsageFilter { only_denied: true, ..UsageFilter::default() }, 0, 1, 7),
        (UsageFilter { entries: entry("b"), ..UsageFilter::default() }, 0, 1, 2),
        (UsageFilter { entries: entry("nobody"), ..UsageFilter::default() }, 0, 0, 0),
        (UsageFilter { domain: "api".to_owned(), ..UsageFilter::default() }, 0, 3, 7),
        (UsageFilter { rule: "api.(override)".to_owned(), ..UsageFilter::default() }, 0, 0, 0),
    ] {
        let request = WatchUsageRequest { filter: Some(filter.clone()), top, ..everything() };
        let report = next(&mut watch(&server, request).await).await;
        assert_eq!((report.counters.len(), report.total.unwrap().num_requests), (counters, total), "{filter:?} {top}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_observer_that_stalls_gets_newer_reports_and_no_other_is_held_up() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    let mut checks = RateLimitServiceClient::new(server.channel().await);
    checks.should_rate_limit(wide_check("key", 0..900)).await.unwrap();
    let (mut stalled, mut reading) = (watch(&server, everything()).await, watch(&server, everything()).await);
    let first = next(&mut stalled).await;
    let mut sent = 900;
    // Several times what connection and server buffer, at 100 KiB a report.
    for _ in 0..25 {
        next(&mut reading).await;
        checks.should_rate_limit(wide_check("key", 0..100)).await.unwrap();
        sent += 100;
    }
    let (mut last, mut merged) = (first, 0);
    eventually_async("a report of all checks", async || {
        let report = next(&mut stalled).await;
        assert_eq!(report.sequence, last.sequence + report.num_reports_merged + 1);
        merged += report.num_reports_merged;
        last = report;
        last.total.unwrap().num_requests >= sent
    })
    .await;
    assert_eq!(last.total.unwrap().num_requests, sent);
    assert!(merged > 0, "nothing was merged");
}

#[tokio::test]
async fn an_observer_that_comes_back_goes_on_where_it_was() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    let mut reports = watch(&server, everything()).await;
    let left = next(&mut reports).await;
    drop(reports);
    let mut other = watch(&server, everything()).await;
    eventually_async("three reports more", async || next(&mut other).await.sequence >= left.sequence + 3).await;
    let resume = |id: &str| WatchUsageRequest {
        resume_instance_id: id.to_owned(),
        resume_sequence: left.sequence,
        ..everything()
    };
    let id = &left.instance.as_ref().unwrap().id;
    let mut again = watch(&server, resume(id)).await;
    let back = next(&mut again).await;
    assert!(back.resumed && back.num_reports_merged >= 2, "{back:?}");
    assert_eq!(back.sequence, left.sequence + back.num_reports_merged + 1);
    assert!(!next(&mut again).await.resumed, "once is enough");
    let stranger = next(&mut watch(&server, resume("another process")).await).await;
    assert_eq!((stranger.resumed, stranger.num_reports_merged), (false, 0));
    let restarted = TestServer::start(THREE_A_MINUTE, &[]);
    assert!(!next(&mut watch(&restarted, resume(id)).await).await.resumed);
}

const REASONS: &str = "
domain: api
descriptors:
  - {key: over, rate_limit: {unit: hour, requests_per_unit: 1}}
  - {key: ban, rate_limit: {unit: hour, requests_per_unit: 1, ban: 2h}}
  - {key: queue, rate_limit: {unit: hour, requests_per_unit: 1, algorithm: token_bucket, queue: {size: 1, mode: advise}}}
  - {key: shadow, rate_limit: {unit: hour, requests_per_unit: 1}, shadow_mode: true}
";

#[tokio::test]
async fn each_denial_is_reported_with_its_reason() {
    let server = TestServer::start(REASONS, &[]);
    let mut denials = watch_denials(&server, None).await;
    let mut shadowed = watch_denials(&server, Some(filter("api", "api.shadow"))).await;
    let mut checks = RateLimitServiceClient::new(server.channel().await);
    for key in ["over", "ban", "queue", "shadow"] {
        for _ in 0..3 {
            checks.should_rate_limit(check(key, "x")).await.unwrap();
        }
    }
    let mut reported = Vec::new();
    while reported.len() < 7 {
        let report = tokio::time::timeout(DEADLINE, denials.message()).await.unwrap().unwrap().unwrap();
        assert_eq!((report.num_dropped, report.instance.is_some()), (0, true));
        reported.extend(report.denials);
    }
    let limit = |one: &Denial| one.governing.clone().unwrap();
    let reason = |one: &Denial| (limit(one).rule, limit(one).reason().as_str_name(), one.shadow);
    let reasons: Vec<_> = reported.iter().map(reason).collect();
    let twice = |rule: &str, reason, shadow| [(); 2].map(|()| (rule.to_owned(), reason, shadow));
    let mut want = twice("api.over", "OVER_LIMIT", false).to_vec();
    want.extend(twice("api.ban", "BANNED", false));
    want.push(("api.queue".to_owned(), "QUEUE_FULL", false));
    want.extend(twice("api.shadow", "OVER_LIMIT", true));
    assert_eq!(reasons, want);
    let first = &reported[0];
    let governing = limit(first);
    assert_eq!((first.domain.as_str(), governing.hits, governing.requests_per_unit), ("api", 1, 1));
    let entry = &first.descriptors[0].entries[0];
    assert_eq!((entry.key.as_str(), entry.value.as_str(), first.descriptors.len()), ("over", "x", 1));
    assert_eq!(governing.period, Some(HOUR));
    assert!(governing.retry_after.unwrap().seconds < 3_600 && first.time.unwrap().seconds > 1_700_000_000, "{first:?}");
    let filtered = shadowed.message().await.unwrap().unwrap();
    assert!(filtered.denials.iter().all(|one| limit(one).rule == "api.shadow"), "{filtered:?}");

    let usage = next(&mut watch(&server, everything()).await).await.total.unwrap();
    let by_reason = usage.denials.unwrap();
    assert_eq!((by_reason.over_limit, by_reason.banned, by_reason.queue_full, by_reason.no_room), (2, 2, 1, 0));
    assert_eq!((usage.num_requests_denied, usage.num_requests_queued, usage.hits_shadow_denied), (5, 1, 2));
    assert_eq!((usage.num_requests, usage.num_requests_allowed, usage.hits_allowed), (12, 7, 7));
}

#[tokio::test]
async fn a_question_that_cannot_be_answered_is_rejected_with_its_reason() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    let mut service = UsageServiceClient::new(connect(&server.admin).await);
    let interval = |seconds, nanos| WatchUsageRequest { interval: Some(Duration { seconds, nanos }), ..everything() };
    let filtered = |filter| WatchUsageRequest { filter: Some(filter), ..everything() };
    let no_key = vec![EntryFilter { key: String::new(), value: "x".to_owned() }];
    for (request, message) in [
        (interval(0, 0), "interval"),
        (interval(0, 99_999_999), "100 ms"),
        (interval(3_601, 0), "1 h"),
        (interval(-1, 0), "interval"),
        (filtered(UsageFilter { entries: no_key.clone(), ..UsageFilter::default() }), "key must not be empty"),
        (filtered(filter("nope", "")), "there is no domain \"nope\""),
        (filtered(filter("", "api.nope")), "there is no rule \"api.nope\""),
        (filtered(filter("nope", "api.key")), "there is no domain"),
    ] {
        let rejected = service.watch_usage(request.clone()).await.unwrap_err();
        assert_eq!(rejected.code(), Code::InvalidArgument, "{request:?}: {rejected:?}");
        assert!(rejected.message().contains(message), "{request:?}: {}", rejected.message());
    }
    for filter in [filter("nope", ""), UsageFilter { entries: no_key, ..UsageFilter::default() }] {
        let rejected =
            service.watch_denials(WatchDenialsRequest { filter: Some(filter), recent: 0 }).await.unwrap_err();
        assert_eq!(rejected.code(), Code::InvalidArgument, "{rejected:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_only_so_many_observers() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    let mut service = UsageServiceClient::new(connect_without_deadline(&server.admin).await);
    let hourly = || WatchUsageRequest { interval: Some(HOUR), ..WatchUsageRequest::default() };
    let mut observers = Vec::new();
    for _ in 0..128 {
        observers.push(service.watch_usage(hourly()).await.unwrap().into_inner());
    }
    let rejected = service.watch_usage(hourly()).await.unwrap_err();
    assert_eq!(rejected.code(), Code::ResourceExhausted, "{rejected:?}");
    let shown = |line: &str| server.http("GET", "/metrics", b"").1.lines().any(|shown| shown == line);
    assert!(shown("tidegate_observers 128"));
    drop(observers.pop());
    // The place is free once the server has heard of it.
    let is_free = async || service.watch_denials(WatchDenialsRequest::default()).await.is_ok();
    eventually_async("a free place", is_free).await;
    drop(observers);
    eventually_async("no observers", async || shown("tidegate_observers 0")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn observers_are_reported_of_the_end() {
    let mut server = TestServer::start(THREE_A_MINUTE, &["--drain", "0s"]);
    let mut denials = watch_denials(&server, None).await;
    let hourly = WatchUsageRequest { interval: Some(HOUR), ..WatchUsageRequest::default() };
    let mut usage = watch(&server, hourly).await;
    next(&mut usage).await;
    server.signal("TERM");
    let ends: [Status; 2] = [usage.message().await.unwrap_err(), denials.message().await.unwrap_err()];
    for end in ends {
        assert_eq!(end.code(), Code::Unavailable, "{end:?}");
    }
    assert_eq!(server.wait().code(), Some(0));
    assert!(!server.log().iter().any(|line| line.contains("deadline")), "{:?}", server.log());
}
