//! The only place where wire types meet domain types; every bound on input is checked here.

pub mod json;

use bytes::Bytes;

use crate::limiter::{Lane, Limiter};
use crate::units::{Nanos, Timestamp};

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
}

/// The generated server side, over raw frames.
#[allow(unreachable_pub, unused_qualifications, clippy::all, clippy::pedantic)]
pub mod service {
    include!(concat!(env!("OUT_DIR"), "/raw_rate_limit_service.rs"));
}

/// Decides about one encoded request.
///
/// # Errors
/// What the request lacks or exceeds, for [`Refusal::status`] to tell.
pub fn answer(limiter: &Limiter, lane: Lane, now: Timestamp, request: &[u8]) -> Result<Answer, Refusal> {
    let _ = (limiter, lane, now, request);
    Err(Refusal::NoConfiguration)
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

/// Why a request was not decided.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No configuration is loaded (yet).
    #[error("no rate limit configuration loaded")]
    NoConfiguration,
    /// The request names no domain.
    #[error("rate limit domain must not be empty")]
    EmptyDomain,
    /// The request has no descriptors.
    #[error("rate limit descriptor list must not be empty")]
    NoDescriptors,
    /// The request is not the protobuf message it should be.
    #[error("malformed request: {0}")]
    Malformed(&'static str),
    /// The request exceeds a bound.
    #[error("{what}: {got}, at most {max} are allowed")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        got: usize,
        /// How much is allowed.
        max: usize,
    },
}

impl Refusal {
    /// The gRPC status that tells the refusal.
    pub fn status(&self) -> tonic::Status {
        match self {
            Self::NoConfiguration => tonic::Status::unavailable(self.to_string()),
            _ => tonic::Status::invalid_argument(self.to_string()),
        }
    }
}

/// A request as it came, one protobuf message.
#[derive(Debug)]
pub struct RequestFrame(pub Bytes);

/// An answer, encoded.
#[derive(Debug)]
pub struct ResponseFrame(pub Bytes);

/// Takes frames in and out as they are: decoding borrows from the frame, encoding writes into it.
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameCodec;

impl tonic::codec::Codec for FrameCodec {
    type Encode = ResponseFrame;
    type Decode = RequestFrame;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl tonic::codec::Encoder for FrameCodec {
    type Item = ResponseFrame;
    type Error = tonic::Status;

    fn encode(&mut self, frame: ResponseFrame, out: &mut tonic::codec::EncodeBuf<'_>) -> Result<(), tonic::Status> {
        use bytes::BufMut;
        out.put(frame.0);
        Ok(())
    }
}

impl tonic::codec::Decoder for FrameCodec {
    type Item = RequestFrame;
    type Error = tonic::Status;

    fn decode(&mut self, frame: &mut tonic::codec::DecodeBuf<'_>) -> Result<Option<RequestFrame>, tonic::Status> {
        use bytes::Buf;
        Ok(Some(RequestFrame(frame.copy_to_bytes(frame.remaining()))))
    }
}
