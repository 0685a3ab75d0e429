//! Leases in a simulated fleet: what `docs/SHARING.md` promises, with printed seeds.
//!
//! `TIDEGATE_LONG_SIMULATION=N` runs N times as many seeds; `UPDATE_DOCS=1` writes the table of the documentation again.
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates and percentages of counts far below 2^53"
)]

mod edges;
mod fleet;
mod hoard;
mod joint;
mod ledger;
mod slow;
mod small;
mod table;
mod traffic;
mod used_up;

use std::env;

use fleet::{Fleet, Setup};
use tidegate::engine::{Algorithm, CountDenied, Limit, Queue, QueueMode, Starts, WhenDown};
use tidegate::units::Nanos;
use traffic::Spread;

const CLOCK: Algorithm = Algorithm::FixedWindow { starts: Starts::Clock };
const FIRST_REQUEST: Algorithm = Algorithm::FixedWindow { starts: Starts::FirstRequest };

const fn bucket(burst: u32) -> Algorithm {
    Algorithm::TokenBucket { burst, queue: Queue { size: 0, mode: QueueMode::Hold } }
}

fn limit(max: u32, period_ms: u64, algorithm: Algorithm) -> Limit {
    let is_clock = algorithm == CLOCK;
    let count_denied = if is_clock { CountDenied::Alone } else { CountDenied::Never };
    Limit { max, window: Nanos::from_ns(period_ms * 1_000_000), algorithm, ban: None, count_denied }
}

/// How many times as many seeds as in the suite.
fn times() -> u64 {
    env::var("TIDEGATE_LONG_SIMULATION").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

#[test]
fn whatever_happens_no_limit_admits_more() {
    let (mut exhausted, mut late) = (0, 0);
    for seed in 0..60 * times() {
        let place = |of: usize, part: u64| usize::try_from(seed / part).unwrap() % of;
        let replicas = [2, 3, 7, 20, 50][place(5, 1)];
        let load = [0.9, 1.2, 3.0][place(3, 4)];
        let spread = Spread::ALL[place(5, 2)];
        let (max, period_ms) = [(6_000, 1_000), (300, 100), (2_000, 2_000)][place(3, 1)];
        let burst = max.max(100 * replicas);
        let algorithm = [CLOCK, FIRST_REQUEST, Algorithm::SlidingWindow, bucket(burst)][place(4, 1)];
        let setup = Setup {
            hits: [1, 9][place(2, 3)],
            lost: [0, 20][place(2, 5)],
            late: [0, 50][place(2, 7)],
            crashes: 3,
            pulses: place(2, 1) == 1 || place(3, 1) == 2,
            ..Setup::new(limit(max, period_ms, algorithm), replicas, spread, load, 5, seed)
        };
        let mut ledger = Fleet::run(setup);
        assert_eq!(ledger.excess(), 0, "{setup:?}");
        assert!(ledger.all_admitted() > u64::from(max), "{setup:?}: {ledger:?}");
        exhausted += ledger.exhausted();
        late += ledger.kept_late;
    }
    assert!(exhausted > 50, "limits are reached: {exhausted}");
    assert!(late > 0, "late answers are kept");
}

#[test]
fn buckets_keep_their_rate() {
    for (burst, replicas) in [(1_000, 2), (1_000, 10), (10_000, 50)] {
        for spread in [Spread::Uniform, Spread::Sticky, Spread::Moving, Spread::Zipf] {
            let limit = limit(burst, 1_000, bucket(burst));
            let lacks = |windows| {
                let mut ledger = Fleet::run(Setup::new(limit, replicas, spread, 1.5, windows, 7));
                assert_eq!(ledger.excess(), 0);
                (ledger.possible as f64 - ledger.all_admitted() as f64) / f64::from(burst)
            };
            let (early, later) = (lacks(4), lacks(8));
            assert!(early < 0.8, "{burst}, {replicas}, {spread:?}: {early} of the burst are held back");
            // Of four periods, less than 5 %.
            assert!(later - early < 0.2, "{burst}, {replicas}, {spread:?}: the rate is not kept: {early}, {later}");
        }
    }
}

#[test]
fn an_outage_admits_one_limit_more_where_it_begins_and_ends() {
    for seed in 0..4 * times() {
        let window = 1_000_000_000;
        let (from, to) = (window * 5 / 2, window * 11 / 2);
        let setup = Setup {
            outage: Some((from, to)),
            when_down: WhenDown::Local,
            ..Setup::new(limit(1_000, 1_000, CLOCK), 10, Spread::Uniform, 2.0, 8, seed)
        };
        let ledger = Fleet::run(setup);
        let most = |begin: u64, end: u64| ledger.most_admitted(fleet::START + begin, fleet::START + end);
        // The windows before, that in which it begins, those within, that in which it ends, and those after.
        let parts = [(0, 2), (2, 3), (3, 5), (5, 6), (6, 8)].map(|(from, to)| most(window * from, window * to));
        let bounds = [1_000, 2_000, 1_000, 2_000, 1_000];
        assert!(parts.iter().zip(bounds).all(|(found, bound)| *found <= bound), "{setup:?}: {parts:?}");
        assert!(parts.iter().all(|found| *found >= 900), "{setup:?}: it goes on: {parts:?}");
    }
}
