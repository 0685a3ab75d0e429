//! PURE: limits that would have denied at most a share of the requests that came: exactly, from a trace; within bounds, from sums
//! per minute, hour or day.
//!
//! ```text
//! checks of a trace --Traffic--> requests per limit and counter --exact--> a number for each share
//! sums per counter and bucket   --------------------------------sums---> the least and the most for each share
//!                                            both --LimitReport--> Snippet: a rules file with the numbers, and what they are based on
//! ```

mod exact;
mod peaks;
mod report;
mod requests;
mod search;
mod snippet;
mod sums;

#[cfg(test)]
mod tests;

pub use exact::{denied, from_requests};
pub use peaks::Peaks;
pub use report::{Basis, LimitReport, Suggested};
pub use requests::{CounterRequests, LimitRequests, Request, TooManyRequests, Traffic};
pub use search::{SHARES, Share};
pub use snippet::{RuleText, Snippet};
pub use sums::{CounterSums, Sum, SumsOf, from_sums};

use crate::engine::{Algorithm, Limit};

/// The limit with another number. A bucket whose size is its number follows it, as it does without `burst` in a rules file.
pub(crate) fn with_max(limit: &Limit, max: u32) -> Limit {
    let algorithm = match limit.algorithm {
        Algorithm::TokenBucket { burst, queue } if burst == limit.max.max(1) => {
            Algorithm::TokenBucket { burst: max.max(1), queue }
        }
        other => other,
    };
    Limit { max, algorithm, ..*limit }
}

/// The largest number that a limit can have.
pub(crate) fn largest(limit: &Limit) -> u32 {
    match limit.algorithm {
        // As the loader of rules has it.
        Algorithm::SlidingLog => 65_536,
        _ => u32::MAX,
    }
}
