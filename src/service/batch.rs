//! A batch of decisions, at one instant and with one configuration.

mod together;

use std::cell::OnceCell;
use std::sync::Arc;

pub use together::Arrived;

use super::Service;
use super::asked::{Asked, OfBatch, Waiting};
use super::reply::{Reply, finish, reply};
use crate::access::Domains;
use crate::api::rls::{self, RequestError};
use crate::limiter::{Check, Limiter, PreparedCheck, Progress, View, WorkerSlot};
use crate::recording::Recordings;
use crate::sharing::{Asker, Now};
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
    /// Sends what the checks ask of the store of shared counters when the batch ends.
    sending: Option<Sending<'s>>,
    /// For checks that wait.
    kept: OnceCell<Arc<OfBatch>>,
}

/// Sends what was asked when it is dropped.
#[derive(Debug)]
struct Sending<'s> {
    asker: &'s Arc<Asker>,
    /// The time of the batch, by our clock and by the store's.
    now: Now,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.asker.send();
    }
}

/// What becomes of a check.
#[derive(Debug)]
pub enum Answer {
    /// It is decided.
    Reply(Reply),
    /// It waits for the store of shared counters.
    Asked(Box<Asked>),
}

/// What a front end knows of a check besides its message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Call<'c> {
    /// How long the caller waits for the reply; `None`: without a limit.
    pub timeout: Option<Nanos>,
    /// The trace that the call is part of.
    pub trace: TraceContext<'c>,
}

impl<'s> Batch<'s> {
    /// A batch at `now` outside of a server: its checks are neither timed nor traced nor recorded.
    pub fn new(limiter: &'s Limiter, worker: WorkerSlot, now: Timestamp) -> Self {
        let (view, kept) = (limiter.view(), OnceCell::new());
        Self { limiter, view, worker, now, service: None, domains: None, recordings: None, sending: None, kept }
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
        let now = batch.now;
        let engine = |asker: &Arc<Asker>| Now { local: now, engine: asker.store().engine_time(now) };
        let sending = service.asker.as_ref().map(|asker| Sending { asker, now: engine(asker) });
        Self { service: Some(service), sending, ..batch }.recorded_by(&service.recordings)
    }

    /// Decides one encoded `RateLimitRequest` as [`decide`](Self::decide) does, or asks the store of shared counters first. What is asked
    /// is sent when the batch is dropped.
    ///
    /// # Errors
    /// As for [`decide`](Self::decide).
    pub fn answer(&self, call: Call<'_>, message: &[u8]) -> Result<Answer, RequestError> {
        match (&self.sending, self.service) {
            (Some(sending), Some(service)) => self.ask(sending, service, call, message),
            _ => self.decide(call, message).map(Answer::Reply),
        }
    }

    /// Decides one encoded `RateLimitRequest`, counts it, and writes the reply.
    ///
    /// Cost: only the locks of the counters, and the allocation of the reply.
    ///
    /// # Errors
    /// The request is not valid, or no configuration is loaded.
    pub fn decide(&self, call: Call<'_>, message: &[u8]) -> Result<Reply, RequestError> {
        let (timeout, span) = self.begin(&call);
        let Some(service) = self.service else { return self.decide_untimed(timeout, span, message) };
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
        finish(self.limiter, self.worker, span, &check, reply)
    }

