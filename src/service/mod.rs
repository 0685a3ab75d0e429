//! The path of a check, independent of its transport: read, decide, write.
//!
//! A front end takes a [`Batch`] from its [`Service`] for the checks that arrived together, and passes each encoded check to
//! [`Batch::decide`] with its [`Call`]. The [`Reply`] is settled ([`Service::settle`]) before it is sent. No types of HTTP or
//! gRPC are used here.

mod batch;
mod delayed;
pub mod response;

pub use batch::{Batch, Call, Reply};
pub use delayed::{DelayedReplies, ShuttingDown};

use std::sync::Arc;

use crate::api::rls::ResponseFrame;
use crate::limiter::{Limiter, WorkerSlot};
use crate::recording::Recordings;
use crate::runtime::clock::Clock;
use crate::runtime::lifecycle::Phases;
use crate::telemetry::DecisionTimes;
use crate::telemetry::otlp::CheckTracer;

/// Decides the checks of one worker.
///
/// Each worker has its own clone behind one `Arc`, so that cores do not share its reference count.
#[derive(Clone, Debug)]
pub struct Service {
    /// The limiter that decides.
    pub limiter: Arc<Limiter>,
    /// The clock of the process.
    pub clock: Arc<Clock>,
    /// The slot of the worker.
    pub worker: WorkerSlot,
    /// Decides which checks are traced; `None`: no check is.
    pub tracer: Option<CheckTracer>,
    /// The delayed replies of all workers.
    pub delayed: DelayedReplies,
    /// The phase of the process.
    pub phases: Phases,
    /// How long decisions take.
    pub times: Arc<DecisionTimes>,
    /// The recordings of checks.
    pub recordings: Arc<Recordings>,
}

impl Service {
    /// The instant and the configuration for checks that arrived together.
    pub fn batch(&self) -> Batch<'_> {
        Batch::for_service(self)
    }

    /// Whether checks may be traced: if not, front ends need not read the headers of traces.
    pub fn is_traced(&self) -> bool {
        self.tracer.is_some()
    }

    /// Waits for the delay of the reply, and ends its span.
    ///
    /// Do not keep the request meanwhile: it may be 4 MiB, and a quarter of a million replies may wait.
    ///
    /// # Errors
    /// The process stops before that.
    pub async fn settle(&self, reply: Reply) -> Result<ResponseFrame, ShuttingDown> {
        let Reply { frame, delay, span, .. } = reply;
        if !delay.is_zero() {
            self.delayed.delay(delay, self.phases.clone()).await?;
        }
        drop(span);
        Ok(frame)
    }
}
