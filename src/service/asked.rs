//! Checks that wait for the store of shared counters.
//!
//! What waits is the message, which is read again when the answers are there, or the time is over.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::reply::{Reply, finish, reply};
use crate::api::rls::{RequestError, read_into};
use crate::limiter::{Check, KeptView, Limiter, Progress, WorkerSlot};
use crate::sharing::{Asker, KeptMessage, StoreAnswer};
use crate::telemetry::otlp::CheckSpan;
use crate::units::{Nanos, Timestamp};

/// A check that has asked the store.
#[derive(Debug)]
pub struct Asked {
    pub(super) worker: WorkerSlot,
    pub(super) now: Timestamp,
    /// How long the caller waits for a delayed reply.
    pub(super) timeout: Option<Nanos>,
    pub(super) view: KeptView,
    pub(super) asker: Arc<Asker>,
    pub(super) waiting: Waiting,
    pub(super) message: KeptMessage,
    /// How long it waits.
    pub(super) wait: Duration,
    pub(super) span: Option<CheckSpan>,
}

/// What a check waits for.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) progress: Progress,
    /// The places of charges that were asked for, and where the answers will be.
    pending: SmallVec<[(usize, StoreAnswer); 1]>,
}

impl Asked {
    /// Waits for the answers, and decides by those that came in time.
    ///
    /// # Errors
    /// None that were not found when the check was read for the first time.
    pub(super) async fn decided(mut self, limiter: &Limiter) -> Result<Reply, RequestError> {
        let mut over = pin!(tokio::time::sleep(self.wait));
        while !self.waiting.progress.is_over() {
            tokio::select! {
                biased;
                () = self.waiting.hear() => {}
                () = &mut over => self.waiting.progress.give_up(),
            }
            if let Some(reply) = self.attempt(limiter) {
                return reply;
            }
            if !self.waiting.ask(&self.asker) {
                self.waiting.progress.give_up();
            }
            self.asker.send();
        }
        self.attempt(limiter).unwrap_or(Err(RequestError::NoConfiguration))
    }

    /// Decides it, if that is possible by now.
    fn attempt(&mut self, limiter: &Limiter) -> Option<Result<Reply, RequestError>> {
        let mut check = Check { timeout: self.timeout, ..Check::default() };
        if let Err(error) = read_into(&mut check, self.message.bytes()) {
            return Some(Err(error));
        }
        let (view, tried) = (limiter.kept_view(self.view.clone()), self.asker.now());
        let decision = view.check_shared(self.worker, self.now, tried, &check, &mut self.waiting.progress)?;
        self.waiting.renew(&self.asker);
        let reply = reply(limiter, self.now, &check, &decision);
        Some(finish(limiter, self.worker, self.span.take(), &check, Ok(reply)))
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

    /// Waits for everything that was asked for. Cancel safe: what has come is kept.
    async fn hear(&mut self) {
        while let Some((place, answer)) = self.pending.first_mut() {
            let (place, outcome) = (*place, answer.wait().await);
            self.progress.put(place, outcome.ok());
            self.pending.remove(0);
        }
        for ticket in self.progress.tickets() {
            ticket.hear().await;
        }
    }
}
