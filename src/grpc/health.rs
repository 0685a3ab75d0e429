//! The health service, `grpc.health.v1`.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

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
pub(crate) struct Health {
    phases: Phases,
    ready: Ready,
}

/// Whether more than the phase is needed for SERVING; by default nothing.
#[derive(Clone, Default)]
pub(crate) struct Ready(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl Ready {
    /// What `is_so` says is needed.
    pub(crate) fn when(is_so: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(is_so)))
    }

    /// Whether it is so.
    pub(crate) fn is_so(&self) -> bool {
        self.0.as_ref().is_none_or(|is_so| is_so())
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ready").field(&self.is_so()).finish()
    }
}

impl Health {
    /// The service.
    pub(crate) fn service(phases: Phases, ready: Ready) -> HealthServer<Self> {
        HealthServer::new(Self { phases, ready })
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
        Ok(Response::new(response(self.status())))
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        if !is_known(&request.get_ref().service) {
            // As specified, this is not an error: the service may appear later.
            let unknown = tokio_stream::once(Ok(response(ServingStatus::ServiceUnknown)));
            return Ok(Response::new(Box::pin(unknown.chain(tokio_stream::pending()))));
        }
        if self.ready.0.is_some() {
            return Ok(Response::new(Box::pin(looked_up(self.clone()))));
        }
        Ok(Response::new(Box::pin(changes(self.phases.clone()))))
    }
}

impl Health {
    fn status(&self) -> ServingStatus {
        if self.ready.is_so() { status(self.phases.now()) } else { ServingStatus::NotServing }
    }
}

/// The status now and at every change, where more than the phase is needed: it is looked up each second.
fn looked_up(health: Health) -> impl Stream<Item = Result<HealthCheckResponse, Status>> {
    let look = |(health, last): (Health, Option<ServingStatus>)| async move {
        while last == Some(health.status()) {
            tokio::time::sleep(LOOK).await;
        }
        let status = health.status();
        Some((Ok(response(status)), (health, Some(status))))
    };
    futures_util::stream::unfold((health, None), look)
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
    if phase.is_serving() { ServingStatus::Serving } else { ServingStatus::NotServing }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

fn is_known(service: &str) -> bool {
    matches!(service, "" | "ratelimit")
}

/// As often as clients of the health service ask.
const LOOK: Duration = Duration::from_secs(1);
/// A request contains one service name.
const MAX_REQUEST_BYTES: usize = 4096;
