//! Server reflection, as grpcurl uses it.

use tokio_stream::StreamExt;
use tonic::transport::Channel;
use tonic_reflection::pb::{v1, v1alpha};

use crate::TestServer;
use crate::server::{THREE_A_MINUTE, connect};

const HEALTH: &str = "grpc.health.v1.Health";

#[tokio::test]
async fn both_versions_list_what_each_port_serves() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    let rls = ["envoy.service.ratelimit.v3.RateLimitService"];
    let operators = ["tidegate.v1.AdminService", "tidegate.v1.UsageService"];
    let ports: [(_, &[&str]); 2] = [(&server.grpc, &rls), (&server.admin, &operators)];
    for (address, own) in ports {
        for (mut names, version) in
            [(list_v1(connect(address).await).await, "v1"), (list_v1alpha(connect(address).await).await, "v1alpha")]
        {
            names.sort();
            let reflection = format!("grpc.reflection.{version}.ServerReflection");
            let mut want: Vec<_> = own.iter().copied().chain([HEALTH, &reflection]).collect();
            want.sort_unstable();
            assert_eq!(names, want, "{address}, {version}");
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
