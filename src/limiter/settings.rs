//! Settings of a limiter.

use crate::rules::HeaderFamily;
use crate::store::WhenFull;

/// Settings that are not in the rules.
#[allow(clippy::struct_excessive_bools)] // They are switches, each on its own.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Every check is admitted; statuses still report what would have been denied.
    pub shadow_mode: bool,
    /// Every descriptor is a quota descriptor: a check is denied only when all of them are over.
    pub quota_mode: bool,
    /// Answers carry `dynamic_metadata`.
    pub dynamic_metadata: bool,
    /// The memory budget of counters, in bytes.
    pub counter_budget_bytes: usize,
    /// What happens to new counters when it is exhausted.
    pub when_full: WhenFull,
    /// The number of workers, each with its own statistics.
    pub workers: usize,
    /// The maximum number of counters tracked individually.
    pub usage_series: u32,
    /// Checks are counted in the usage. Those of a candidate are not.
    pub counts_usage: bool,
    /// The share of a limit from which on hits are near it.
    pub near_limit_ratio: f32,
    /// The headers of answers for domains that configure neither headers nor a body.
    pub headers: &'static [HeaderFamily],
    /// The names of the headers of `draft_03`: limit, remaining and reset.
    pub draft_03_names: [&'static str; 3],
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            shadow_mode: false,
            quota_mode: false,
            dynamic_metadata: false,
            counter_budget_bytes: 1 << 30,
            when_full: WhenFull::Deny,
            workers: 1,
            usage_series: 0,
            counts_usage: true,
            near_limit_ratio: NEAR_LIMIT_RATIO,
            headers: &[],
            draft_03_names: DRAFT_03_NAMES,
        }
    }
}

/// As `NEAR_LIMIT_RATIO` of the reference.
pub const NEAR_LIMIT_RATIO: f32 = 0.8;
/// As in the draft.
pub const DRAFT_03_NAMES: [&str; 3] = ["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"];
