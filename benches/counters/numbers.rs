//! Rounds in turns, medians, spreads and percentiles.

use std::fmt;

/// Some measurements of one thing.
pub(crate) struct Spread(Vec<f64>);

impl Spread {
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    pub(crate) fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }

    /// Each measurement divided by the other's of the same turn.
    pub(crate) fn ratio(of: &[f64], to: &[f64]) -> Self {
        Self::of(of.iter().zip(to).map(|(of, to)| of / to).collect())
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = (self.0[0], self.0[self.0.len() - 1]);
        let digits = if self.median() < 10.0 { 2 } else { 0 };
        write!(f, "{:.digits$} ({least:.digits$} to {most:.digits$})", self.median())
    }
}

/// Measures several things in turns, so that what else the machine does meets them all. One list for each thing.
pub(crate) fn in_turns<const N: usize>(rounds: usize, mut measure: impl FnMut(usize) -> f64) -> [Vec<f64>; N] {
    let mut all = [const { Vec::new() }; N];
    for round in 0..rounds {
        for i in 0..N {
            // Each thing is first as often as last.
            let i = if round % 2 == 0 { i } else { N - 1 - i };
            all[i].push(measure(i));
        }
    }
    all
}

/// Lengths of time, to tell percentiles of.
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
