//! The service as tonic generates it for prost's messages.

use std::convert::Infallible;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tidegate::api::proto::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use tonic::Status;
use tonic::codegen::{BoxFuture, Service, StdError};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic_prost::ProstCodec;

/// `ShouldRateLimit`, deciding nothing.
#[derive(Clone, Copy)]
pub(super) struct NoOp;

impl NamedService for NoOp {
    const NAME: &'static str = super::SERVICE;
}

impl<B> Service<Request<B>> for NoOp
where
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if request.uri().path() == super::METHOD {
            Box::pin(async move { Ok(Grpc::new(ProstCodec::default()).unary(Method, request).await) })
        } else {
            Box::pin(async { Ok(Status::unimplemented("").into_http()) })
        }
    }
}

/// The only method.
struct Method;

impl UnaryService<RateLimitRequest> for Method {
    type Response = RateLimitResponse;
    type Future = BoxFuture<tonic::Response<RateLimitResponse>, Status>;

    fn call(&mut self, request: tonic::Request<RateLimitRequest>) -> Self::Future {
        Box::pin(async move { Ok(tonic::Response::new(super::answer(request.get_ref()))) })
    }
}
