//! Who sends when: arrivals at random instants, spread over replicas.

use rand::RngExt as _;
use rand::rngs::SmallRng;

/// How traffic is spread over replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spread {
    /// Evenly.
    Uniform,
    /// Nearly all of it on one replica.
    Sticky,
    /// On one replica, which is another one after each half of a window.
    Moving,
    /// By the rank of the replica.
    Zipf,
    /// On one replica until it has been granted a lease, then on the next one.
    Adversarial,
}

impl Spread {
    pub(crate) const ALL: [Self; 5] = [Self::Uniform, Self::Sticky, Self::Moving, Self::Zipf, Self::Adversarial];

    /// The replica that the next check comes to. `turn` counts half windows, `grants` the leases that were granted.
    pub(crate) fn pick(self, random: &mut SmallRng, replicas: usize, turn: u64, grants: u64) -> usize {
        let place = |number: u64| usize::try_from(number % replicas as u64).unwrap();
        match self {
            Self::Sticky if random.random_range(0..10) > 0 => 0,
            Self::Moving if random.random_range(0..10) > 0 => place(turn),
            Self::Uniform | Self::Sticky | Self::Moving => random.random_range(0..replicas),
            Self::Zipf => {
                let harmonic: f64 = (1..=replicas).map(|rank| 1.0 / rank as f64).sum();
                let mut at = random.random::<f64>() * harmonic;
                (0..replicas - 1)
                    .find(|rank| {
                        at -= 1.0 / (rank + 1) as f64;
                        at < 0.0
                    })
                    .unwrap_or(replicas - 1)
            }
            Self::Adversarial => place(grants),
        }
    }
}

/// The time until the next check, in nanoseconds, at so many per second.
pub(crate) fn gap_ns(random: &mut SmallRng, per_second: f64) -> u64 {
    let gap = -(1.0 - random.random::<f64>()).ln() / per_second;
    (gap * 1e9) as u64
}
