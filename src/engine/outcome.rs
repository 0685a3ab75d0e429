//! Operations on a counter, and their outcomes.

use crate::units::Nanos;

/// An operation on a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Spend that many hits if the limit allows; 0 reads the counter and changes nothing.
    Charge(u64),
    /// Refund that many hits, at most up to the full allowance. Always admitted, never creates a counter.
    Refund(u64),
}

/// The outcome of one [`Op`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Admitted or denied.
    pub verdict: Verdict,
    /// Hits that count now, before this operation.
    pub before: u64,
    /// Hits that would count had the operation been admitted (for a refund: that count afterwards).
    pub after: u64,
    /// Hits that could be spent right now, after this operation.
    pub remaining: u64,
    /// When denied: the time until the same operation can succeed if there are no other hits. When admitted: the time until the
    /// counter next regains allowance that it lacks.
    pub reset: Nanos,
}

/// Admitted or denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The limit allows it, after `delay` in the queue (nearly always zero).
    Admitted {
        /// How long the hits wait in the queue.
        delay: Nanos,
    },
    /// The limit does not allow it.
    Denied(Reason),
}

/// Why a limit does not allow an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Too many hits.
    OverLimit,
    /// A ban runs.
    Banned,
    /// Too many hits, including those that wait in the queue.
    QueueFull,
    /// The store's capacity for counters is exhausted.
    NoRoom,
    /// The store of shared counters does not answer, and is configured to deny then.
    StoreDown,
}

impl Reason {
    /// Its name in logs and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OverLimit => "over_limit",
            Self::Banned => "banned",
            Self::QueueFull => "queue_full",
            Self::NoRoom => "no_room",
            Self::StoreDown => "store_down",
        }
    }
}

impl Verdict {
    /// Admitted without a delay.
    pub const ADMITTED: Self = Self::Admitted { delay: Nanos::ZERO };
}

impl Outcome {
    /// Whether the operation was admitted.
    pub const fn admitted(&self) -> bool {
        matches!(self.verdict, Verdict::Admitted { .. })
    }

    /// How long the hits wait in the queue; zero when denied.
    pub const fn delay(&self) -> Nanos {
        match self.verdict {
            Verdict::Admitted { delay } => delay,
            Verdict::Denied(_) => Nanos::ZERO,
        }
    }
}
