//! The admin port.

use tonic::Code;

use tidegate::api::proto::envoy::service::ratelimit::v3::RateLimitRequest;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;

use crate::TestServer;
use crate::server::{THREE_A_MINUTE, connect, http};

#[test]
fn pages_are_served() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    for path in ["/rlconfig", "/metrics", "/livez", "/readyz", "/healthcheck"] {
        assert_eq!(http(&server.admin, "GET", path, b"").0, 200, "{path}");
    }
    let (status, pages) = http(&server.admin, "GET", "/pages", b"");
    assert_eq!((status, pages.contains("/rlconfig")), (404, true), "{pages}");
}

#[tokio::test]
async fn a_check_on_the_admin_port_is_unimplemented() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    let mut service = RateLimitServiceClient::new(connect(&server.admin).await);
    let status = service.should_rate_limit(RateLimitRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
}

#[test]
fn rlconfig_shows_each_rule_as_the_reference_does() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    let (status, body) = http(&server.admin, "GET", "/rlconfig", b"");
    assert_eq!(status, 200);
    assert_eq!(body, "api.key: unit=MINUTE requests_per_unit=3, shadow_mode: false, quota_mode: false\n");
}
