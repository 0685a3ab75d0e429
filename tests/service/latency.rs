//! The times of decisions, as the metrics tell them.

use tidegate::wire::proto::envoy::service::ratelimit::v3::RateLimitRequest;
use tidegate::wire::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;

use crate::TestServer;
use crate::server::THREE_A_MINUTE;

#[tokio::test]
async fn one_check_in_1024_is_measured() {
    let server = TestServer::start(THREE_A_MINUTE, &["--workers", "1"]);
    let mut service = RateLimitServiceClient::new(server.channel().await);
    for (checks, measured) in [(1_023, 0), (1, 1), (1_024, 2)] {
        for _ in 0..checks {
            let check = RateLimitRequest { domain: "other".into(), ..RateLimitRequest::default() };
            let _refused = service.should_rate_limit(check).await;
        }
        let text = server.http("GET", "/metrics", b"").1;
        let line = format!("tidegate_decision_seconds_count {measured}");
        assert!(text.lines().any(|shown| shown == line), "no {line} in\n{text}");
    }
}
