//! Several real servers on one engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_response::Code;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use tidegate::api::proto::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::engines::{Engine, Kind};
use crate::server::{TestServer, eventually};

/// A replica on this engine, once it is up.
pub(crate) fn replica(config: &str, url: &str, flags: &[&str]) -> TestServer {
    // A machine with other things to do keeps a check waiting for longer than it would keep Envoy.
    let store = ["--store", url, "--store-timeout", "1s"];
    let server = TestServer::start(config, &[&store, flags].concat());
    server.log_until("the store answers");
    server
}

/// A check of descriptors, each with one entry.
pub(crate) fn check(entries: &[(&str, &str)]) -> RateLimitRequest {
    let descriptor = |(key, value): &(&str, &str)| RateLimitDescriptor {
        entries: vec![Entry { key: (*key).to_owned(), value: (*value).to_owned() }],
        ..RateLimitDescriptor::default()
    };
    let descriptors = entries.iter().map(descriptor).collect();
    RateLimitRequest { domain: "api".to_owned(), descriptors, ..RateLimitRequest::default() }
}

pub(crate) async fn ask(channel: &Channel, entries: &[(&str, &str)]) -> RateLimitResponse {
    let mut service = RateLimitServiceClient::new(channel.clone());
    service.should_rate_limit(check(entries)).await.unwrap().into_inner()
}

pub(crate) async fn admitted(channel: &Channel, entries: &[(&str, &str)]) -> bool {
    ask(channel, entries).await.overall_code() == Code::Ok
}

/// Asks until such a check is admitted.
pub(crate) async fn until_admitted(channel: &Channel, entries: &[(&str, &str)]) {
    let admits = async {
        while !admitted(channel, entries).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), admits).await.unwrap_or_else(|_| panic!("{entries:?} stay denied"));
}

/// Every algorithm, by the year or the day, so that no window ends while a test runs. Counted hit by hit, so that each check asks.
pub(crate) const ALGORITHMS: &str = "domain: api
sharing: exact
descriptors:
- {key: plain, rate_limit: {unit: year, requests_per_unit: 25}}
- {key: first, rate_limit: {unit: year, requests_per_unit: 25, starts: first_request}}
- {key: sliding, rate_limit: {unit: year, requests_per_unit: 25, algorithm: sliding_window}}
- {key: log, rate_limit: {unit: year, requests_per_unit: 25, algorithm: sliding_log}}
- {key: bucket, rate_limit: {unit: year, requests_per_unit: 25, algorithm: token_bucket}}
- {key: ban, rate_limit: {unit: year, requests_per_unit: 25, ban: 30d}}
- key: several
  rate_limits:
  - {unit: year, requests_per_unit: 25}
  - {unit: year, requests_per_unit: 30, algorithm: token_bucket}
";
const KEYS: [&str; 7] = ["plain", "first", "sliding", "log", "bucket", "ban", "several"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_admit_what_one_limit_allows() {
    for kind in Kind::installed() {
        let engine = Engine::start(kind);
        let servers: Vec<_> = (0..3).map(|_| replica(ALGORITHMS, &engine.url(), &[])).collect();
        let counts: Arc<[AtomicU32; KEYS.len()]> = Arc::default();
        let mut clients = JoinSet::new();
        for server in &servers {
            for _ in 0..2 {
                let (channel, counts) = (server.channel().await, Arc::clone(&counts));
                clients.spawn(async move {
                    for _ in 0..12 {
                        for (key, count) in KEYS.iter().zip(&*counts) {
                            let is_admitted = admitted(&channel, &[(key, "x")]).await;
                            count.fetch_add(u32::from(is_admitted), Ordering::Relaxed);
                        }
                    }
                });
            }
        }
        while let Some(ended) = clients.join_next().await {
            ended.unwrap();
        }
        for (key, count) in KEYS.iter().zip(&*counts) {
            assert_eq!(count.load(Ordering::Relaxed), 25, "{kind:?}: {key}, of 72 checks");
        }
        for server in &servers {
            // All but those that a ban, or a limit that was used up, denied which is known here.
            let waited = server.metric("tidegate_store_checks_waited_total");
            assert!((72..=168).contains(&waited), "{kind:?}: {waited}");
            assert_eq!(server.metric("ratelimit_service_total_requests{grpc_method=\"ShouldRateLimit\"}"), 168);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_or_nothing_charges_nothing_for_a_denied_check() {
    let Some(kind) = Kind::any() else { return };
    let engine = Engine::start(kind);
    let config = "domain: api
sharing: exact
charge: all_or_nothing
descriptors:
- {key: user, rate_limit: {unit: year, requests_per_unit: 4}}
- {key: tenant, rate_limit: {unit: year, requests_per_unit: 10}}
";
    let servers = [replica(config, &engine.url(), &[]), replica(config, &engine.url(), &[])];
    let channels = [servers[0].channel().await, servers[1].channel().await];
    for (user, expected) in [("a", 4), ("b", 4), ("c", 2)] {
        let mut count = 0;
        for number in 0..8 {
            count += u32::from(admitted(&channels[number % 2], &[("user", user), ("tenant", "t")]).await);
        }
        assert_eq!(count, expected, "{user}");
    }
    // The denied checks of c charged nothing: it has two hits left, for another tenant.
    for expected in [true, true, false] {
        assert_eq!(admitted(&channels[0], &[("user", "c"), ("tenant", "u")]).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_asks_too() {
    let Some(kind) = Kind::any() else { return };
    let engine = Engine::start(kind);
    let servers = [replica(ALGORITHMS, &engine.url(), &[]), replica(ALGORITHMS, &engine.url(), &[])];
    let body = br#"{"domain": "api", "descriptors": [{"entries": [{"key": "first", "value": "x"}]}]}"#;
    eventually("the connection of /json", || {
        servers[0].http("POST", "/json", body);
        servers[0].metric("tidegate_store_checks_waited_total") > 0
    });
    let (mut over, channel) = (0, servers[1].channel().await);
    for number in 0..60 {
        let is_admitted = if number % 2 == 0 {
            admitted(&channel, &[("first", "x")]).await
        } else {
            servers[0].http("POST", "/json", body).0 == 200
        };
        over += u32::from(!is_admitted);
    }
    let spent = 60 - over;
    assert!(spent < 25 && spent > 0, "{spent} of 25, less what the first one has spent");
    assert_eq!(servers[0].http("POST", "/json", body).0, 429);
    assert!(!admitted(&channel, &[("first", "x")]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looks_and_bans_ask_nobody() {
    let Some(kind) = Kind::any() else { return };
    let engine = Engine::start(kind);
    let config = "domain: api
descriptors:
- {key: ban, rate_limit: {unit: year, requests_per_unit: 2, ban: 30d}}
";
    let server = replica(config, &engine.url(), &[]);
    let channel = server.channel().await;
    for expected in [true, true] {
        assert_eq!(admitted(&channel, &[("ban", "x")]).await, expected);
    }
    let waited = || server.metric("tidegate_store_checks_waited_total");
    let before = waited();
    for _ in 0..100 {
        assert!(!admitted(&channel, &[("ban", "x")]).await);
    }
    assert!(waited() < before + 50, "{before} and then {}: it is asked for again once a second", waited());
    let mut look = check(&[("ban", "y")]);
    look.descriptors[0].hits_addend = Some(0);
    let before = waited();
    let answer = RateLimitServiceClient::new(channel).should_rate_limit(look).await.unwrap().into_inner();
    assert_eq!((answer.overall_code(), answer.statuses[0].limit_remaining), (Code::Ok, 2));
    assert_eq!(waited(), before);
}
