//! grpc.health.v1 and the probes.

use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::TestServer;
use crate::server::{THREE_A_MINUTE, connect};

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

/// Whether the server says that it serves; panics when it says nothing.
pub(crate) async fn is_serving(address: &str) -> bool {
    let answer = HealthClient::new(connect(address).await).check(of("")).await.unwrap().into_inner();
    answer.status() == ServingStatus::Serving
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serving_on_both_ports_for_both_names() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    for address in [&server.grpc, &server.admin] {
        let mut health = HealthClient::new(connect(address).await);
        for service in ["", "ratelimit"] {
            let answer = health.check(of(service)).await.unwrap().into_inner();
            assert_eq!(answer.status(), ServingStatus::Serving, "{address} {service:?}");
        }
        assert_eq!(health.check(of("nope")).await.unwrap_err().code(), Code::NotFound);
        let mut unknown = health.watch(of("nope")).await.unwrap().into_inner();
        assert_eq!(unknown.message().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
    }
    for (path, want) in [("/healthcheck", "OK"), ("/livez", "OK\n")] {
        assert_eq!(server.http("GET", path, b""), (200, want.to_owned()), "{path}");
    }
    let detail = "serving: serving\nconfiguration: generation 1\nhistory: in memory\n";
    assert_eq!(server.http("GET", "/readyz", b""), (200, detail.to_owned()));
    assert_eq!(server.http("GET", "/metrics", b"").0, 200);
    assert_eq!(server.http("GET", "/nope", b"").0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everyone_hears_of_sigterm_before_the_server_stops() {
    let mut server = TestServer::start(THREE_A_MINUTE, &["--drain", "1s"]);
    let mut watches = Vec::new();
    for address in [&server.grpc, &server.admin] {
        let mut watch = HealthClient::new(connect(address).await).watch(of("ratelimit")).await.unwrap().into_inner();
        assert_eq!(status(watch.message().await.unwrap()), Some(ServingStatus::Serving));
        watches.push(watch);
    }
    server.signal("TERM");
    for watch in &mut watches {
        assert_eq!(status(watch.message().await.unwrap()), Some(ServingStatus::NotServing));
    }
    assert!(!is_serving(&server.grpc).await);
    assert_eq!(server.http("GET", "/healthcheck", b""), (500, "NOT_SERVING".to_owned()));
    assert_eq!(server.http("GET", "/readyz", b"").0, 503);
    assert_eq!(server.http("GET", "/livez", b"").0, 200);
    for watch in &mut watches {
        assert_eq!(watch.message().await.unwrap_err().code(), Code::Unavailable, "ended, not cut off");
    }
    assert_eq!(server.wait().code(), Some(0));
}

fn status(answer: Option<HealthCheckResponse>) -> Option<ServingStatus> {
    answer.map(|answer| answer.status())
}
