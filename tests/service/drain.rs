//! The end: nobody loses an answer, and nobody can hold it up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::Request;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use tidegate::api::proto::envoy::service::ratelimit::v3::RateLimitRequest;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;

use crate::TestServer;
use crate::server::{THREE_A_MINUTE, connect, eventually};

/// A check of a descriptor with one entry.
pub(crate) fn check(key: &str, value: &str) -> RateLimitRequest {
    let entries = vec![Entry { key: key.to_owned(), value: value.to_owned() }];
    let descriptors = vec![RateLimitDescriptor { entries, ..Default::default() }];
    RateLimitRequest { domain: "api".to_owned(), descriptors, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_check_fails_while_the_server_drains() {
    let mut server = TestServer::start(THREE_A_MINUTE, &["--drain", "2s"]);
    let leave = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for client in 0..8 {
        let (leave, address) = (Arc::clone(&leave), server.grpc.clone());
        clients.spawn(async move {
            let mut service = RateLimitServiceClient::new(connect(&address).await);
            let mut calls = 0_u32;
            while !leave.load(Ordering::Relaxed) {
                if calls.is_multiple_of(50) {
                    service = RateLimitServiceClient::new(connect(&address).await);
                }
                service.should_rate_limit(check("key", &client.to_string())).await.unwrap();
                calls += 1;
            }
            calls
        });
    }
    let mut health = HealthClient::new(server.channel().await);
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();
    server.signal("TERM");
    watch.message().await.unwrap().unwrap();
    // As Envoy: after it has heard, it calls for a moment longer, also on new connections.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    leave.store(true, Ordering::Relaxed);
    for calls in clients.join_all().await {
        assert!(calls > 0);
    }
    assert_eq!(server.wait().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_that_is_under_way_at_goaway_is_answered() {
    let mut server = TestServer::start(THREE_A_MINUTE, &["--drain", "0s"]);
    let stream = TcpStream::connect(&server.grpc).await.unwrap();
    let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::post("http://test/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let (answer, mut body) = requests.send_request(request.body(()).unwrap(), false).unwrap();
    // A second stream that is answered: so the first has arrived too.
    let other = Request::post("http://test/nope").header("content-type", "application/grpc").body(()).unwrap();
    requests.send_request(other.clone(), true).unwrap().0.await.unwrap();
    server.signal("TERM");
    // New streams are rejected once the GOAWAY is here.
    while let Ok(mut ready) = requests.clone().ready().await {
        let Ok((answer, _)) = ready.send_request(other.clone(), true) else { break };
        drop(answer.await);
    }
    // An empty message: a check without a domain, which has a clear answer.
    body.send_data(Bytes::from_static(&[0; 5]), true).unwrap();
    let answer = answer.await.unwrap();
    assert!(answer.headers().contains_key("grpc-status"), "{answer:?}");
    drop((answer, body, requests));
    connection.await.unwrap().unwrap();
    assert_eq!(server.wait().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_do_not_hold_up_the_end() {
    let mut server = TestServer::start(THREE_A_MINUTE, &["--drain", "0s"]);
    let channels = [connect(&server.grpc).await, connect(&server.admin).await];
    let silent =
        [&server.grpc, &server.http, &server.admin].map(|address| std::net::TcpStream::connect(address).unwrap());
    server.signal("INT");
    assert_eq!(server.wait().code(), Some(0));
    assert!(!server.log().iter().any(|line| line.contains("deadline")), "{:?}", server.log());
    drop((channels, silent));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_never_ends_is_closed_at_the_deadline() {
    let mut server = TestServer::start(THREE_A_MINUTE, &["--drain", "0s", "--shutdown-deadline", "300ms"]);
    let stream = TcpStream::connect(&server.grpc).await.unwrap();
    let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("http://test/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit");
    let (_answer, _body) = requests.send_request(request.body(()).unwrap(), false).unwrap();
    let other = Request::post("http://test/nope").body(()).unwrap();
    requests.send_request(other, true).unwrap().0.await.unwrap();
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert!(server.log().iter().any(|line| line.contains("WARN") && line.contains("deadline")), "{:?}", server.log());
}

#[test]
fn a_second_signal_ends_at_once() {
    for (first, second) in [("TERM", "TERM"), ("INT", "TERM"), ("TERM", "INT")] {
        let mut server = TestServer::start(THREE_A_MINUTE, &["--drain", "1h", "--shutdown-deadline", "2h"]);
        server.signal(first);
        eventually("the end of health", || server.http("GET", "/healthcheck", b"").0 != 200);
        server.signal(second);
        assert_eq!(server.wait().code(), Some(130), "{first} {second}");
        let log = server.log();
        for said in [
            format!("received SIG{first}, draining for 1h: "),
            "a second SIGTERM or SIGINT ends".to_owned(),
            format!("received SIG{second} again"),
        ] {
            assert!(log.iter().any(|line| line.contains(&said)), "no {said:?} in {log:?}");
        }
    }
}
