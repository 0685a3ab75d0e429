//! Refunds: at most up to the full allowance, never a new counter, always admitted.

use proptest::prelude::*;
use tidegate::engine::{Cell, Op};
use tidegate::units::Timestamp;

use super::{Counter, any_limit, any_script, instants};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// A charge given back at once is as if it had not been, for what remains.
    #[test]
    fn a_charge_given_back_at_once_is_forgotten(limit in any_limit(), script in any_script()) {
        let mut counter = Counter::new(&limit);
        for (now, hits) in instants(&limit, &script) {
            let before = counter.charge(&limit, now, 0);
            let charged = counter.charge(&limit, now, hits);
            let began_ban = limit.ban.is_some() && charged.remaining == 0;
            if charged.admitted() && !began_ban {
                let refund = counter.step(&limit, Timestamp::from_ns(now), Op::Refund(hits));
                prop_assert!(refund.admitted());
                prop_assert_eq!(refund.remaining, before.remaining, "{} hits at {}", hits, now);
            }
        }
    }

    #[test]
    fn a_refund_fills_up_but_never_over(limit in any_limit(), script in any_script(), refund in 0_u64..u64::MAX) {
        let mut counter = Counter::new(&limit);
        let fresh = Counter::new(&limit).charge(&limit, 1_700_000_000_000_000_000, 0).remaining;
        for (now, hits) in instants(&limit, &script) {
            counter.charge(&limit, now, hits);
            let outcome = counter.step(&limit, Timestamp::from_ns(now), Op::Refund(refund));
            prop_assert!(outcome.admitted() && outcome.remaining <= fresh, "{:?}", outcome);
        }
    }
}

#[test]
fn a_refund_creates_no_counter() {
    for limit in [super::CLOCK, super::FIRST, super::bucket(3, 2), tidegate::engine::Algorithm::SlidingWindow]
        .map(|algorithm| super::limit(5, super::SECOND, algorithm))
    {
        let (_, cell) = tidegate::engine::step(&limit, Cell::FRESH, Timestamp::from_ns(77), Op::Refund(3));
        assert_eq!(cell, Cell::FRESH, "{:?}", limit.algorithm);
    }
}
