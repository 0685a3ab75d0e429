//! What went wrong with a request, and what may be done about it.

use redis::{ErrorKind, RedisError, ServerError};

/// Why a request has no usable reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// There is no connection: nothing was sent.
    #[error("cannot connect: {0}")]
    Unreachable(String),
    /// The connection ended after the request was sent: it may have been executed.
    #[error("the connection was lost; the request may have been executed")]
    Lost,
    /// No reply in time: the request may have been executed, and a late reply may follow.
    #[error("no reply in time")]
    Timeout,
    /// As many requests are under way as are allowed: nothing was sent.
    #[error("too many requests are under way")]
    Busy,
    /// The node rejected the request: it was not executed.
    #[error("{code}: {detail}")]
    Rejected {
        /// The first word of the reply.
        code: String,
        /// The rest.
        detail: String,
    },
    /// The breaker of the node is open, or there is no node for the key: nothing was sent.
    #[error("the node is down")]
    Down,
    /// The reply is not that of the script.
    #[error("the reply cannot be read")]
    Malformed,
}

/// What follows from an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The node cannot serve now: its breaker opens at once.
    OpenBreaker,
    /// Another node has the counters: read the topology, and send the request once more.
    FollowTopology,
    /// The script is not known: send it whole, once.
    SendScript,
    /// It counts towards the timeouts after which the breaker opens. Never sent again.
    CountTimeout,
    /// The request fails, and nothing follows.
    Fail,
}

impl LinkError {
    /// What follows. Only what was certainly not executed is ever sent again.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Unreachable(_) | Self::Lost => Remedy::OpenBreaker,
            // The requests that are under way are late, too.
            Self::Timeout | Self::Busy => Remedy::CountTimeout,
            Self::Down | Self::Malformed => Remedy::Fail,
            Self::Rejected { code, .. } => match code.as_str() {
                "NOSCRIPT" => Remedy::SendScript,
                "READONLY" | "MOVED" | "ASK" => Remedy::FollowTopology,
                "LOADING" | "BUSY" | "CLUSTERDOWN" | "MASTERDOWN" | "TRYAGAIN" | "OOM" | "NOAUTH" | "WRONGPASS"
                | "NOPERM" => Remedy::OpenBreaker,
                _ => Remedy::Fail,
            },
        }
    }

    /// Whether the request was certainly not executed, so that what it said may be said again.
    pub fn was_not_executed(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Busy | Self::Down => true,
            Self::Lost | Self::Timeout | Self::Malformed => false,
            // A script that is not known, or fails on its way, may have begun.
            Self::Rejected { .. } => self.remedy() != Remedy::Fail,
        }
    }

    /// Whether another node answers this request, but not the next ones for the same slot.
    pub fn is_ask(&self) -> bool {
        matches!(self, Self::Rejected { code, .. } if code == "ASK")
    }

    /// The name in metrics: one of few.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Lost => "lost",
            Self::Timeout => "timeout",
            Self::Busy => "busy",
            Self::Down => "down",
            Self::Malformed => "malformed",
            Self::Rejected { code, .. } => {
                let known = NAMED_CODES.iter().find(|known| known.eq_ignore_ascii_case(code));
                known.copied().unwrap_or("other")
            }
        }
    }

    pub(super) fn rejected(error: &ServerError) -> Self {
        Self::Rejected { code: error.code().to_owned(), detail: error.details().unwrap_or_default().to_owned() }
    }
}

impl From<RedisError> for LinkError {
    fn from(error: RedisError) -> Self {
        match error.code() {
            Some(code) => {
                Self::Rejected { code: code.to_owned(), detail: error.detail().unwrap_or_default().to_owned() }
            }
            // What the library makes of any reply to AUTH that is an error.
            None if error.kind() == ErrorKind::AuthenticationFailed => {
                Self::Rejected { code: "WRONGPASS".to_owned(), detail: "the login was rejected".to_owned() }
            }
            None if error.is_connection_dropped() || error.is_io_error() => Self::Lost,
            None if error.is_timeout() => Self::Timeout,
            None => Self::Malformed,
        }
    }
}

/// The first words of replies that have a name in metrics.
const NAMED_CODES: [&str; 15] = [
    "noscript",
    "readonly",
    "moved",
    "ask",
    "loading",
    "busy",
    "clusterdown",
    "masterdown",
    "tryagain",
    "oom",
    "noauth",
    "wrongpass",
    "noperm",
    "wrongtype",
    "crossslot",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_not_executed_is_sent_again() {
        let rejected = |code: &str| LinkError::Rejected { code: code.to_owned(), detail: String::new() };
        for (error, expected) in [
            (LinkError::Timeout, Remedy::CountTimeout),
            (LinkError::Lost, Remedy::OpenBreaker),
            (LinkError::Unreachable(String::new()), Remedy::OpenBreaker),
            (LinkError::Busy, Remedy::CountTimeout),
            (LinkError::Down, Remedy::Fail),
            (rejected("NOSCRIPT"), Remedy::SendScript),
            (rejected("MOVED"), Remedy::FollowTopology),
            (rejected("READONLY"), Remedy::FollowTopology),
            (rejected("LOADING"), Remedy::OpenBreaker),
            (rejected("OOM"), Remedy::OpenBreaker),
            (rejected("WRONGPASS"), Remedy::OpenBreaker),
            (rejected("WRONGTYPE"), Remedy::Fail),
        ] {
            assert_eq!(error.remedy(), expected, "{error}");
        }
    }
}
