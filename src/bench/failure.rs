//! Why a check has no answer.

use std::fmt;

/// Why a check has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failure {
    /// The server answered with this gRPC status, 1 to 16; 17 is any other.
    Grpc(u8),
    /// The server answered with an HTTP status other than 200.
    Http(u16),
    /// The server reset the stream with this HTTP/2 error code, 0 to 13; 14 is any other.
    Reset(u8),
    /// The server is going away, and did not process the check.
    GoingAway,
    /// The connection ended before the answer.
    ConnectionLost,
    /// The answer is not one of a rate limit service.
    Malformed,
    /// The answer is neither OK nor OVER_LIMIT.
    NoCode,
    /// There was no answer until the end of the run, and for some time after it.
    Unanswered,
    /// The check was due but never sent: the server was still busy with earlier ones, or not reachable.
    NeverSent,
}

impl Failure {
    /// The failure for a `grpc-status` that is not 0.
    pub(super) fn from_grpc_status(status: u16) -> Self {
        Self::Grpc(u8::try_from(status).unwrap_or(OTHER_GRPC).min(OTHER_GRPC))
    }

    /// The failure for a stream that was reset.
    pub(super) fn from_reset(code: u32) -> Self {
        Self::Reset(u8::try_from(code).unwrap_or(OTHER_RESET).min(OTHER_RESET))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grpc(status) => match GRPC.get(usize::from(*status)) {
                Some(name) => write!(f, "gRPC {name}"),
                None => f.write_str("unknown gRPC status"),
            },
            Self::Http(status) => write!(f, "HTTP {status}"),
            Self::Reset(code) => match RESETS.get(usize::from(*code)) {
                Some(name) => write!(f, "reset: {name}"),
                None => f.write_str("reset: unknown code"),
            },
            Self::GoingAway => f.write_str("server going away"),
            Self::ConnectionLost => f.write_str("connection lost"),
            Self::Malformed => f.write_str("malformed answer"),
            Self::NoCode => f.write_str("answer without a code"),
            Self::Unanswered => f.write_str("not answered"),
            Self::NeverSent => f.write_str("never sent"),
        }
    }
}

const OTHER_GRPC: u8 = 17;
const OTHER_RESET: u8 = 14;

const GRPC: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// RFC 9113, section 7.
const RESETS: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];
