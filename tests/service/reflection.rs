//! Server reflection, as grpcurl uses it.

use tokio_stream::StreamExt;
use tonic::transport::Channel;
use tonic_reflection::pb::{v1, v1alpha};

use crate::TestServer;
use crate::server::{THREE_A_MINUTE, connect};

const SERVICES: [&str; 2] = ["envoy.service.ratelimit.v3.RateLimitService", "grpc.health.v1.Health"];

#[tokio::test]
async fn both_versions_list_the_services_on_both_ports() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    for address in [&server.grpc, &server.admin] {
        for names in [list_v1(connect(address).await).await, list_v1alpha(connect(address).await).await] {
            for service in SERVICES {
                assert!(names.iter().any(|name| name == service), "{address}: no {service} in {names:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_not_offered_is_unimplemented() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    for path in [
        "/nope.Service/Method",
        "/envoy.service.ratelimit.v3.RateLimitService/Nope",
        "/envoy.service.ratelimit.v3.RateLimitServiceX/ShouldRateLimit",
        "/",
    ] {
        let mut grpc = tonic::client::Grpc::new(server.channel().await);
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<(), ()>::default();
        let status = grpc.unary(tonic::Request::new(()), path.parse().unwrap(), codec).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unimplemented, "{path}: {status:?}");
    }
}

async fn list_v1(channel: Channel) -> Vec<String> {
    use v1::server_reflection_request::MessageRequest;
    use v1::server_reflection_response::MessageResponse;
    let request = v1::ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel);
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    match answers.next().await.unwrap().unwrap().message_response {
        Some(MessageResponse::ListServicesResponse(list)) => list.service.into_iter().map(|s| s.name).collect(),
        other => panic!("{other:?}"),
    }
}

async fn list_v1alpha(channel: Channel) -> Vec<String> {
    use v1alpha::server_reflection_request::MessageRequest;
    use v1alpha::server_reflection_response::MessageResponse;
    let request = v1alpha::ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    match answers.next().await.unwrap().unwrap().message_response {
        Some(MessageResponse::ListServicesResponse(list)) => list.service.into_iter().map(|s| s.name).collect(),
        other => panic!("{other:?}"),
    }
}
