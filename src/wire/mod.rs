//! The only place where wire types meet domain types; every bound on input is checked here.
//!
//! A request is read in place: [`read`] walks the protobuf message and borrows keys and values from the frame. An
//! answer is written straight into the response frame by [`write()`]. Both are held against the generated types of
//! [`proto`] in tests. Keys and values that are not UTF-8 are decoded lossily and limited like any other: an error
//! would let every such request pass a fail-open Envoy.

mod extras;
mod frame;
pub mod metadata;
mod overall;
mod protobuf;
mod read;
mod write;

pub mod json;
pub mod usage;

pub use extras::Extras;
pub use frame::{FrameCodec, RequestFrame, ResponseFrame, first_message, sole_message};
pub use overall::overall_code;
pub use read::{Refusal, read};
pub use write::write;

use crate::limiter::{Check, Code, Lane, Limiter, View};
use crate::units::{Nanos, Timestamp};

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
    read::read_into(&mut check, request)?;
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

/// Message types and clients, generated from `proto/`.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::pedantic)]
pub mod proto {
    /// Every descriptor of `proto/`, encoded; reflection serves it.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
    pub mod envoy {
        pub mod config {
            pub mod core {
                pub mod v3 {
                    tonic::include_proto!("envoy.config.core.v3");
                }
            }
        }
        pub mod extensions {
            pub mod common {
                pub mod ratelimit {
                    pub mod v3 {
                        tonic::include_proto!("envoy.extensions.common.ratelimit.v3");
                    }
                }
            }
        }
        pub mod r#type {
            pub mod v3 {
                tonic::include_proto!("envoy.r#type.v3");
            }
        }
        pub mod service {
            pub mod ratelimit {
                pub mod v3 {
                    tonic::include_proto!("envoy.service.ratelimit.v3");
                }
            }
        }
    }
    pub mod tidegate {
        pub mod v1 {
            tonic::include_proto!("tidegate.v1");
        }
    }
}

/// The generated server side of the usage service.
#[allow(unreachable_pub, unused_qualifications, clippy::all, clippy::pedantic)]
pub mod usage_service {
    include!(concat!(env!("OUT_DIR"), "/raw/tidegate.v1.UsageService.rs"));
}

/// The generated server side, over raw frames.
#[allow(unreachable_pub, unused_qualifications, clippy::all, clippy::pedantic)]
pub mod service {
    include!(concat!(env!("OUT_DIR"), "/raw_rate_limit_service.rs"));
}
