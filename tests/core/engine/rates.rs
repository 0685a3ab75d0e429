//! A bucket whose rate changes keeps the hits that it lacks.

#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]

use proptest::prelude::*;
use tidegate::engine::{Limit, Op};
use tidegate::units::{Nanos, Timestamp};

use super::{Counter, SECOND, bucket, limit};

/// Any rate from one a day to a million a second.
fn any_rate() -> impl Strategy<Value = (u32, u64)> {
    let windows = [SECOND, 60 * SECOND, 3_600 * SECOND, 86_400 * SECOND];
    (1_u32..1_000_000, prop::sample::select(windows.to_vec()))
}

fn with_rate((max, window_ns): (u32, u64), burst: u32) -> Limit {
    Limit { window: Nanos::from_ns(window_ns), ..limit(max, window_ns, bucket(burst, 0)) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Exactly, when nothing has come back yet.
    #[test]
    fn whole_missing_hits_stay_whole(before in any_rate(), after in any_rate(), burst in 1_u32..1_000_000, share in 0.0..1.0) {
        let (before, after) = (with_rate(before, burst), with_rate(after, burst));
        let spent = ((f64::from(burst) * share) as u64).max(1);
        let now = Timestamp::from_ns(1_700_000_000 * SECOND);
        let mut counter = Counter::new(&before);
        prop_assert!(counter.step(&before, now, Op::Charge(spent)).admitted());
        let looked = counter.step(&after, now, Op::Charge(0));
        prop_assert_eq!(looked.remaining, u64::from(burst) - spent);
        let interval = (u128::from(after.window.as_ns()) * u128::from(spent)).div_ceil(after.max.into());
        prop_assert_eq!(u128::from(looked.reset.as_ns()), interval);
        // Brought up to date by that look, it is the same again.
        prop_assert_eq!(counter.step(&after, now, Op::Charge(0)), looked);
    }

    /// To one part in eight million, whenever it is; and a raised rate lengthens no wait.
    #[test]
    fn part_of_a_hit_stays_part_of_a_hit(before in any_rate(), after in any_rate(), spent in 1_u32..1_000, idle in 0.0..1.0) {
        let (before, after) = (with_rate(before, 1_000), with_rate(after, 1_000));
        let start = 1_700_000_000 * SECOND;
        let mut counter = Counter::new(&before);
        let wait = counter.charge(&before, start, u64::from(spent)).reset.as_ns();
        let now = start + (wait as f64 * idle) as u64;
        let of = |limit: &Limit, wait: u64| wait as f64 * f64::from(limit.max) / limit.window.as_ns() as f64;
        let left = counter.charge(&before, now, 0).reset.as_ns();
        let kept = counter.charge(&after, now, 0).reset.as_ns();
        let (missing, missing_after) = (of(&before, left), of(&after, kept));
        // What a nanosecond is worth at either rate.
        let unsure = of(&before, 2) + of(&after, 2) + missing / 4e6;
        prop_assert!((missing - missing_after).abs() <= unsure, "{} missing, then {}", missing, missing_after);
        if of(&after, 1) >= of(&before, 1) {
            prop_assert!(kept <= left, "{} ns, then {} ns", left, kept);
        }
    }
}
