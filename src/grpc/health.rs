//! The health service, `grpc.health.v1`.

use std::pin::Pin;

use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health as HealthService, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::ACCEPTED_ENCODING;
use crate::runtime::lifecycle::{Phase, Phases};

/// Health by the phase of the process, for the services `""` and `ratelimit` (the name that envoyproxy/ratelimit uses).
///
/// `tonic_health`'s reporter is not used: it would be a second copy of the phase.
#[derive(Clone, Debug)]
pub(crate) struct Health(Phases);

impl Health {
    /// The service.
    pub(crate) fn service(phases: Phases) -> HealthServer<Self> {
        HealthServer::new(Self(phases))
            .accept_compressed(ACCEPTED_ENCODING)
            .max_decoding_message_size(MAX_REQUEST_BYTES)
    }
}

#[tonic::async_trait]
impl HealthService for Health {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        if !is_known(&request.get_ref().service) {
            return Err(Status::not_found("unknown service: ask for \"\" or \"ratelimit\""));
        }
        Ok(Response::new(response(status(self.0.now()))))
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        if !is_known(&request.get_ref().service) {
            // As specified, this is not an error: the service may appear later.
            let unknown = tokio_stream::once(Ok(response(ServingStatus::ServiceUnknown)));
            return Ok(Response::new(Box::pin(unknown.chain(tokio_stream::pending()))));
        }
        Ok(Response::new(Box::pin(changes(self.0.clone()))))
    }
}

/// The status now and at every change, each once.
fn changes(phases: Phases) -> impl Stream<Item = Result<HealthCheckResponse, Status>> {
    let mut last = None;
    let all = tokio_stream::wrappers::WatchStream::new(phases.into_receiver());
    all.filter_map(move |phase| {
        let status = status(phase);
        (last.replace(status) != Some(status)).then(|| Ok(response(status)))
    })
}

fn status(phase: Phase) -> ServingStatus {
    if phase == Phase::Serving { ServingStatus::Serving } else { ServingStatus::NotServing }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

fn is_known(service: &str) -> bool {
    matches!(service, "" | "ratelimit")
}

/// A request contains one service name.
const MAX_REQUEST_BYTES: usize = 4096;
