//! Checks that wait for the store of shared counters.
//!
//! What waits is the message, which is read again when the answers are there, or the time is over.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use smallvec::SmallVec;

use super::reply::{Reply, finish, reply};
use crate::api::rls::{RequestError, read_into};
use crate::limiter::{Check, KeptView, Limiter, Progress, View, WorkerSlot};
use crate::sharing::{Asker, KeptMessage, Now, StoreAnswer};
use crate::telemetry::otlp::CheckSpan;
use crate::units::{Nanos, Timestamp};

/// A check that has asked the store.
#[derive(Debug)]
pub struct Asked {
    pub(super) of_batch: Arc<OfBatch>,
    /// How long the caller waits for a delayed reply.
    pub(super) timeout: Option<Nanos>,
    pub(super) waiting: Waiting,
    pub(super) message: KeptMessage,
    /// Until when it waits.
    pub(super) until: Timestamp,
    pub(super) span: Option<CheckSpan>,
}

/// What the checks of a batch have in common that wait.
#[derive(Debug)]
pub(super) struct OfBatch {
    pub(super) worker: WorkerSlot,
    pub(super) now: Timestamp,
    pub(super) view: KeptView,
    pub(super) asker: Arc<Asker>,
}

/// Tries checks that wait, one after the other at the same time: those of one batch with one view.
#[derive(Debug)]
pub(crate) struct Trying<'l> {
    limiter: &'l Limiter,
    of_batch: Option<(Arc<OfBatch>, View<'l>, Now)>,
}

/// What a check waits for.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) progress: Progress,
    /// The places of charges that were asked for, and where the answers will be.
    pending: SmallVec<[(usize, StoreAnswer); 1]>,
}

impl Asked {
    /// Until when it waits.
    pub(crate) const fn until(&self) -> Timestamp {
        self.until
    }

    /// Waits for the answers for so long at most, and decides by those that came in time.
    ///
    /// # Errors
    /// None that were not found when the check was read for the first time.
    pub(super) async fn decided(mut self: Box<Self>, limiter: &Limiter, wait: Nanos) -> Result<Reply, RequestError> {
        let mut over = pin!(tokio::time::sleep(wait.into()));
        poll_fn(|cx| {
            let mut decided = self.poll_decided(cx, &mut Trying::new(limiter), false);
            if decided.is_pending() && over.as_mut().poll(cx).is_ready() {
                decided = self.poll_decided(cx, &mut Trying::new(limiter), true);
            }
            decided
        })
        .await
    }

    /// Decides it by the answers that have come, once it needs no other one. With `is_over` it waits for none.
    pub(crate) fn poll_decided(
        &mut self,
        cx: &mut Context<'_>,
        trying: &mut Trying<'_>,
        is_over: bool,
    ) -> Poll<Result<Reply, RequestError>> {
        loop {
            let was_over = self.waiting.progress.is_over();
            if !was_over && self.waiting.poll_hear(cx).is_pending() {
                if !is_over {
                    return Poll::Pending;
                }
                self.waiting.progress.give_up();
            }
            if let Some(reply) = self.attempt(trying) {
                return Poll::Ready(reply);
            }
            if was_over {
                return Poll::Ready(Err(RequestError::NoConfiguration));
            }
            let asker = &self.of_batch.asker;
            if !self.waiting.ask(asker) {
                self.waiting.progress.give_up();
            }
            asker.send();
        }
    }

    /// Decides it, if that is possible by now.
    fn attempt(&mut self, trying: &mut Trying<'_>) -> Option<Result<Reply, RequestError>> {
        let mut check = Check { timeout: self.timeout, ..Check::default() };
        if let Err(error) = read_into(&mut check, self.message.bytes()) {
            return Some(Err(error));
        }
        let limiter = trying.limiter;
        let OfBatch { worker, now, ref asker, .. } = *self.of_batch;
        let (view, tried) = trying.view_of(&self.of_batch);
        let decision = view.check_shared(worker, now, tried, &check, &mut self.waiting.progress)?;
        self.waiting.renew(asker);
        let reply = reply(limiter, now, &check, &decision);
        Some(finish(limiter, worker, self.span.take(), &check, Ok(reply)))
    }
}

impl<'l> Trying<'l> {
    pub(crate) const fn new(limiter: &'l Limiter) -> Self {
        Self { limiter, of_batch: None }
    }

    /// The view of a batch, and the time at which its checks are tried.
    fn view_of(&mut self, of_batch: &Arc<OfBatch>) -> (&View<'l>, Now) {
        if self.of_batch.as_ref().is_none_or(|(known, ..)| !Arc::ptr_eq(known, of_batch)) {
            self.of_batch = None;
        }
        let (_, view, tried) = self.of_batch.get_or_insert_with(|| {
            let view = self.limiter.kept_view(of_batch.view.clone());
            (Arc::clone(of_batch), view, of_batch.asker.now())
        });
        (view, *tried)
    }
}

impl Waiting {
    /// Asks for what the check needs. Returns whether it has to wait for anything.
    pub(super) fn ask(&mut self, asker: &Arc<Asker>) -> bool {
        self.renew(asker);
        let mut is_waiting = false;
        for (place, check) in self.progress.take_asks() {
            match asker.ask(check) {
                Ok(answer) => {
                    is_waiting = true;
                    self.pending.push((place, answer));
                }
                Err(_) => self.progress.put(place, None),
            }
        }
        for ticket in self.progress.tickets() {
            is_waiting |= asker.want(ticket).is_ok();
        }
        is_waiting
    }

    /// Has leases renewed before checks have to wait for them.
    pub(super) fn renew(&mut self, asker: &Arc<Asker>) {
        self.progress.take_renewals().into_iter().for_each(|key| asker.renew(key));
    }

    /// Ready when everything that was asked for has been answered. What has come is kept.
    fn poll_hear(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some((place, answer)) = self.pending.first_mut() {
            let (place, outcome) = (*place, ready!(answer.poll(cx)));
            self.progress.put(place, outcome.ok());
            self.pending.remove(0);
        }
        for ticket in self.progress.tickets() {
            ready!(ticket.poll_hear(cx));
        }
        Poll::Ready(())
    }
}
