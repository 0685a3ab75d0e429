//! The admin port.

use crate::TestServer;
use crate::server::{THREE_A_MINUTE, http};

#[test]
fn pages_are_served() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    for path in ["/rlconfig", "/metrics", "/livez", "/readyz", "/healthcheck"] {
        assert_eq!(http(&server.admin, "GET", path, b"").0, 200, "{path}");
    }
    let (status, pages) = http(&server.admin, "GET", "/", b"");
    assert_eq!((status, pages.contains("/rlconfig")), (404, true), "{pages}");
}

#[test]
fn rlconfig_shows_each_rule_as_the_reference_does() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    let (status, body) = http(&server.admin, "GET", "/rlconfig", b"");
    assert_eq!(status, 200);
    assert_eq!(body, "api.key: unit=MINUTE requests_per_unit=3, shadow_mode: false, quota_mode: false\n");
}
