//! ShouldRateLimit.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use http::HeaderMap;

use super::Context;
use crate::api::rls::{self, RequestError, RequestFrame, ResponseFrame};
use crate::api::rls_service::rate_limit_service_server::RateLimitService;
use crate::limiter::{Limiter, View, WorkerSlot};
use crate::runtime::clock::Clock;
use crate::runtime::lifecycle::Phases;
use crate::service::{self, Answer, DelayedReplies};
use crate::telemetry::DecisionTimes;
use crate::telemetry::otlp::{CheckSpan, CheckTracer};
use crate::units::Timestamp;

/// Decides about the checks of one worker. Each worker has its own, so that cores do not share its reference count.
#[derive(Debug)]
pub(crate) struct Checks {
    limiter: Arc<Limiter>,
    clock: Arc<Clock>,
    worker: WorkerSlot,
    spans: Option<CheckTracer>,
    delayed: DelayedReplies,
    phases: Phases,
    times: Arc<DecisionTimes>,
}

/// What checks that came together are decided by: one instant and one configuration.
///
/// Hold it for one batch, not longer.
#[derive(Debug)]
pub(crate) struct Batch<'c> {
    now: Timestamp,
    view: Option<View<'c>>,
}

impl Checks {
    /// Those of the worker with this slot.
    pub(crate) fn new(context: &Context, worker: WorkerSlot) -> Self {
        let Context { limiter, clock, spans, delayed, phases, times, .. } = context.clone();
        Self { limiter, clock, worker, spans, delayed, phases, times }
    }

    pub(crate) fn batch(&self) -> Batch<'_> {
        Batch { now: self.clock.now(), view: self.limiter.view() }
    }

    /// The span of a check that is sampled.
    pub(crate) fn begin_span(&self, headers: &HeaderMap, message: &[u8]) -> Option<Sampled> {
        self.spans.as_ref().and_then(|spans| spans.begin(headers)).map(|span| Sampled::new(span, message))
    }

    /// Decides about one message. The answer may have to be held.
    pub(crate) fn decide(
        &self,
        batch: &Batch<'_>,
        headers: &HeaderMap,
        message: &[u8],
    ) -> Result<Answer, RequestError> {
        let timeout = self.delayed.timeout(headers);
        let begun = self.times.begin(self.worker, batch.now);
        let answer = service::answer_by(&self.limiter, batch.view.as_ref(), self.worker, batch.now, message, timeout);
        if let Some(begun) = begun {
            self.times.end(self.worker, begun);
        }
        answer
    }

    /// Waits as long as the answer is to be held, and ends the span. What is waited for does not hold the request: it may
    /// be 4 MiB, and a quarter of a million may wait.
    pub(crate) async fn settle(
        &self,
        answer: Result<Answer, RequestError>,
        span: Option<Sampled>,
    ) -> Result<ResponseFrame, Status> {
        if let Ok(answer) = &answer
            && !answer.delay.is_zero()
        {
            self.delayed.delay(answer.delay, self.phases.clone()).await?;
        }
        if let Some(span) = span {
            span.end(&answer);
        }
        answer.map(|answer| answer.frame).map_err(|error| error.status())
    }
}

/// The way of requests that did not arrive whole.
#[tonic::async_trait]
impl RateLimitService for Checks {
    async fn should_rate_limit(&self, request: Request<RequestFrame>) -> Result<Response<ResponseFrame>, Status> {
        let headers = request.metadata().as_ref();
        let message = &request.get_ref().0;
        let span = self.begin_span(headers, message);
        let answer = self.decide(&self.batch(), headers, message);
        drop(request);
        self.settle(answer, span).await.map(Response::new)
    }
}

/// The span of a check that is sampled, and the check's domain.
#[derive(Debug)]
pub(crate) struct Sampled {
    span: CheckSpan,
    domain: String,
}

impl Sampled {
    #[cold]
    fn new(span: CheckSpan, request: &[u8]) -> Self {
        let domain = rls::read(request).map(|check| check.domain.into_owned()).unwrap_or_default();
        Self { span, domain }
    }

    fn end(self, answer: &Result<Answer, RequestError>) {
        let Self { span, domain } = self;
        match answer {
            Ok(answer) if answer.over_limit => span.end(&domain, "OVER_LIMIT", None),
            Ok(_) => span.end(&domain, "OK", None),
            Err(error) => span.end(&domain, "UNKNOWN", Some(&error.to_string())),
        }
    }
}
