//! The times of decisions, as the metrics show them.

use std::time::Duration;

use tidegate::api::proto::envoy::service::ratelimit::v3::RateLimitRequest;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use tidegate::runtime::clock::Stopwatch;

use crate::TestServer;
use crate::server::THREE_A_MINUTE;

/// The first check of a service that is asked now and then is measured, and of 2,048 in a row at least every 1,024th.
#[tokio::test]
async fn slow_traffic_is_measured_and_of_fast_traffic_a_sample() {
    let server = TestServer::start(THREE_A_MINUTE, &["--workers", "1"]);
    let mut service = RateLimitServiceClient::new(server.channel().await);
    let begun = Stopwatch::start();
    for (checks, at_least) in [(1, 1), (2_048, 3)] {
        for _ in 0..checks {
            let check = RateLimitRequest { domain: "other".into(), ..RateLimitRequest::default() };
            let _refused = service.should_rate_limit(check).await;
        }
        // One more for each tenth of a second that this took, however slow the machine is.
        let tenths = Duration::from(begun.elapsed()).as_millis() / 100;
        let measured = u128::from(server.metric("tidegate_decision_seconds_count"));
        assert!((at_least..=at_least + tenths).contains(&measured), "{measured} after {tenths} tenths of a second");
    }
}
