//! The sweep: a pass frees what is spent by then, whatever made it so, and nothing else.

use std::thread;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tidegate::engine::{Algorithm, Ban, BanWhen, CountDenied, Limit, Op, Queue, QueueMode, Starts};
use tidegate::store::{Charge, CounterKey, CounterState, LimitId, LimitKind, Memory, WhenFull};
use tidegate::units::{Nanos, Timestamp};

const NOW: Timestamp = Timestamp::from_ns(1_700_000_000_000_000_000);
const ROOMY: usize = 1 << 30;
/// So few that some stripes have one counter, and so many that passes meet every kind.
const COUNTERS: u64 = 40;

fn ms(ms: u64) -> Nanos {
    Nanos::from_ns(ms * 1_000_000)
}

fn key(counter: u64) -> CounterKey {
    let mut key = CounterKey::new(LimitId::OVERRIDE);
    key.push(counter.to_string().as_bytes());
    key
}

fn fixed(window: Nanos) -> Limit {
    let algorithm = Algorithm::FixedWindow { starts: Starts::FirstRequest };
    Limit { max: 10, window, algorithm, ban: None, count_denied: CountDenied::Never }
}

/// The limit of a counter, whose kind never changes; its numbers, and its ban, do so at a change of the configuration.
fn limit(counter: u64, max: u32, bans: bool) -> Limit {
    let queue = Queue { size: 5, mode: QueueMode::Hold };
    let algorithm = match counter % 5 {
        0 => Algorithm::FixedWindow { starts: Starts::Clock },
        1 => Algorithm::FixedWindow { starts: Starts::FirstRequest },
        2 => Algorithm::SlidingWindow,
        3 => Algorithm::SlidingLog,
        _ => Algorithm::TokenBucket { burst: 10, queue },
    };
    let window = [ms(100), Nanos::SECOND, Nanos::from_secs(60)][usize::try_from(counter / 5 % 3).unwrap()];
    let ban = bans.then_some(Ban { length: Nanos::from_secs(5), when: BanWhen::Exceeded });
    Limit { max, window, algorithm, ban, count_denied: CountDenied::Always }
}

fn state(store: &Memory, counter: u64) -> Option<CounterState> {
    store.state(LimitKind::from(&limit(counter, 1, false)), key(counter).as_bytes())
}

/// Does one random thing to a random counter.
fn disturb(store: &Memory, random: &mut SmallRng, now: Timestamp) {
    let counter = random.random_range(0..COUNTERS);
    let (key, limit) = (key(counter), limit(counter, [3, 10, 500][random.random_range(0..3)], random.random()));
    let (key, kind) = (key.as_bytes(), LimitKind::from(&limit));
    let charge = |op| {
        store.charge(now, &Charge { limit: &limit, key, op });
    };
    match random.random_range(0..16) {
        0..9 => charge(Op::Charge(random.random_range(1..8))),
        9 | 10 => charge(Op::Refund(random.random_range(1..8))),
        11 => charge(Op::Charge(0)),
        12 => drop(store.reset(now, kind, key)),
        13 => drop(store.unban(now, kind, key)),
        14 => drop(store.ban(kind, key, now.plus(ms(random.random_range(0..3_000))))),
        _ => {
            // What another replica says of the counter.
            let of = random.random_range(0..COUNTERS) / 5 * 5 + counter % 5;
            if let Some(state) = state(store, of) {
                store.note(now, key, state);
            }
        }
    }
}

#[test]
fn a_pass_frees_all_that_is_spent_and_nothing_else() {
    let (mut freed, mut kept) = (0, 0);
    for seed in 0..60 {
        let mut random = SmallRng::seed_from_u64(seed);
        let store = Memory::new(ROOMY, WhenFull::Deny);
        let mut now = NOW;
        for step in 0..400 {
            now = match random.random_range(0..40) {
                0..20 => now,
                20..34 => now.plus(ms(random.random_range(0..200))),
                34..37 => now.plus(ms(random.random_range(0..5_000))),
                37 => now.plus(Nanos::from_secs(random.random_range(0..200))),
                // A batch of checks, or a clock, that is behind.
                _ => now.minus(ms(random.random_range(0..2_000))),
            };
            disturb(&store, &mut random, now);
            if random.random_range(0..5) > 0 {
                continue;
            }
            let before: Vec<_> = (0..COUNTERS).map(|counter| state(&store, counter)).collect();
            store.sweep_all(now);
            for (counter, before) in (0..COUNTERS).zip(before) {
                let want = before.clone().filter(|state| !state.is_fresh(now));
                (freed, kept) = (freed + usize::from(want != before), kept + usize::from(want.is_some()));
                assert_eq!(state(&store, counter), want, "seed {seed}, step {step}: counter {counter} at {now:?}");
            }
        }
    }
    assert!(freed > 1_000 && kept > 10_000, "{freed} freed, {kept} kept: the test shows little");
}

