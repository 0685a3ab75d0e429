//! Replicas that hoard: they never give a lease back by themselves, and come back when the counter has recovered.

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng};
use tidegate::engine::{Algorithm, Limit};
use tidegate::units::Timestamp;

use super::ledger::Ledger;
use super::slow::Replicas;
use super::{CLOCK, FIRST_REQUEST, bucket, limit, times};

/// Floods at one replica after the other, with pauses of any length; returns the hits above the limit, and those in hand at the
/// beginning of a flood.
fn flood(limit: &Limit, seed: u64) -> (u64, u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut fleet = Replicas::new(limit, 3);
    let mut micros = 1_800_000_000_000_000;
    let (mut ledger, mut hoarded) = (Ledger::new(limit, micros * 1_000), 0);
    for _ in 0..60 {
        micros += random.random_range(0..limit.window.as_ns() / 1_000);
        let replica = random.random_range(0..3);
        hoarded += fleet.held(replica);
        for _ in 0..random.random_range(1..limit.max) {
            micros += random.random_range(0..100);
            let at = Timestamp::from_ns(micros * 1_000);
            if fleet.charge(replica, 1, at) {
                ledger.admit(fleet.window(replica), at.as_ns(), 1);
            }
        }
        if random.random_range(0..8) == 0 {
            fleet.drain(replica, Timestamp::from_ns(micros * 1_000));
        }
    }
    (ledger.excess(), hoarded)
}

#[test]
fn what_is_hoarded_is_not_granted_again() {
    let mut hoarded = [0; 4];
    for seed in 0..20 * times() {
        let algorithms = [CLOCK, FIRST_REQUEST, Algorithm::SlidingWindow, bucket(400)];
        for (place, algorithm) in algorithms.into_iter().enumerate() {
            let limit = limit(400, 1_000, algorithm);
            let (excess, held) = flood(&limit, seed);
            assert_eq!(excess, 0, "seed {seed}: {limit:?}");
            hoarded[place] += held;
        }
    }
    assert!(hoarded.iter().all(|held| *held > 100), "{hoarded:?}");
}
