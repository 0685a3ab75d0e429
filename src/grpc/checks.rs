//! ShouldRateLimit.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::clock::Clock;
use crate::limiter::{Lane, Limiter};
use crate::wire::service::rate_limit_service_server::{RateLimitService, RateLimitServiceServer};
use crate::wire::{self, RequestFrame, ResponseFrame};

/// The largest request that is read. gRPC's usual bound; a hundred descriptors of Envoy take about 10 KiB.
pub const MAX_MESSAGE_BYTES: usize = 4 << 20;

/// Decides about the checks of one worker. Each worker has its own, so that cores do not share its reference count.
#[derive(Debug)]
pub struct Checks {
    limiter: Arc<Limiter>,
    clock: Arc<Clock>,
    lane: Lane,
}

impl Checks {
    /// The service of the worker with this lane.
    pub fn service(limiter: Arc<Limiter>, clock: Arc<Clock>, lane: Lane) -> RateLimitServiceServer<Self> {
        RateLimitServiceServer::new(Self { limiter, clock, lane }).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }
}

#[tonic::async_trait]
impl RateLimitService for Checks {
    async fn should_rate_limit(&self, request: Request<RequestFrame>) -> Result<Response<ResponseFrame>, Status> {
        let answer = wire::answer(&self.limiter, self.lane, self.clock.now(), &request.get_ref().0)
            .map_err(|refusal| refusal.status())?;
        if !answer.hold.is_zero() {
            // A caller that goes away drops this future, and with it the timer.
            tokio::time::sleep(answer.hold.into()).await;
        }
        Ok(Response::new(answer.frame))
    }
}