/// A configuration that makes buckets fill faster lets them be spent earlier.
#[test]
fn counters_that_are_brought_up_to_date_are_freed_when_they_are_spent() {
    let store = Memory::new(ROOMY, WhenFull::Deny);
    let bucket = |max| Limit { max, window: Nanos::from_secs(3_600), ..limit(4, max, false) };
    store.charge(NOW, &Charge { limit: &bucket(10), key: key(4).as_bytes(), op: Op::Charge(10) });
    store.sweep_all(NOW);
    store.bring_up_to_date(NOW, |_, _| Some(bucket(36_000)));
    store.sweep_all(NOW.plus(ms(900)));
    assert!(state(&store, 4).is_some(), "it fills in a second");
    store.sweep_all(NOW.plus(ms(1_100)));
    assert_eq!(state(&store, 4), None);
}

/// Threads add counters while they are swept: none of them is forgotten.
#[test]
fn counters_that_are_added_during_a_pass_are_freed_by_a_later_one() {
    const THREADS: u64 = 3;
    const EACH: u64 = 20_000;
    let store = Memory::new(ROOMY, WhenFull::Deny);
    thread::scope(|scope| {
        let adding: Vec<_> = (0..THREADS)
            .map(|thread| {
                let store = &store;
                scope.spawn(move || {
                    for i in 0..EACH {
                        let limit = fixed(ms(1 + i % 50));
                        let key = key(thread * EACH + i);
                        store.charge(
                            NOW.plus(ms(i / 100)),
                            &Charge { limit: &limit, key: key.as_bytes(), op: Op::Charge(1) },
                        );
                    }
                })
            })
            .collect();
        let mut now = NOW;
        while adding.iter().any(|thread| !thread.is_finished()) {
            store.sweep_all(now);
            now = now.plus(ms(1)).min(NOW.plus(ms(EACH / 100)));
        }
    });
    store.sweep_all(NOW.plus(Nanos::from_secs(60)));
    assert_eq!(store.occupancy().counters, 0);
    assert_eq!(store.sweep_stats().freed, THREADS * EACH);
}

/// What was spent when a pass began is freed when it ends, whatever the passes before it looked at.
#[test]
fn a_pass_by_steps_frees_all_that_is_spent() {
    let store = Memory::new(ROOMY, WhenFull::Deny);
    for counter in 0..10_000 {
        let limit = fixed(Nanos::SECOND);
        store.charge(NOW, &Charge { limit: &limit, key: key(counter).as_bytes(), op: Op::Charge(1) });
    }
    let pass = |now| {
        let passes = store.sweep_stats().passes;
        while store.sweep_stats().passes == passes {
            store.sweep_step(now);
        }
    };
    pass(NOW);
    assert_eq!(store.sweep_stats().freed, 0);
    pass(NOW.plus(Nanos::SECOND));
    assert_eq!(store.sweep_stats().freed, 10_000);
    assert_eq!(store.occupancy().counters, 0);
}

/// Above half the budget a step goes to the stripe in which something may be spent, and rests if there is none.
#[test]
fn when_memory_is_short_a_step_finds_what_is_spent_or_rests() {
    let store = Memory::new(1 << 20, WhenFull::Deny);
    let long = fixed(Nanos::from_secs(3_600));
    for counter in 1.. {
        store.charge(NOW, &Charge { limit: &long, key: key(counter).as_bytes(), op: Op::Charge(1) });
        if store.occupancy().bytes > (1 << 19) + 4_096 {
            break;
        }
    }
    assert!(store.sweep_step(NOW) > Duration::ZERO, "nothing can be spent");
    let short = fixed(Nanos::SECOND);
    store.charge(NOW, &Charge { limit: &short, key: key(0).as_bytes(), op: Op::Charge(1) });
    let before = store.occupancy().counters;
    assert!(store.sweep_step(NOW.plus(ms(999))) > Duration::ZERO);
    assert_eq!(store.sweep_step(NOW.plus(Nanos::SECOND)), Duration::ZERO, "it goes on");
    assert_eq!(store.occupancy().counters, before - 1);
    assert!(store.sweep_step(NOW.plus(Nanos::SECOND)) > Duration::ZERO);
    let passes = store.sweep_stats().passes;
    assert!((2..=4).contains(&passes), "{passes}");
}
