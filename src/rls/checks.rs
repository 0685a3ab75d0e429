//! `ShouldRateLimit` for requests that did not arrive in one piece.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::call::call;
use super::responder::{Prepared, Responder};
use crate::access::Caller;
use crate::api::rls::{RequestError, RequestFrame, ResponseFrame};
use crate::api::rls_service::rate_limit_service_server::RateLimitService;
use crate::service::{Answer, Batch, Service, Unsettled};

/// The implementation of the generated service, for one connection of a worker.
#[derive(Debug)]
pub(super) struct Checks {
    service: Arc<Service>,
    caller: Option<Arc<Caller>>,
}

impl Checks {
    pub(super) fn new(service: &Arc<Service>, caller: Option<&Arc<Caller>>) -> Self {
        Self { service: Arc::clone(service), caller: caller.cloned() }
    }
}

/// The instant and the configuration for checks of this client; `None`: of any.
pub(super) fn batch<'s>(service: &'s Service, caller: Option<&Caller>) -> Batch<'s> {
    service.batch().limited_to(caller.map(Caller::domains))
}

#[tonic::async_trait]
impl RateLimitService for Checks {
    async fn should_rate_limit(&self, request: Request<RequestFrame>) -> Result<Response<ResponseFrame>, Status> {
        let service = &self.service;
        let answer = batch(service, self.caller.as_deref())
            .answer(call(service, request.metadata().as_ref()), &request.get_ref().0);
        drop(request);
        let answer = answer.map_err(|error| status(&error, self.caller.as_deref()))?;
        settle(service, answer).await.map(Response::new)
    }
}

/// The status of a request that was not decided.
#[cold]
pub(super) fn status(error: &RequestError, caller: Option<&Caller>) -> Status {
    if let (RequestError::Forbidden, Some(caller)) = (error, caller) {
        caller.note_rejected();
    }
    error.status()
}

/// Waits until the reply is due.
///
/// # Errors
/// UNAVAILABLE: the process stops first.
pub(super) async fn settle(service: &Service, answer: Answer) -> Result<ResponseFrame, Status> {
    match service.settle(answer).await {
        Ok(settled) => Ok(settled.frame),
        Err(Unsettled::ShuttingDown(error)) => Err(Status::unavailable(error.to_string())),
        Err(Unsettled::Request(error)) => Err(error.status()),
    }
}

/// Answers a check when its answer is due. Returns whether the peer got it.
pub(super) fn settle_to(
    service: &Arc<Service>,
    prepared: &Arc<Prepared>,
    answer: Answer,
    mut respond: impl Responder,
) -> impl Future<Output = bool> + Send + 'static {
    let (service, prepared) = (Arc::clone(service), Arc::clone(prepared));
    async move {
        let settled = tokio::select! {
            settled = settle(&service, answer) => settled,
            () = std::future::poll_fn(|cx| respond.poll_gone(cx)) => return false,
        };
        match settled {
            Ok(frame) => respond.send(&prepared, frame) > 0,
            Err(status) => {
                respond.send_error(&status);
                false
            }
        }
    }
}
