//! A batch of decisions, at one instant and with one configuration.

use std::sync::Arc;

use super::Service;
use super::response::metadata;
use crate::access::Domains;
use crate::api::rls::{self, RequestError, ResponseFrame, ResponseParts, write};
use crate::limiter::{Check, Code, Limiter, View, WorkerSlot};
use crate::recording::Recordings;
use crate::telemetry::otlp::{CheckSpan, TraceContext};
use crate::units::{Nanos, Timestamp};

/// The instant and the configuration for checks that arrived together. Keep it for one batch, not longer.
#[derive(Debug)]
pub struct Batch<'s> {
    limiter: &'s Limiter,
    view: Option<View<'s>>,
    worker: WorkerSlot,
    now: Timestamp,
    /// Times, traces and delays the checks in a server.
    service: Option<&'s Service>,
    /// The domains that the caller may check; `None`: all.
    domains: Option<Arc<Domains>>,
    /// The recordings of checks in a server.
    recordings: Option<&'s Recordings>,
}

/// What a front end knows of a check besides its message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Call<'c> {
    /// How long the caller waits for the reply; `None`: without a limit.
    pub timeout: Option<Nanos>,
    /// The trace that the call is part of.
    pub trace: TraceContext<'c>,
}

/// The reply to a check, and when to send it.
#[derive(Debug)]
pub struct Reply {
    /// The encoded `RateLimitResponse`.
    pub frame: ResponseFrame,
    /// How long to delay the reply, because its hits wait in a queue.
    pub delay: Nanos,
    /// The overall code.
    pub code: Code,
    /// The span of a traced check; it ends when it is dropped.
    pub(super) span: Option<CheckSpan>,
}

impl<'s> Batch<'s> {
    /// A batch at `now` outside of a server: its checks are neither timed nor traced nor recorded.
    pub fn new(limiter: &'s Limiter, worker: WorkerSlot, now: Timestamp) -> Self {
        Self { limiter, view: limiter.view(), worker, now, service: None, domains: None, recordings: None }
    }

    /// The same batch, whose checks are recorded.
    pub fn recorded_by(self, recordings: &'s Recordings) -> Self {
        Self { recordings: Some(recordings), ..self }
    }

    /// The batch of a caller that may check these domains only; `None`: all.
    pub(crate) fn limited_to(self, domains: Option<Arc<Domains>>) -> Self {
        Self { domains, ..self }
    }

    pub(super) fn for_service(service: &'s Service) -> Self {
        let batch = Self::new(&service.limiter, service.worker, service.clock.now());
        Self { service: Some(service), ..batch }.recorded_by(&service.recordings)
    }

    /// Decides one encoded `RateLimitRequest`, counts it, and writes the reply.
    ///
    /// Cost: only the locks of the counters, and the allocation of the reply.
    ///
    /// # Errors
    /// The request is not valid, or no configuration is loaded.
    pub fn decide(&self, call: Call<'_>, message: &[u8]) -> Result<Reply, RequestError> {
        let Some(service) = self.service else { return self.decide_untimed(call.timeout, None, message) };
        let timeout = if service.delayed.is_full() { Some(Nanos::ZERO) } else { call.timeout };
        let span = service.tracer.as_ref().and_then(|tracer| tracer.begin(call.trace));
        let begun = service.times.begin(self.worker, self.now);
        let reply = self.decide_untimed(timeout, span, message);
        if let Some(begun) = begun {
            service.times.end(self.worker, begun);
        }
        reply
    }

    fn decide_untimed(
        &self,
        timeout: Option<Nanos>,
        span: Option<CheckSpan>,
        message: &[u8],
    ) -> Result<Reply, RequestError> {
        let mut check = Check { timeout, ..Check::default() };
        let reply = self.decide_check(&mut check, message);
        self.limiter.usage().count_request(self.worker, reply.is_err());
        match span {
            None => reply,
            Some(span) => traced(span, &check, reply),
        }
    }

    fn decide_check<'m>(&self, check: &mut Check<'m>, message: &'m [u8]) -> Result<Reply, RequestError> {
        rls::read_into(check, message)?;
        if let Some(domains) = &self.domains
            && !domains.contain(&check.domain)
        {
            return Err(self.forbidden(&check.domain));
        }
        let view = self.view.as_ref().ok_or(RequestError::NoConfiguration)?;
        let decision = view.check(self.worker, self.now, check);
        if let Some(recordings) = self.recordings
            && recordings.is_on()
        {
            recordings.offer(self.worker, self.now, check, message);
        }
        let metadata = metadata::build(check, &decision, self.limiter.settings().dynamic_metadata);
        let parts = ResponseParts::new(check, &decision, self.now);
        Ok(Reply {
            frame: ResponseFrame::with_capacity(TYPICAL_BYTES, |out| write(out, &decision, &parts, metadata.as_ref())),
            delay: decision.delay,
            code: decision.code,
            span: None,
        })
    }
}

impl Batch<'_> {
    /// Counts a check of a domain that the caller may not check.
    #[cold]
    fn forbidden(&self, domain: &str) -> RequestError {
        let is_known = self.view.as_ref().and_then(View::rules).is_some_and(|rules| rules.domain(domain).is_some());
        self.limiter.usage().count_forbidden(is_known.then_some(domain));
        RequestError::Forbidden
    }
}

/// Adds the outcome to the span, which ends with the reply.
#[cold]
fn traced(mut span: CheckSpan, check: &Check<'_>, reply: Result<Reply, RequestError>) -> Result<Reply, RequestError> {
    match reply {
        Ok(reply) => {
            span.decided(&check.domain, reply.code.name());
            Ok(Reply { span: Some(span), ..reply })
        }
        Err(error) => {
            span.failed(&check.domain, &error.to_string());
            Err(error)
        }
    }
}

/// An answer to three descriptors takes about 60 bytes.
const TYPICAL_BYTES: usize = 128;
