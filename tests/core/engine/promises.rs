//! What an outcome promises comes true, to the nanosecond.

use proptest::prelude::*;
use tidegate::engine::{Algorithm, Limit, Op, Reason, Verdict};
use tidegate::units::Timestamp;

use super::{Counter, SECOND, any_limit, any_script, bucket, instants, limit};

/// Whether the same charge could ever succeed.
fn can_fit(limit: &Limit, hits: u64) -> bool {
    match limit.algorithm {
        Algorithm::TokenBucket { burst, queue } => limit.max > 0 && hits <= u64::from(burst) + u64::from(queue.size),
        _ => hits <= u64::from(limit.max),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Just before `reset` a denied charge still fails, at it it passes.
    #[test]
    fn a_denied_charge_passes_exactly_at_its_reset(limit in any_limit(), script in any_script()) {
        let mut counter = Counter::new(&limit);
        for (now, hits) in instants(&limit, &script) {
            let outcome = counter.charge(&limit, now, hits);
            if outcome.admitted() || !can_fit(&limit, hits) {
                continue;
            }
            let reset = outcome.reset.as_ns();
            prop_assert!(reset > 0, "denied {} hits at {} with nothing to wait for: {:?}", hits, now, outcome);
            let at = |then: u64| counter.clone().charge(&limit, then, hits).admitted();
            prop_assert!(at(now + reset), "{} hits denied at {} do not pass {} later", hits, now, reset);
            prop_assert!(!at(now + reset - 1), "{} hits denied at {} pass before {}", hits, now, reset);
        }
    }

    /// What remains can be spent at once, and one more cannot (but into the queue).
    #[test]
    fn remaining_can_be_spent_right_now(limit in any_limit(), script in any_script()) {
        let mut counter = Counter::new(&limit);
        for (now, hits) in instants(&limit, &script) {
            let outcome = counter.charge(&limit, now, hits);
            let spend = |hits| counter.clone().charge(&limit, now, hits).verdict;
            prop_assert!(outcome.remaining == 0 || spend(outcome.remaining) == Verdict::ADMITTED, "{:?}", outcome);
            prop_assert!(spend(outcome.remaining + 1) != Verdict::ADMITTED, "{:?}", outcome);
        }
    }

    /// A peek changes nothing, whatever it asks.
    #[test]
    fn a_look_leaves_no_trace(limit in any_limit(), script in any_script(), looks in prop::collection::vec(any::<bool>(), 120)) {
        let (mut looked, mut plain) = (Counter::new(&limit), Counter::new(&limit));
        for ((now, hits), look) in instants(&limit, &script).into_iter().zip(looks) {
            if look {
                looked.charge(&limit, now, 0);
            }
            prop_assert_eq!(looked.charge(&limit, now, hits), plain.charge(&limit, now, hits));
        }
    }

    /// Never renewed: during a ban its end stays where it is.
    #[test]
    fn a_ban_is_never_renewed(limit in any_limit(), script in any_script()) {
        let mut counter = Counter::new(&limit);
        let mut end = None;
        for (now, hits) in instants(&limit, &script) {
            let outcome = counter.charge(&limit, now, hits);
            match (outcome.verdict, end) {
                (Verdict::Denied(Reason::Banned), Some(end)) => prop_assert_eq!(now + outcome.reset.as_ns(), end),
                (Verdict::Denied(Reason::Banned), None) => end = Some(now + outcome.reset.as_ns()),
                _ => end = None,
            }
        }
    }
}

#[test]
fn after_any_idle_time_a_bucket_admits_exactly_its_burst() {
    let limit = limit(1, SECOND, bucket(10, 0));
    for idle_ms in [0, 1_000, 4_000, 8_000, 8_900, 9_000, 9_100, 10_000, 20_000, 86_400_000, 31_536_000_000] {
        let mut counter = Counter::new(&limit);
        let start = 1_700_000_000 * SECOND;
        assert!(counter.charge(&limit, start, 1).admitted());
        let now = start + idle_ms * 1_000_000;
        let admitted = (0..100).filter(|_| counter.charge(&limit, now, 1).admitted()).count();
        assert_eq!(admitted, (9 + idle_ms / 1_000).min(10) as usize, "after {idle_ms} ms idle");
    }
}

#[test]
fn three_a_second_admits_three_a_second_for_a_day() {
    let limit = limit(3, SECOND, bucket(1, 0));
    let mut counter = Counter::new(&limit);
    let start = 1_700_000_000 * SECOND;
    let day = 86_400 * SECOND;
    let (mut now, mut admitted) = (start, 0_u64);
    while now < start + day {
        let outcome = counter.charge(&limit, now, 1);
        admitted += u64::from(outcome.admitted());
        let next = counter.step(&limit, Timestamp::from_ns(now), Op::Charge(1));
        now += next.reset.as_ns();
    }
    assert_eq!(admitted, 3 * 86_400);
}

#[test]
fn queued_hits_wait_their_turn() {
    let limit = limit(15, SECOND, bucket(15, 100));
    let mut counter = Counter::new(&limit);
    let now = 1_700_000_000 * SECOND;
    let verdicts: Vec<_> = (0..130).map(|_| counter.charge(&limit, now, 1).verdict).collect();
    for (i, verdict) in verdicts.iter().enumerate() {
        let queued = (i as u64 + 1).saturating_sub(15);
        let want_ns = (queued * SECOND).div_ceil(15);
        match verdict {
            Verdict::Admitted { delay } if i < 115 => assert_eq!(delay.as_ns(), want_ns, "hit {i}"),
            Verdict::Denied(Reason::QueueFull) if i >= 115 => {}
            other => panic!("hit {i}: {other:?}"),
        }
    }
}
