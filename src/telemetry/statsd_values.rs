//! A statsd in a snapshot of the metrics.

/// How pushing to a statsd goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct StatsdValues {
    /// Flushes that were sent as a whole.
    pub flushes: u64,
    /// Flushes that were not, or not as a whole.
    pub failures: u64,
}
