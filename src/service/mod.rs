//! What a check goes through, whatever carried it: read, decide, write.

mod held;
pub mod response;

pub use held::Held;

use crate::api::rls::{self, Extras, Refusal, ResponseFrame, write};

use crate::limiter::{Check, Code, Lane, Limiter, View};
use crate::units::{Nanos, Timestamp};
use response::metadata;

/// Decides about one encoded request.
///
/// # Errors
/// What the request lacks or exceeds, for [`Refusal::status`] to tell.
pub fn answer(limiter: &Limiter, lane: Lane, now: Timestamp, request: &[u8]) -> Result<Answer, Refusal> {
    answer_within(limiter, lane, now, request, None)
}

/// Decides about one encoded request of a caller that waits no longer than `patience` for an answer that is held.
///
/// # Errors
/// As [`answer`].
pub fn answer_within(
    limiter: &Limiter,
    lane: Lane,
    now: Timestamp,
    request: &[u8],
    patience: Option<Nanos>,
) -> Result<Answer, Refusal> {
    answer_by(limiter, limiter.view().as_ref(), lane, now, request, patience)
}

/// As [`answer_within`], by a view of `limiter` that the caller took for a batch of requests.
///
/// # Errors
/// As [`answer`].
pub fn answer_by(
    limiter: &Limiter,
    view: Option<&View<'_>>,
    lane: Lane,
    now: Timestamp,
    request: &[u8],
    patience: Option<Nanos>,
) -> Result<Answer, Refusal> {
    let answer = decide(limiter, view, lane, now, request, patience);
    limiter.usage().count_request(lane, answer.is_err());
    answer
}

fn decide(
    limiter: &Limiter,
    view: Option<&View<'_>>,
    lane: Lane,
    now: Timestamp,
    request: &[u8],
    patience: Option<Nanos>,
) -> Result<Answer, Refusal> {
    let mut check = Check { patience, ..Check::default() };
    rls::read_into(&mut check, request)?;
    let view = view.ok_or(Refusal::NoConfiguration)?;
    let decision = view.check(lane, now, &check);
    let metadata = metadata::of(&check, &decision, limiter.settings().dynamic_metadata);
    let extras = Extras::of(&check, &decision, now, limiter.settings().quota_mode);
    Ok(Answer {
        frame: ResponseFrame::of(TYPICAL_BYTES, |out| write(out, &decision, &extras, metadata.as_ref())),
        hold: decision.hold,
        over_limit: decision.code == Code::OverLimit,
    })
}

/// An answer, and when to give it.
#[derive(Debug)]
pub struct Answer {
    /// The encoded `RateLimitResponse`.
    pub frame: ResponseFrame,
    /// How long the answer is to be held: the hits wait in a queue.
    pub hold: Nanos,
    /// Whether the overall code is OVER_LIMIT.
    pub over_limit: bool,
}

/// An answer to three descriptors takes about 60 bytes.
const TYPICAL_BYTES: usize = 128;
