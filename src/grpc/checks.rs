//! ShouldRateLimit.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{Context, Held};
use crate::clock::Clock;
use crate::limiter::{Lane, Limiter};
use crate::shutdown::Phases;
use crate::telemetry::DecisionTimes;
use crate::telemetry::otlp::{CheckSpan, CheckTracer};
use crate::wire::service::rate_limit_service_server::{RateLimitService, RateLimitServiceServer};
use crate::wire::{self, Answer, Refusal, RequestFrame, ResponseFrame};

/// The largest request that is read. gRPC's usual bound; a hundred descriptors of Envoy take about 10 KiB.
pub const MAX_MESSAGE_BYTES: usize = 4 << 20;

/// Decides about the checks of one worker. Each worker has its own, so that cores do not share its reference count.
#[derive(Debug)]
pub struct Checks {
    limiter: Arc<Limiter>,
    clock: Arc<Clock>,
    lane: Lane,
    spans: Option<CheckTracer>,
    held: Held,
    phases: Phases,
    times: Arc<DecisionTimes>,
}

impl Checks {
    /// The service of the worker with this lane.
    pub fn service(context: &Context, lane: Lane) -> RateLimitServiceServer<Self> {
        let Context { limiter, clock, spans, held, phases, times, .. } = context.clone();
        let checks = Self { limiter, clock, lane, spans, held, phases, times };
        RateLimitServiceServer::new(checks).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }
}

#[tonic::async_trait]
impl RateLimitService for Checks {
    async fn should_rate_limit(&self, request: Request<RequestFrame>) -> Result<Response<ResponseFrame>, Status> {
        let span = self.spans.as_ref().and_then(|spans| spans.begin(request.metadata().as_ref()));
        let patience = self.held.patience(request.metadata().as_ref());
        let frame = &request.get_ref().0;
        let begun = self.times.begin(self.lane);
        let answer = wire::answer_within(&self.limiter, self.lane, self.clock.now(), frame, patience);
        if let Some(begun) = begun {
            self.times.end(self.lane, begun);
        }
        if let Ok(answer) = &answer
            && !answer.hold.is_zero()
        {
            self.held.hold(answer.hold, self.phases.clone()).await?;
        }
        if let Some(span) = span {
            end(span, frame, &answer);
        }
        answer.map(|answer| Response::new(answer.frame)).map_err(|refusal| refusal.status())
    }
}

/// Ends the span of a sampled check.
#[cold]
fn end(span: CheckSpan, request: &[u8], answer: &Result<Answer, Refusal>) {
    let domain = wire::read(request).map(|check| check.domain.into_owned()).unwrap_or_default();
    match answer {
        Ok(answer) if answer.over_limit => span.end(&domain, "OVER_LIMIT", None),
        Ok(_) => span.end(&domain, "OK", None),
        Err(refusal) => span.end(&domain, "UNKNOWN", Some(&refusal.to_string())),
    }
}
