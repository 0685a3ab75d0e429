//! Integers at their ends: no overflow, no drift, no allowance out of nowhere.

use proptest::prelude::*;
use tidegate::engine::{Algorithm, Op};
use tidegate::units::Timestamp;

use super::{CLOCK, Counter, FIRST, SECOND, bucket, limit};

const YEAR: u64 = 365 * 86_400 * SECOND;

fn algorithms() -> Vec<Algorithm> {
    let logs = Algorithm::SlidingLog;
    vec![CLOCK, FIRST, Algorithm::SlidingWindow, logs, bucket(1, 0), bucket(u32::MAX, 0), bucket(u32::MAX, u32::MAX)]
}

/// Steps through `script` at the ends of time and hits; never panics, never admits more than the limit within an instant.
#[test]
fn at_the_ends_of_every_range() {
    let times = [0, 1, SECOND, YEAR, u64::MAX / 2, u64::MAX - YEAR, u64::MAX - 2, u64::MAX - 1, u64::MAX];
    let hits = [0, 1, 2, u64::from(u32::MAX), u64::from(u32::MAX) + 1, u64::MAX - 1, u64::MAX];
    for algorithm in algorithms() {
        for max in [0, 1, 2, u32::MAX - 1, u32::MAX] {
            for window in [1, 2, 1_000_000, SECOND, YEAR, u64::MAX] {
                let limit = limit(max, window, algorithm);
                for now in times {
                    let mut counter = Counter::new(&limit);
                    let mut admitted = 0_u128;
                    for hits in hits.iter().chain(hits.iter().rev()) {
                        if counter.charge(&limit, now, *hits).admitted() {
                            admitted += u128::from(*hits);
                        }
                    }
                    let capacity = match algorithm {
                        Algorithm::TokenBucket { burst, queue } => u128::from(burst) + u128::from(queue.size),
                        _ => u128::from(max),
                    };
                    assert!(admitted <= capacity, "{limit:?} at {now}: {admitted} admitted");
                    counter.step(&limit, Timestamp::from_ns(now), Op::Refund(u64::MAX));
                }
            }
        }
    }
}

#[test]
fn one_a_year_is_one_a_year() {
    for algorithm in [CLOCK, FIRST, Algorithm::SlidingWindow, Algorithm::SlidingLog, bucket(1, 0)] {
        let limit = limit(1, YEAR, algorithm);
        let mut counter = Counter::new(&limit);
        let start = 54 * YEAR;
        assert!(counter.charge(&limit, start, 1).admitted());
        assert!(!counter.charge(&limit, start + YEAR - 1, 1).admitted(), "{algorithm:?}");
        let later = start + 2 * YEAR;
        assert!(counter.charge(&limit, later, 1).admitted(), "{algorithm:?}");
    }
}

#[test]
fn four_billion_a_millisecond_fill_and_no_more() {
    let window = 1_000_000;
    for algorithm in [CLOCK, FIRST, Algorithm::SlidingWindow, bucket(u32::MAX, 0)] {
        let limit = limit(u32::MAX, window, algorithm);
        let mut counter = Counter::new(&limit);
        let now = 1_700_000_000 * SECOND;
        assert_eq!(counter.charge(&limit, now, u64::from(u32::MAX) - 1).remaining, 1, "{algorithm:?}");
        assert!(counter.charge(&limit, now, 1).admitted());
        let denied = counter.charge(&limit, now, 1);
        assert!(!denied.admitted() && denied.reset.as_ns() <= 2 * window, "{algorithm:?}: {denied:?}");
    }
}

/// A clock that steps back opens no window and fills no bucket.
#[test]
fn a_clock_that_steps_back_admits_nothing_more() {
    for algorithm in [CLOCK, FIRST, Algorithm::SlidingWindow, Algorithm::SlidingLog, bucket(5, 0)] {
        let limit = limit(5, 60 * SECOND, algorithm);
        for back in [1, SECOND, 60 * SECOND, 3_600 * SECOND, 86_400 * SECOND] {
            let mut counter = Counter::new(&limit);
            let now = 1_700_000_000 * SECOND;
            assert!(counter.charge(&limit, now, 5).admitted());
            for then in [now - back, now - back / 2, now - 1, now] {
                assert!(!counter.charge(&limit, then, 1).admitted(), "{algorithm:?}, {back} ns back");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Whatever the limit, the times and the hits: no panic, and an outcome within its own bounds.
    #[test]
    fn nothing_overflows(
        max in any::<u32>(), window in 1_u64.., burst in 1_u32.., queue in any::<u32>(), which in 0_usize..5,
        script in prop::collection::vec((any::<u64>(), any::<u64>(), any::<bool>()), 1..20),
    ) {
        let algorithm = [CLOCK, FIRST, Algorithm::SlidingWindow, Algorithm::SlidingLog, bucket(burst, queue)][which];
        let limit = limit(max, window, algorithm);
        let mut counter = Counter::new(&limit);
        let full = if which == 4 { u64::from(burst) } else { u64::from(max) };
        for (now, hits, refund) in script {
            let op = if refund { Op::Refund(hits) } else { Op::Charge(hits) };
            let outcome = counter.step(&limit, Timestamp::from_ns(now), op);
            prop_assert!(outcome.remaining <= full, "{:?}", outcome);
        }
    }
}
