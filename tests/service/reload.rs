//! Reloads under full load.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::task::JoinSet;

use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_response::Code;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;

use crate::TestServer;
use crate::drain::check;
use crate::server::{connect, eventually_async};

/// Each value of `key` may come [`LIMIT`] times a year, which no test run outlives; `marker` tells which file is in force.
/// The rules change their places with every file.
fn good(round: u32) -> String {
    let key = format!("- {{key: key, rate_limit: {{unit: year, requests_per_unit: {LIMIT}}}}}");
    let marker = format!("- {{key: marker, rate_limit: {{unit: year, requests_per_unit: {round}}}}}");
    let (first, second) = if round.is_multiple_of(4) { (key, marker) } else { (marker, key) };
    format!("domain: api\ndescriptors:\n{first}\n{second}\n")
}

fn bad(round: u32) -> String {
    format!(
        "domain: api\ndescriptors:\n- {{key: key, rate_limit: {{unit: eon{round}, requests_per_unit: 1}}}}\n- key: ''\n"
    )
}

const LIMIT: u32 = 10;
/// How often each value is asked for.
const ASKED: u64 = 40;
const ROUNDS: u32 = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_reloads_under_full_load() {
    let server = TestServer::start(&good(1_000_000), &[]);
    let (leave, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        clients.spawn(hammer(server.grpc.clone(), Arc::clone(&leave), Arc::clone(&next)));
    }
    let mut markers = RateLimitServiceClient::new(server.channel().await);
    let config = server.dir.path().join("rules.yaml");
    let mut in_force = 1_000_000;
    for round in 1..=ROUNDS {
        let is_bad = round % 2 == 1;
        replace(&config, &if is_bad { bad(round) } else { good(round) });
        server.signal("HUP");
        if is_bad {
            wait_for(&server, |detail| detail.contains(&format!("eon{round}'"))).await;
            assert!(server.http("GET", "/readyz", b"").1.contains("descriptor has empty key"), "all errors are shown");
            assert_eq!(server.metric("tidegate_config_last_reload_success"), 0);
        } else {
            in_force = round;
            wait_for(&server, |detail| !detail.contains("failed")).await;
        }
        let answer = markers.should_rate_limit(check("marker", &round.to_string())).await.unwrap().into_inner();
        let limit = answer.statuses[0].current_limit.clone().unwrap();
        assert_eq!(limit.requests_per_unit, in_force, "after file {round}");
    }
    leave.store(true, Ordering::Relaxed);
    let mut admitted: HashMap<u64, u32> = HashMap::new();
    for ok in clients.join_all().await.into_iter().flatten() {
        *admitted.entry(ok).or_default() += 1;
    }
    let whole = next.load(Ordering::Relaxed) / ASKED;
    assert!(whole > 20, "too few checks for a test: {whole} values");
    for value in 0..whole {
        assert_eq!(admitted.get(&value), Some(&LIMIT), "value {value} of {whole}");
    }
    the_log_and_the_metrics_tell_every_load(&server);
}

fn the_log_and_the_metrics_tell_every_load(server: &TestServer) {
    let log = server.log();
    for round in (1..=ROUNDS).step_by(2) {
        let times = log.iter().filter(|line| line.contains(&format!("eon{round}'"))).count();
        assert_eq!(times, 1, "the error of file {round}");
    }
    let generation = server.metric("tidegate_config_generation");
    assert!(generation > u64::from(ROUNDS / 2), "{generation}");
    assert_eq!(generation, server.metric("ratelimit_service_config_load_success"));
    assert!(server.metric("ratelimit_service_config_load_error") >= u64::from(ROUNDS / 2));
    assert_eq!(server.metric("tidegate_config_last_reload_success"), 1);
    let errors = r#"ratelimit_service_should_rate_limit_error{err_type="service_error"}"#;
    assert_eq!(server.metric(errors), 0);
}

/// Asks for one value after the other, [`ASKED`] times each, all clients together; the values that were admitted.
async fn hammer(address: String, leave: Arc<AtomicBool>, next: Arc<AtomicU64>) -> Vec<u64> {
    let mut service = RateLimitServiceClient::new(connect(&address).await);
    let mut admitted = Vec::new();
    while !leave.load(Ordering::Relaxed) {
        let value = next.fetch_add(1, Ordering::Relaxed) / ASKED;
        let answer = service.should_rate_limit(check("key", &value.to_string())).await.unwrap().into_inner();
        assert_eq!(answer.statuses[0].current_limit.as_ref().map(|limit| limit.requests_per_unit), Some(LIMIT));
        if answer.overall_code() == Code::Ok {
            admitted.push(value);
        }
    }
    admitted
}

/// Puts a file in the place of another, as one step.
fn replace(path: &Path, text: &str) {
    let other = path.with_extension("new");
    std::fs::write(&other, text).unwrap();
    std::fs::rename(other, path).unwrap();
}

/// Waits until `/readyz` says so.
async fn wait_for(server: &TestServer, says: impl Fn(&str) -> bool) {
    eventually_async("the reload in /readyz", async || {
        let (status, detail) = server.http("GET", "/readyz", b"");
        assert_eq!(status, 200, "ready all the time: {detail}");
        says(&detail)
    })
    .await;
}
