//! `ShouldRateLimit` for requests that did not arrive in one piece.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::call::call;
use crate::api::rls::{RequestError, RequestFrame, ResponseFrame};
use crate::api::rls_service::rate_limit_service_server::RateLimitService;
use crate::service::{Reply, Service};

/// The implementation of the generated service, for one worker.
#[derive(Debug)]
pub(super) struct Checks(pub(super) Arc<Service>);

#[tonic::async_trait]
impl RateLimitService for Checks {
    async fn should_rate_limit(&self, request: Request<RequestFrame>) -> Result<Response<ResponseFrame>, Status> {
        let service = &self.0;
        let reply = service.batch().decide(call(service, request.metadata().as_ref()), &request.get_ref().0);
        drop(request);
        settle(service, reply).await.map(Response::new)
    }
}

/// Waits until the reply is due.
///
/// # Errors
/// The status of a request that was not decided; UNAVAILABLE if the process stops first.
pub(super) async fn settle(service: &Service, reply: Result<Reply, RequestError>) -> Result<ResponseFrame, Status> {
    let reply = reply.map_err(|error| error.status())?;
    service.settle(reply).await.map_err(|error| Status::unavailable(error.to_string()))
}