    fn decide_check<'m>(&self, check: &mut Check<'m>, message: &'m [u8]) -> Result<Reply, RequestError> {
        let view = self.read(check, message)?;
        let decision = view.check(self.worker, self.now, check);
        self.record(check, message);
        Ok(reply(self.limiter, self.now, check, &decision))
    }

    /// Reads a check, and returns the configuration for it.
    fn read<'m>(&self, check: &mut Check<'m>, message: &'m [u8]) -> Result<&View<'s>, RequestError> {
        rls::read_into(check, message)?;
        if let Some(domains) = &self.domains
            && !domains.contain(&check.domain)
        {
            return Err(self.forbidden(&check.domain));
        }
        self.view.as_ref().ok_or(RequestError::NoConfiguration)
    }

    /// How long the caller waits for a delayed reply, and the span of the check if it is traced.
    fn begin(&self, call: &Call<'_>) -> (Option<Nanos>, Option<CheckSpan>) {
        let Some(service) = self.service else { return (call.timeout, None) };
        let timeout = if service.delayed.is_full() { Some(Nanos::ZERO) } else { call.timeout };
        (timeout, service.tracer.as_ref().and_then(|tracer| tracer.begin(call.trace)))
    }

    /// Decides a check, or asks the store first.
    fn ask(
        &self,
        sending: &Sending<'_>,
        service: &Service,
        call: Call<'_>,
        message: &[u8],
    ) -> Result<Answer, RequestError> {
        let (timeout, span) = self.begin(&call);
        let begun = service.times.begin(self.worker, self.now);
        let mut check = Check { timeout, ..Check::default() };
        let view = self.read(&mut check, message);
        let answer = view.map(|view| self.ask_or_decide((view, None), sending, call, &check, message));
        if let Some(begun) = begun {
            service.times.end(self.worker, begun);
        }
        self.answered(span, &check, answer)
    }

    /// Counts a check that is decided; one that waits keeps its span.
    fn answered(
        &self,
        span: Option<CheckSpan>,
        check: &Check<'_>,
        answer: Result<Answer, RequestError>,
    ) -> Result<Answer, RequestError> {
        match answer {
            Ok(Answer::Asked(mut waiting)) => {
                waiting.span = span;
                Ok(Answer::Asked(waiting))
            }
            Ok(Answer::Reply(reply)) => finish(self.limiter, self.worker, span, check, Ok(reply)).map(Answer::Reply),
            Err(error) => finish(self.limiter, self.worker, span, check, Err(error)).map(Answer::Reply),
        }
    }

    /// Decides a check that was read, and perhaps prepared, or asks the store first.
    fn ask_or_decide<'v>(
        &self,
        (view, prepared): (&'v View<'_>, Option<&PreparedCheck<'v>>),
        &Sending { asker, now: tried }: &Sending<'_>,
        call: Call<'_>,
        check: &Check<'_>,
        message: &[u8],
    ) -> Answer {
        self.record(check, message);
        let (worker, now, timeout) = (self.worker, self.now, check.timeout);
        let attempt = |progress: &mut Progress| match prepared {
            Some(prepared) => view.check_prepared(worker, now, tried, (check, prepared), progress),
            None => view.check_shared(worker, now, tried, check, progress),
        };
        let mut waiting = Waiting::default();
        while !waiting.progress.is_over() {
            if let Some(decision) = attempt(&mut waiting.progress) {
                waiting.renew(asker);
                return Answer::Reply(reply(self.limiter, now, check, &decision));
            }
            let kept = asker.keep(message);
            match kept.filter(|_| waiting.ask(asker)) {
                Some(message) => {
                    let of_batch = Arc::clone(self.kept.get_or_init(|| self.of_batch(view, asker)));
                    let until = now.plus(asker.wait(call.timeout).into());
                    return Answer::Asked(Box::new(Asked { of_batch, timeout, waiting, message, until, span: None }));
                }
                // There is nobody to be asked, or no room to wait.
                None => waiting.progress.give_up(),
            }
        }
        // It does not wait any longer, so it is decided.
        let decision = attempt(&mut waiting.progress).unwrap_or_else(|| view.check(worker, now, check));
        Answer::Reply(reply(self.limiter, now, check, &decision))
    }
}

impl Batch<'_> {
    #[cold]
    fn of_batch(&self, view: &View<'_>, asker: &Arc<Asker>) -> Arc<OfBatch> {
        let (worker, now) = (self.worker, self.now);
        Arc::new(OfBatch { worker, now, view: view.keep(), asker: Arc::clone(asker) })
    }

    /// Offers the check to the recordings, if there are any.
    fn record(&self, check: &Check<'_>, message: &[u8]) {
        if let Some(recordings) = self.recordings
            && recordings.is_on()
        {
            recordings.offer(self.worker, self.now, check, message);
        }
    }

    /// Counts a check of a domain that the caller may not check.
    #[cold]
    fn forbidden(&self, domain: &str) -> RequestError {
        let is_known = self.view.as_ref().and_then(View::rules).is_some_and(|rules| rules.domain(domain).is_some());
        self.limiter.usage().count_forbidden(is_known.then_some(domain));
        RequestError::Forbidden
    }
}
