//! Percentiles of single decisions.

/// Durations, to compute percentiles of.
#[derive(Default)]
pub(crate) struct Latencies(Vec<u32>);

impl Latencies {
    pub(crate) fn add(&mut self, ns: u128) {
        self.0.push(u32::try_from(ns).unwrap_or(u32::MAX));
    }

    /// p50, p99, p99.9, p99.99 and the longest, in nanoseconds.
    pub(crate) fn percentiles(mut self) -> [u32; 5] {
        self.0.sort_unstable();
        let last = self.0.len() - 1;
        [0.5, 0.99, 0.999, 0.9999, 1.0].map(|share| self.0[(last as f64 * share) as usize])
    }
}
