//! One check as it was recorded.

use crate::api::rls;
use crate::limiter::Check;
use crate::units::{Nanos, Timestamp};

/// One recorded check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedCheck {
    /// The instant at which it was decided.
    pub at: Timestamp,
    /// How long its caller waited for the reply at most; `None`: without a limit.
    pub timeout: Option<Nanos>,
    /// The encoded `RateLimitRequest`.
    pub(super) message: Box<[u8]>,
}

impl RecordedCheck {
    /// The check; `None` for a message that is none, which is never recorded.
    pub fn check(&self) -> Option<Check<'_>> {
        let check = rls::read(&self.message).ok()?;
        Some(Check { timeout: self.timeout, ..check })
    }
}
