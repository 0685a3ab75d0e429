//! An engine that is not there, in every way: what checks are answered, and that it is back.

use std::time::Duration;

use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_response::Code;
use tonic::transport::Channel;

use crate::engines::{Engine, Kind};
use crate::replicas::{admitted, ask};
use crate::server::{ReservedPort, Stopwatch, TestServer, eventually, eventually_async, http};

/// Ten a year, counted in one way and another, hit by hit.
const TEN: &str = "domain: api
sharing: exact
descriptors:
- {key: key, rate_limit: {unit: year, requests_per_unit: 10}}
- {key: bucket, rate_limit: {unit: year, requests_per_unit: 10, algorithm: token_bucket}}
- {key: ban, rate_limit: {unit: year, requests_per_unit: 1, ban: 30d}}
";

/// A server on this store, which need not be there.
fn start(url: &str, flags: &[&str]) -> TestServer {
    TestServer::start(TEN, &[&["--store", url, "--store-timeout", "500ms"], flags].concat())
}

fn until_up(server: &TestServer) {
    eventually("the store is up", || server.http("GET", "/readyz", b"").1.contains("store: up"));
}

fn until_down(server: &TestServer) {
    eventually("the store is down", || server.http("GET", "/readyz", b"").1.contains("store: down"));
}

