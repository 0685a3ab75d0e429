//! How a limiter answers, beyond its configuration.

use crate::store::WhenFull;

/// What is not in the configuration but decides how a limiter answers.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Every check passes; statuses still report what would have been denied.
    pub shadow_mode: bool,
    /// Every descriptor is a quota descriptor: a check is denied only when all of them are over.
    pub quota_mode: bool,
    /// Answers carry `dynamic_metadata`.
    pub dynamic_metadata: bool,
    /// Bytes that counters may take.
    pub counter_budget_bytes: usize,
    /// What happens to new counters beyond that.
    pub when_full: WhenFull,
    /// Workers with statistics of their own.
    pub workers: usize,
    /// Counters tracked individually.
    pub usage_series: u32,
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
        }
    }
}
