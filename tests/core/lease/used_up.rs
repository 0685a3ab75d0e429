//! A counter that is used up: the engine is asked a few times a second, however many checks come.

use tidegate::engine::Algorithm;
use tidegate::store::lease::{Attempt, Central, Charging, Lease, Link, Now, Slot, Terms, charge};
use tidegate::units::Timestamp;

use super::{CLOCK, FIRST_REQUEST, limit};

/// So many microseconds after the begin of a window by the clock.
fn at(us: u64) -> Now {
    let at = Timestamp::from_ns((1_800_000_000_000_000 + us) * 1_000);
    Now { local: at, engine: at }
}

#[test]
fn checks_of_a_window_that_is_used_up_are_denied_without_asking() {
    for algorithm in [CLOCK, FIRST_REQUEST, Algorithm::SlidingWindow] {
        let terms = Terms::new(&limit(1_000, 60_000, algorithm), 1).unwrap();
        let (mut central, mut lease) = (Central::new(), Lease::new());
        let (mut admitted, mut asked) = (0, 0);
        // A second with ten checks in a millisecond.
        for us in (0..1_000_000).step_by(100) {
            let now = at(us);
            let mut slots =
                [Slot { lease: &mut lease, terms: &terms, hits: 1, link: Link::Up, attempt: Attempt::First }];
            let mut charging = charge(&mut slots, now);
            let attempt = slots[0].attempt;
            if let Some(ask) = lease.ask(&terms, now) {
                asked += u32::from(admitted >= 1_000);
                lease.answered(&terms, &ask, &central.answer(&terms, &ask, now.engine), now);
            }
            if charging == Charging::Missing {
                let mut slots = [Slot { lease: &mut lease, terms: &terms, hits: 1, link: Link::Up, attempt }];
                charging = charge(&mut slots, now);
            }
            lease.settle(&terms, now);
            admitted += u32::from(charging == Charging::Charged);
        }
        assert_eq!(admitted, 1_000, "{algorithm:?}");
        assert!(asked <= 2, "{algorithm:?}: asked {asked} times when nothing was left");
    }
}