async fn count(channel: &Channel, key: &str, value: &str, checks: usize) -> usize {
    let mut count = 0;
    for _ in 0..checks {
        count += usize::from(admitted(channel, &[(key, value)]).await);
    }
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_policy_answers_at_the_start_without_an_engine() {
    let port = ReservedPort::new();
    let url = format!("redis://127.0.0.1:{}", port.port);
    for (policy, passed, label) in [("local", 5, "local"), ("deny", 0, "deny"), ("allow", 20, "allow")] {
        let server = start(&url, &["--store-when-down", policy, "--store-replicas", "2"]);
        server.log_until("the store is down");
        let channel = server.channel().await;
        assert_eq!(count(&channel, "key", "x", 20).await, passed, "{policy}");
        let series = format!("tidegate_store_checks_down_total{{domain=\"api\",answer=\"{label}\"}}");
        assert_eq!(server.metric(&series), 20, "{policy}");
        assert_eq!(server.http("GET", "/readyz", b"").0, 200, "{policy}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denial_without_the_store_says_when_to_try_again() {
    let port = ReservedPort::new();
    let server =
        start(&format!("redis://127.0.0.1:{}", port.port), &["--store-when-down", "deny", "--denial-log", "all"]);
    let channel = server.channel().await;
    let answer = ask(&channel, &[("key", "x")]).await;
    assert_eq!(answer.overall_code(), Code::OverLimit);
    assert_eq!(answer.statuses[0].duration_until_reset.unwrap().seconds, 1);
    server.log_until("store_down");
}

#[test]
fn readiness_waits_for_the_store_if_it_is_required() {
    let Some(kind) = Kind::any() else { return };
    let mut engine = Engine::start(kind);
    engine.kill();
    let server = start(&engine.url(), &["--store-required"]);
    server.log_until("the store is down");
    let (status, text) = server.http("GET", "/readyz", b"");
    assert!(status == 503 && text.contains("store: down"), "{status} {text}");
    engine.restart_empty();
    eventually("readiness", || http(&server.http, "GET", "/readyz", b"").0 == 200);
    engine.kill();
    until_down(&server);
    assert_eq!(server.http("GET", "/readyz", b"").0, 200, "only the first connection is waited for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_engine_is_answered_for_here_and_is_back() {
    for kind in Kind::installed() {
        let mut engine = Engine::start(kind);
        let server = start(&engine.url(), &["--store-replicas", "2"]);
        until_up(&server);
        let channel = server.channel().await;
        assert_eq!(count(&channel, "key", "x", 4).await, 4, "{kind:?}");
        assert_eq!(count(&channel, "ban", "x", 1).await, 1, "{kind:?}: and the ban begins");
        engine.kill();
        until_down(&server);
        assert_eq!(count(&channel, "key", "x", 20).await, 3, "{kind:?}: half of the six that are left");
        assert_eq!(count(&channel, "key", "new", 20).await, 5, "{kind:?}: half of a new window");
        assert_eq!(count(&channel, "bucket", "x", 20).await, 5, "{kind:?}: half a bucket");
        assert_eq!(count(&channel, "ban", "x", 5).await, 0, "{kind:?}: the ban goes on");
        engine.restart_empty();
        until_up(&server);
        eventually_async("a check that asks", async || {
            let before = server.metric("tidegate_store_checks_waited_total");
            admitted(&channel, &[("key", "other")]).await;
            server.metric("tidegate_store_checks_waited_total") > before
        })
        .await;
        eventually("the loss is reported", || server.metric("tidegate_store_state_lost_total") > 0);
        assert_eq!(server.log().iter().filter(|line| line.contains("the store is back")).count(), 1, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_engine_keeps_no_check_waiting() {
    for kind in Kind::installed() {
        let engine = Engine::start(kind);
        let server = start(&engine.url(), &["--store-replicas", "1"]);
        until_up(&server);
        let channel = server.channel().await;
        assert_eq!(count(&channel, "key", "x", 2).await, 2, "{kind:?}");
        engine.pause();
        // The first ones wait for the timeout, the others for nothing.
        let stopwatch = Stopwatch::start();
        assert_eq!(count(&channel, "key", "x", 60).await, 8, "{kind:?}: what is left");
        assert!(stopwatch.elapsed() < Duration::from_secs(20), "{kind:?}: {:?} for 60 checks", stopwatch.elapsed());
        until_down(&server);
        engine.resume();
        until_up(&server);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_and_a_full_engine_are_down_and_a_lost_script_is_not() {
    for kind in Kind::installed() {
        let engine = Engine::start_with(kind, &["--requirepass", "right"]);
        let server = start(&format!("redis://:hunter2@{}", engine.address()), &["--store-when-down", "deny"]);
        let log = server.log_until("the store is down");
        assert!(log.iter().any(|line| line.contains("WRONGPASS")), "{kind:?}: {log:?}");
        assert!(!log.iter().any(|line| line.contains("hunter2")), "{kind:?}: {log:?}");
        let engine = Engine::start(kind);
        let server = start(&engine.url(), &["--store-when-down", "deny"]);
        until_up(&server);
        let channel = server.channel().await;
        assert_eq!(count(&channel, "bucket", "x", 2).await, 2, "{kind:?}");
        engine.run::<()>(&["SCRIPT", "FLUSH"]);
        assert_eq!(count(&channel, "bucket", "x", 2).await, 2, "{kind:?}: the script is sent again");
        engine.run::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
        assert_eq!(count(&channel, "bucket", "x", 2).await, 0, "{kind:?}: out of memory");
        assert!(
            server.metric(&format!("tidegate_store_errors_total{{node=\"{}\",error=\"oom\"}}", engine.address())) > 0
        );
        engine.run::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
        eventually_async("the engine has room", async || admitted(&channel, &[("bucket", "y")]).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_is_full_for_long_gives_no_share_twice_and_is_not_reported_each_time() {
    for kind in Kind::installed() {
        let engine = Engine::start(kind);
        let server = start(&engine.url(), &["--store-replicas", "1"]);
        until_up(&server);
        let channel = server.channel().await;
        engine.run::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
        // It answers probes, and is tried again and again.
        let opened = format!("tidegate_store_breaker_open_total{{node=\"{}\"}}", engine.address());
        let mut passed = 0;
        eventually_async("it is tried again", async || {
            passed += count(&channel, "key", "x", 5).await + count(&channel, "bucket", "x", 5).await;
            server.metric(&opened) >= 4
        })
        .await;
        assert_eq!(passed, 20, "{kind:?}: ten of each");
        let said = server.log().iter().filter(|line| line.contains("the store is")).count();
        assert!(said <= 3, "{kind:?}: {said} lines");
        engine.run::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
        server.log_until("counters are charged with what was spent");
        assert_eq!(count(&channel, "key", "x", 5).await + count(&channel, "bucket", "x", 5).await, 0, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_share_denies_is_not_charged_and_is_counted_as_over_the_limit() {
    const BOTH: &str = "domain: api
descriptors:
- {key: exact, rate_limit: {unit: year, requests_per_unit: 10, sharing: exact}}
- {key: leased, rate_limit: {unit: year, requests_per_unit: 10}}
";
    let Some(kind) = Kind::any() else { return };
    let mut engine = Engine::start(kind);
    let flags = ["--store", &engine.url(), "--store-timeout", "500ms", "--store-replicas", "2"];
    let server = TestServer::start(BOTH, &flags);
    until_up(&server);
    let channel = server.channel().await;
    engine.kill();
    until_down(&server);
    for key in ["exact", "leased"] {
        let answer = ask(&channel, &[(key, "x")]).await;
        assert_eq!(answer.statuses[0].limit_remaining, 4, "{key}: of the five of this replica");
        assert_eq!(count(&channel, key, "x", 19).await, 4, "{key}");
        let answer = ask(&channel, &[(key, "x")]).await;
        assert_eq!((answer.overall_code(), answer.statuses[0].limit_remaining), (Code::OverLimit, 0), "{key}");
        let hits = |measure: &str| {
            let labels = format!("{{domain=\"api\",rule=\"api.{key}\",key1=\"{key}\"}}");
            server.metric(&format!("ratelimit_service_rate_limit_{measure}{labels}"))
        };
        assert_eq!(["within_limit", "near_limit", "over_limit"].map(hits), [5, 0, 16], "{key}");
    }
    engine.restart_empty();
    server.log_until("counters are charged with what was spent");
    until_up(&server);
    for key in ["exact", "leased"] {
        assert_eq!(count(&channel, key, "x", 20).await, 5, "{key}: five were spent");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_value_fails_its_counter_alone() {
    for kind in Kind::installed() {
        let engine = Engine::start(kind);
        let server = start(&engine.url(), &["--store-when-down", "deny"]);
        until_up(&server);
        let channel = server.channel().await;
        assert!(admitted(&channel, &[("bucket", "x")]).await);
        let keys: Vec<String> = engine.run(&["KEYS", "tg1:*"]);
        let counter = keys.iter().find(|key| !key.contains("{replicas}")).unwrap();
        engine.run::<()>(&["SET", counter, "not ours"]);
        assert!(!admitted(&channel, &[("bucket", "x")]).await, "{kind:?}");
        assert!(admitted(&channel, &[("bucket", "y")]).await, "{kind:?}");
        assert_eq!(engine.run::<String>(&["GET", counter]), "not ours", "{kind:?}");
    }
}

#[test]
fn what_cannot_be_a_store_ends_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let rules = crate::server::rules_in(&dir, TEN);
    for (flags, part) in [
        (&["--store", "redis://u:hunter2@h"][..], "\"h\" is not HOST:PORT"),
        (&["--store", "@/does/not/exist"], "the file with the URL cannot be read"),
        (&["--store", "redis://h:1", "--store-timeout", "2s"], "from 1ms to 1s"),
        (&["--store", "redis://h:1", "--store-prefix", "a{b"], "may not contain"),
        (&["--store", "redis://h:1", "--store-ca", "ca.pem"], "--store-ca is for a store with TLS"),
    ] {
        let command = [&["serve", "--config", &rules, "--grpc-addr", "127.0.0.1:0"], flags].concat();
        let (code, _, stderr) = crate::server::run(&command, "");
        assert!(code.is_some_and(|code| code != 0) && stderr.contains(part), "{flags:?}: {code:?} {stderr}");
        assert!(!stderr.contains("hunter2"), "{stderr}");
    }
}
