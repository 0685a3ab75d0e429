//! An exact limit that is used up denies in memory, and decides as one that is asked for each time.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_response::Code;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use tidegate::runtime::clock::Stopwatch;
use tonic::transport::Channel;

use crate::engines::{Engine, Kind};
use crate::replicas::{ALGORITHMS, admitted, check, replica, until_admitted};
use crate::server::TestServer;

/// Those of [`ALGORITHMS`] whose denials change nothing, and one of which they would.
const RULES: &str = "domain: api
sharing: exact
descriptors:
- {key: window, rate_limit: {unit: year, requests_per_unit: 25, count_denied: false}}
- {key: first, rate_limit: {unit: year, requests_per_unit: 25, starts: first_request, count_denied: false}}
- {key: sliding, rate_limit: {unit: year, requests_per_unit: 25, algorithm: sliding_window}}
- {key: bucket, rate_limit: {unit: year, requests_per_unit: 25, algorithm: token_bucket}}
- {key: plain, rate_limit: {unit: year, requests_per_unit: 25}}
";

fn waited(server: &TestServer) -> u64 {
    server.metric("tidegate_store_checks_waited_total")
}

/// Whether hits are admitted; a negative number gives them back.
async fn admits(channel: &Channel, key: &str, hits: i32) -> bool {
    let mut request = check(&[(key, "x")]);
    request.descriptors[0].hits_addend = Some(hits.unsigned_abs().into());
    request.descriptors[0].is_negative_hits = hits < 0;
    let mut service = RateLimitServiceClient::new(channel.clone());
    service.should_rate_limit(request).await.unwrap().into_inner().overall_code() == Code::Ok
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_used_up_is_denied_in_memory() {
    for kind in Kind::installed() {
        let engine = Engine::start(kind);
        let server = replica(RULES, &engine.url(), &[]);
        let channel = server.channel().await;
        for (key, is_asked) in
            [("window", false), ("first", false), ("sliding", false), ("bucket", false), ("plain", true)]
        {
            for _ in 0..25 {
                assert!(admitted(&channel, &[(key, "x")]).await, "{kind:?}: {key}");
            }
            let (before, begun) = (waited(&server), Stopwatch::start());
            for _ in 0..200 {
                assert!(!admitted(&channel, &[(key, "x")]).await, "{kind:?}: {key}");
            }
            let asked = waited(&server) - before;
            // The first one, and another one each second.
            let most = begun.elapsed().as_ns() / 1_000_000_000 + 2;
            assert!(if is_asked { asked == 200 } else { (1..=most).contains(&asked) }, "{kind:?}: {key}: {asked}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hits_that_another_replica_gives_back_can_be_spent() {
    for kind in Kind::installed() {
        let engine = Engine::start(kind);
        let servers = [replica(RULES, &engine.url(), &[]), replica(RULES, &engine.url(), &[])];
        let channels = [servers[0].channel().await, servers[1].channel().await];
        for key in ["window", "first", "sliding", "bucket"] {
            assert!(admits(&channels[0], key, 25).await, "{kind:?}: {key}");
            for _ in 0..5 {
                assert!(!admits(&channels[0], key, 1).await, "{kind:?}: {key}");
            }
            assert!(admits(&channels[1], key, -5).await, "{kind:?}: {key}");
            until_admitted(&channels[0], &[(key, "x")]).await;
            assert!(admits(&channels[0], key, 4).await, "{kind:?}: {key}");
            assert!(!admits(&channels[0], key, 1).await && !admits(&channels[1], key, 1).await, "{kind:?}: {key}");
        }
    }
}

/// With refunds, checks of several hits, and limits that are looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_replica_decides_as_without_an_engine() {
    let Some(kind) = Kind::any() else { return };
    let engine = Engine::start(kind);
    for rules in [RULES, ALGORITHMS] {
        let shared = replica(rules, &engine.url(), &["--store-prefix", &format!("t{}:", rules.len())]);
        let alone = TestServer::start(rules, &[]);
        let channels = [shared.channel().await, alone.channel().await];
        let keys: Vec<&str> =
            rules.lines().filter_map(|line| line.split("key: ").nth(1)?.split([',', '}']).next()).collect();
        let mut random = SmallRng::seed_from_u64(12);
        for step in 0..1_500 {
            let key = keys[random.random_range(0..keys.len())];
            let hits =
                if random.random_range(0..6) == 0 { -random.random_range(1..12) } else { random.random_range(0..9) };
            let [by_engine, in_memory] = [admits(&channels[0], key, hits).await, admits(&channels[1], key, hits).await];
            assert_eq!(by_engine, in_memory, "{key}: {hits} hits, step {step}");
        }
    }
}
