//! The reply to a check that is decided.

use super::response::metadata;
use crate::api::rls::{RequestError, ResponseFrame, ResponseParts, write};
use crate::limiter::{Check, Code, Decision, Limiter, WorkerSlot};
use crate::telemetry::otlp::CheckSpan;
use crate::units::{Nanos, Timestamp};

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

/// The reply to a check with this decision.
pub(super) fn reply(limiter: &Limiter, now: Timestamp, check: &Check<'_>, decision: &Decision<'_>) -> Reply {
    let metadata = metadata::build(check, decision, limiter.settings().dynamic_metadata);
    let parts = ResponseParts::new(check, decision, limiter.settings(), now);
    Reply {
        frame: ResponseFrame::with_capacity(TYPICAL_BYTES, |out| write(out, decision, &parts, metadata.as_ref())),
        delay: decision.delay,
        code: decision.code,
        span: None,
    }
}

/// Counts a request that is decided, and adds the outcome to its span.
pub(super) fn finish(
    limiter: &Limiter,
    worker: WorkerSlot,
    span: Option<CheckSpan>,
    check: &Check<'_>,
    reply: Result<Reply, RequestError>,
) -> Result<Reply, RequestError> {
    limiter.usage().count_request(worker, reply.is_err());
    match span {
        None => reply,
        Some(span) => traced(span, check, reply),
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
