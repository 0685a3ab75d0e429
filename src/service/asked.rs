//! Checks that wait for the store of shared counters.
//!
//! What waits is the message, which is read again when the answers are there, or the time is over.

use std::time::Duration;

use smallvec::SmallVec;

use super::reply::{Reply, finish, reply};
use crate::api::rls::{RequestError, read_into};
use crate::limiter::{Answers, Check, KeptView, Limiter, WorkerSlot};
use crate::sharing::{KeptMessage, StoreAnswer};
use crate::telemetry::otlp::CheckSpan;
use crate::units::{Nanos, Timestamp};

/// A check that has asked the store.
#[derive(Debug)]
pub struct Asked {
    pub(super) worker: WorkerSlot,
    pub(super) now: Timestamp,
    /// The time of the store.
    pub(super) engine_now: Timestamp,
    /// How long the caller waits for a delayed reply.
    pub(super) timeout: Option<Nanos>,
    pub(super) view: KeptView,
    pub(super) answers: Answers,
    /// The places of answers that are missing, and where they will be.
    pub(super) pending: SmallVec<[(usize, StoreAnswer); 1]>,
    pub(super) message: KeptMessage,
    /// How long it waits for them.
    pub(super) wait: Duration,
    pub(super) span: Option<CheckSpan>,
}

impl Asked {
    /// Waits for the answers, and decides by those that came in time.
    ///
    /// # Errors
    /// None that were not found when the check was read for the first time.
    pub(super) async fn decided(self, limiter: &Limiter) -> Result<Reply, RequestError> {
        let Self { worker, now, engine_now, timeout, view, mut answers, pending, message, wait, span } = self;
        let waiting = async {
            for (place, answer) in pending {
                if let Ok(outcome) = answer.wait().await {
                    answers.put(place, outcome);
                }
            }
        };
        // What came before the time is over is used.
        let _elapsed = tokio::time::timeout(wait, waiting).await;
        let mut check = Check { timeout, ..Check::default() };
        let read = read_into(&mut check, message.bytes());
        let view = limiter.kept_view(view);
        let reply = read.map(|()| {
            let decision = view.conclude(worker, now, engine_now, &check, &answers);
            reply(limiter, now, &check, &decision)
        });
        finish(limiter, worker, span, &check, reply)
    }
}
