//! What a check goes through, whatever carried it: read, decide, write.

mod delayed;
pub mod response;

pub use delayed::DelayedReplies;

use crate::api::rls::{self, RequestError, ResponseFrame, ResponseParts, write};

use crate::limiter::{Check, Code, Limiter, View, WorkerSlot};
use crate::units::{Nanos, Timestamp};
use response::metadata;

/// Decides about one encoded request.
///
/// # Errors
/// What the request lacks or exceeds, for [`RequestError::status`] to tell.
pub fn answer(limiter: &Limiter, worker: WorkerSlot, now: Timestamp, request: &[u8]) -> Result<Answer, RequestError> {
    answer_within(limiter, worker, now, request, None)
}

/// Decides about one encoded request of a caller that waits no longer than `timeout` for a delayed reply.
///
/// # Errors
/// As [`answer`].
pub fn answer_within(
    limiter: &Limiter,
    worker: WorkerSlot,
    now: Timestamp,
    request: &[u8],
    timeout: Option<Nanos>,
) -> Result<Answer, RequestError> {
    answer_by(limiter, limiter.view().as_ref(), worker, now, request, timeout)
}

/// As [`answer_within`], by a view of `limiter` that the caller took for a batch of requests.
///
/// # Errors
/// As [`answer`].
pub fn answer_by(
    limiter: &Limiter,
    view: Option<&View<'_>>,
    worker: WorkerSlot,
    now: Timestamp,
    request: &[u8],
    timeout: Option<Nanos>,
) -> Result<Answer, RequestError> {
    let answer = decide(limiter, view, worker, now, request, timeout);
    limiter.usage().count_request(worker, answer.is_err());
    answer
}

fn decide(
    limiter: &Limiter,
    view: Option<&View<'_>>,
    worker: WorkerSlot,
    now: Timestamp,
    request: &[u8],
    timeout: Option<Nanos>,
) -> Result<Answer, RequestError> {
    let mut check = Check { timeout, ..Check::default() };
    rls::read_into(&mut check, request)?;
    let view = view.ok_or(RequestError::NoConfiguration)?;
    let decision = view.check(worker, now, &check);
    let metadata = metadata::build(&check, &decision, limiter.settings().dynamic_metadata);
    let parts = ResponseParts::new(&check, &decision, now, limiter.settings().quota_mode);
    Ok(Answer {
        frame: ResponseFrame::with_capacity(TYPICAL_BYTES, |out| write(out, &decision, &parts, metadata.as_ref())),
        delay: decision.delay,
        over_limit: decision.code == Code::OverLimit,
    })
}

/// An answer, and when to give it.
#[derive(Debug)]
pub struct Answer {
    /// The encoded `RateLimitResponse`.
    pub frame: ResponseFrame,
    /// How long the answer is to be held: the hits wait in a queue.
    pub delay: Nanos,
    /// Whether the overall code is OVER_LIMIT.
    pub over_limit: bool,
}

/// An answer to three descriptors takes about 60 bytes.
const TYPICAL_BYTES: usize = 128;
