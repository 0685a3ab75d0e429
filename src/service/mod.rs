//! The path of a check, independent of its transport: read, decide, write.
//!
//! A front end takes a [`Batch`] from its [`Service`] for the checks that arrived together, and passes each encoded check to
//! [`Batch::decide`] with its [`Call`]. The [`Reply`] is settled ([`Service::settle`]) before it is sent. No types of HTTP or
//! gRPC are used here.

mod asked;
mod batch;
mod delayed;
mod reply;
pub mod response;

pub use asked::Asked;
pub(crate) use asked::Trying;
pub use batch::{Answer, Arrived, Batch, Call};
pub use delayed::{DelayedReplies, ShuttingDown};
pub use reply::Reply;

use std::sync::Arc;

use crate::api::rls::{RequestError, ResponseFrame};
use crate::limiter::{Code, Limiter, WorkerSlot};
use crate::recording::Recordings;
use crate::runtime::clock::Clock;
use crate::runtime::lifecycle::Phases;
use crate::sharing::Asker;
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
    /// Asks the store of shared counters for the checks of this worker; `None`: counters are those of this process.
    pub asker: Option<Arc<Asker>>,
}

/// A reply that is due.
#[derive(Debug)]
pub struct Settled {
    /// The overall code.
    pub code: Code,
    /// The encoded `RateLimitResponse`.
    pub frame: ResponseFrame,
}

/// Why a check has no reply.
#[derive(Debug, thiserror::Error)]
pub enum Unsettled {
    /// The process stops before it is due.
    #[error(transparent)]
    ShuttingDown(#[from] ShuttingDown),
    /// The check cannot be decided.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl Service {
    /// The same for another worker.
    pub(crate) fn of_worker(&self, worker: WorkerSlot) -> Self {
        // Its connections to the store are its own.
        let asker = self.asker.as_ref().map(|asker| Asker::new(Arc::clone(asker.store())));
        Self { worker, asker, ..self.clone() }
    }

    /// The instant and the configuration for checks that arrived together.
    pub fn batch(&self) -> Batch<'_> {
        Batch::for_service(self)
    }

    /// Whether checks may be traced: if not, front ends need not read the headers of traces.
    pub fn is_traced(&self) -> bool {
        self.tracer.is_some()
    }

    /// Waits for the answers of the store and the delay of the reply, and ends its span.
    ///
    /// Do not keep the request meanwhile: it may be 4 MiB, and a quarter of a million replies may wait.
    ///
    /// # Errors
    /// The process stops before that, or the check cannot be decided.
    pub async fn settle(&self, answer: Answer) -> Result<Settled, Unsettled> {
        let reply = match answer {
            Answer::Reply(reply) => reply,
            Answer::Asked(asked) => {
                let wait = asked.until().since(self.clock.now());
                asked.decided(&self.limiter, wait).await?
            }
        };
        let Reply { frame, delay, span, code } = reply;
        if !delay.is_zero() {
            self.delayed.delay(delay, self.phases.clone()).await?;
        }
        drop(span);
        Ok(Settled { code, frame })
    }
}
