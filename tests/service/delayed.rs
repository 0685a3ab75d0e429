//! Delayed replies in a queue: callers that leave, callers in a hurry, and a shutdown.

use std::time::Duration;

use tidegate::api::proto::envoy::service::ratelimit::v3::RateLimitResponse;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_response::Code;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::drain::check;
use crate::server::{TestServer, eventually};

/// One an hour, and a hundred that wait: nobody's turn comes while a test runs.
const QUEUE: &str = "domain: api\ndescriptors:\n  - key: key\n    \
    rate_limit: {requests_per_unit: 1, period: 1h, algorithm: token_bucket, queue: 100}\n";

async fn ask(channel: Channel, timeout: Option<Duration>) -> Result<RateLimitResponse, Status> {
    let mut request = Request::new(check("key", "v"));
    if let Some(timeout) = timeout {
        request.set_timeout(timeout);
    }
    RateLimitServiceClient::new(channel).should_rate_limit(request).await.map(tonic::Response::into_inner)
}

fn delayed(server: &TestServer) -> u64 {
    let metrics = server.http("GET", "/metrics", b"").1;
    let line = metrics
        .lines()
        .find(|line| line.starts_with("tidegate_delayed_replies "))
        .unwrap_or_else(|| panic!("{metrics}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn until_delayed(server: &TestServer, count: u64) {
    eventually(&format!("{count} delayed replies"), || delayed(server) == count);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_frees_the_place_and_a_shutdown_answers_the_rest() {
    let mut server = TestServer::start(QUEUE, &["--drain", "0s", "--shutdown-deadline", "3s"]);
    let channel = server.channel().await;
    assert_eq!(ask(channel.clone(), None).await.unwrap().overall_code(), Code::Ok);
    let mut waiting: Vec<_> = (0..20).map(|_| tokio::spawn(ask(channel.clone(), None))).collect();
    tokio::task::block_in_place(|| until_delayed(&server, 20));
    for leaving in waiting.drain(..10) {
        leaving.abort();
    }
    tokio::task::block_in_place(|| until_delayed(&server, 10));
    server.signal("TERM");
    for answer in waiting {
        let status = answer.await.unwrap().unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unavailable, "{status}");
    }
    assert_eq!(tokio::task::block_in_place(|| server.wait()).code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_in_a_hurry_is_denied_at_once_and_not_charged() {
    let server = TestServer::start(QUEUE, &[]);
    let channel = server.channel().await;
    assert_eq!(ask(channel.clone(), None).await.unwrap().overall_code(), Code::Ok);
    for _ in 0..3 {
        let answer = ask(channel.clone(), Some(Duration::from_mins(1))).await.unwrap();
        assert_eq!(answer.overall_code(), Code::OverLimit);
        // The wait until the bucket is full again is still that of the one hit that was admitted.
        let reset = answer.statuses[0].duration_until_reset.unwrap().seconds;
        assert!((1..=3_600 - 60).contains(&reset), "{reset} s");
    }
    assert_eq!(delayed(&server), 0);
}
