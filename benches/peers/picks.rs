//! The distribution of checks over counters.

use rand::RngExt;
use rand::rngs::SmallRng;

/// The distribution of checks over counters.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Picks {
    /// Always the same one.
    Hot,
    /// All equally likely.
    Uniform,
    /// The n-th in proportion to 1 / n.
    Zipf,
}

impl Picks {
    pub(crate) const ALL: [Self; 3] = [Self::Hot, Self::Uniform, Self::Zipf];

    /// The number of the next counter among `counters`.
    pub(crate) fn next(self, random: &mut SmallRng, counters: usize) -> usize {
        match self {
            Self::Hot => 0,
            Self::Uniform => random.random_range(0..counters),
            Self::Zipf => zipf(random, counters) - 1,
        }
    }
}

/// A number from 1 to `most`, by rejection: `e^(u ln(most + 1))`, rounded down, is n with a probability in proportion to
/// `ln(1 + 1 / n)`, which is nearly 1 / n; the difference is rejected. Exact, and without a table that would use the
/// processor's caches.
fn zipf(random: &mut SmallRng, most: usize) -> usize {
    loop {
        let n = (unit(random) * ((most + 1) as f64).ln()).exp().floor().clamp(1.0, most as f64);
        if unit(random) < std::f64::consts::LN_2 / (n * (1.0 / n).ln_1p()) {
            return n as usize;
        }
    }
}

/// From 0 to below 1.
fn unit(random: &mut SmallRng) -> f64 {
    const STEPS: usize = 1 << 53;
    random.random_range(0..STEPS) as f64 / STEPS as f64
}
