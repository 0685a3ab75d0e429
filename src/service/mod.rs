//! What a check goes through, whatever carried it: read, decide, write.
//!
//! A front end asks its [`Service`] for a [`Batch`], one for the checks that arrived together, and hands each encoded check
//! to [`Batch::decide`] with what it knows about the [`Call`]. The [`Reply`] is settled ([`Service::settle`]) before it is
//! sent. No type of HTTP or gRPC comes in here.

mod batch;
mod delayed;
pub mod response;

pub use batch::{Batch, Call, Reply};
pub use delayed::{DelayedReplies, ShuttingDown};

use std::sync::Arc;

use crate::api::rls::ResponseFrame;
use crate::limiter::{Limiter, WorkerSlot};
use crate::runtime::clock::Clock;
use crate::runtime::lifecycle::Phases;
use crate::telemetry::DecisionTimes;
use crate::telemetry::otlp::CheckTracer;

/// Decides about the checks of one worker.
///
/// Each worker has its own clone behind one `Arc`, so that cores do not share its reference count.
#[derive(Clone, Debug)]
pub struct Service {
    /// Decides.
    pub limiter: Arc<Limiter>,
    /// The clock.
    pub clock: Arc<Clock>,
    /// The slot of the worker.
    pub worker: WorkerSlot,
    /// Which checks are traced; `None`: none is.
    pub tracer: Option<CheckTracer>,
    /// The delayed replies of all workers.
    pub delayed: DelayedReplies,
    /// The phase of the process.
    pub phases: Phases,
    /// How long decisions take.
    pub times: Arc<DecisionTimes>,
}

impl Service {
    /// What checks that arrived together are decided by: one instant and one configuration.
    pub fn batch(&self) -> Batch<'_> {
        Batch::of_service(self)
    }

    /// Whether checks may be traced: a caller that is asked for no trace need not look for its headers.
    pub fn is_traced(&self) -> bool {
        self.tracer.is_some()
    }

    /// Waits as long as the reply is to be delayed, and ends its span.
    ///
    /// The request should not be kept meanwhile: it may be 4 MiB, and a quarter of a million replies may wait.
    ///
    /// # Errors
    /// When the process stops before that.
    pub async fn settle(&self, reply: Reply) -> Result<ResponseFrame, ShuttingDown> {
        let Reply { frame, delay, span, .. } = reply;
        if !delay.is_zero() {
            self.delayed.delay(delay, self.phases.clone()).await?;
        }
        drop(span);
        Ok(frame)
    }
}
