//! The store under threads, at its budget and under its sweep.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use tidegate::engine::{
    Algorithm, Ban, BanWhen, CountDenied, Limit, Op, Outcome, Queue, QueueMode, Reason, Starts, Verdict,
};
use tidegate::store::{Charge, CounterKey, Group, LimitId, Memory, Occupancy, Role, WhenFull};
use tidegate::units::{Nanos, Timestamp};

const NOW: Timestamp = Timestamp::from_ns(1_700_000_000_000_000_000);
const HOUR: Nanos = Nanos::from_secs(3_600);
const ROOMY: usize = 1 << 30;

fn limit(max: u32, algorithm: Algorithm) -> Limit {
    Limit { max, window: HOUR, algorithm, ban: None, count_denied: CountDenied::Never }
}

fn algorithms(burst: u32) -> [Algorithm; 5] {
    let queue = Queue { size: 0, mode: QueueMode::Hold };
    [
        Algorithm::FixedWindow { starts: Starts::Clock },
        Algorithm::FixedWindow { starts: Starts::FirstRequest },
        Algorithm::SlidingWindow,
        Algorithm::SlidingLog,
        Algorithm::TokenBucket { burst, queue },
    ]
}

fn key(name: &str) -> CounterKey {
    let mut key = CounterKey::new(LimitId::OVERRIDE);
    key.push(name.as_bytes());
    key
}

fn charge(store: &Memory, limit: &Limit, name: &str, hits: u64) -> Outcome {
    store.charge(NOW, &Charge { limit, key: key(name).as_bytes(), op: Op::Charge(hits) }).outcome
}

/// `threads` threads, each `checks` times through `check`; the sum of what was admitted.
fn race(threads: usize, checks: usize, check: impl Fn(usize, usize) -> u64 + Sync) -> u64 {
    let (barrier, admitted) = (Barrier::new(threads), AtomicU64::new(0));
    thread::scope(|scope| {
        for thread in 0..threads {
            let (barrier, admitted, check) = (&barrier, &admitted, &check);
            scope.spawn(move || {
                barrier.wait();
                let sum: u64 = (0..checks).map(|i| check(thread, i)).sum();
                admitted.fetch_add(sum, Ordering::Relaxed);
            });
        }
    });
    admitted.into_inner()
}

/// Runs `race` with more and more checks per thread until two threads met in it; `race` returns how often they did.
///
/// How many it takes is the scheduler's matter: on a busy machine, threads may run one after the other for long.
fn until_threads_meet(checks: usize, race: impl Fn(usize) -> u64) {
    let met = (0..MAX_DOUBLINGS).any(|doubling| race(checks << doubling) > 0);
    assert!(met, "no two threads ever met: the test shows nothing");
}

/// The last round has 128 times the checks of the first: seconds, where the first takes milliseconds.
const MAX_DOUBLINGS: u32 = 8;

#[test]
fn threads_on_one_counter_never_over_admit() {
    for algorithm in algorithms(10_000) {
        for threads in [2, 8, 64] {
            until_threads_meet(200_000 / threads, |checks| {
                let store = Memory::new(ROOMY, WhenFull::Deny);
                let limit = limit(10_000, algorithm);
                let (busy, collisions) = (AtomicU64::new(0), AtomicU64::new(0));
                let admitted = race(threads, checks, |_, _| {
                    collisions.fetch_add(u64::from(busy.fetch_add(1, Ordering::Relaxed) > 0), Ordering::Relaxed);
                    let outcome = charge(&store, &limit, "hot", 1);
                    busy.fetch_sub(1, Ordering::Relaxed);
                    u64::from(outcome.admitted())
                });
                assert_eq!(admitted, 10_000, "{algorithm:?} with {threads} threads");
                collisions.into_inner()
            });
        }
    }
}

/// Three limits of which every pair of checks shares some: user, tenant, node.
#[test]
fn overlapping_sets_charged_all_or_nothing_never_over_admit() {
    const USERS: usize = 16;
    const TENANTS: usize = 4;
    for algorithm in algorithms(2_000) {
        until_threads_meet(20_000, |checks| {
            let store = Memory::new(ROOMY, WhenFull::Deny);
            let with = |max| {
                limit(
                    max,
                    match algorithm {
                        Algorithm::TokenBucket { queue, .. } => Algorithm::TokenBucket { burst: max, queue },
                        other => other,
                    },
                )
            };
            let (user, tenant, node) = (with(500), with(1_000), with(3_000));
            let collisions = AtomicU64::new(0);
            let spent: Vec<_> = (0..USERS).map(|_| AtomicU64::new(0)).collect();
            let busy = AtomicU64::new(0);
            let admitted = race(8, checks, |thread, i| {
                let u = (thread * 7 + i * 3) % USERS;
                if busy.fetch_add(1, Ordering::Relaxed) > 0 {
                    collisions.fetch_add(1, Ordering::Relaxed);
                }
                let keys = [key(&format!("user{u}")), key(&format!("tenant{}", u % TENANTS)), key("node")];
                // Each thread names them in another order: no two may wait for each other.
                let mut order = [0, 1, 2];
                order.rotate_left(thread % 3);
                let limits = [&user, &tenant, &node];
                let charges = order.map(|j| Charge { limit: limits[j], key: keys[j].as_bytes(), op: Op::Charge(1) });
                let mut outcomes = Vec::new();
                store.charge_all(NOW, &charges, &mut outcomes);
                busy.fetch_sub(1, Ordering::Relaxed);
                let ok = outcomes.iter().all(|charged| charged.outcome.admitted());
                spent[u].fetch_add(u64::from(ok), Ordering::Relaxed);
                u64::from(ok)
            });
            assert_eq!(admitted, 3_000, "{algorithm:?}: the node's limit is the narrowest, and is used up");
            let by_tenant = |t: usize| {
                (0..USERS).filter(|u| u % TENANTS == t).map(|u| spent[u].load(Ordering::Relaxed)).sum::<u64>()
            };
            for (u, spent) in spent.iter().enumerate() {
                let left = charge(&store, &user, &format!("user{u}"), 0).remaining;
                assert_eq!(left, 500 - spent.load(Ordering::Relaxed), "user{u} holds just what was admitted");
            }
            for t in 0..TENANTS {
                assert_eq!(
                    charge(&store, &tenant, &format!("tenant{t}"), 0).remaining,
                    1_000 - by_tenant(t),
                    "tenant{t}"
                );
            }
            collisions.into_inner()
        });
    }
}

#[test]
fn all_or_nothing_leaves_no_trace_of_a_denied_check() {
    for algorithm in algorithms(5) {
        let store = Memory::new(ROOMY, WhenFull::Deny);
        let narrow = limit(
            1,
            match algorithm {
                Algorithm::TokenBucket { queue, .. } => Algorithm::TokenBucket { burst: 1, queue },
                other => other,
            },
        );
        let wide = Limit { count_denied: CountDenied::Alone, ..limit(5, algorithm) };
        let ask = || {
            let keys = [key("wide"), key("narrow"), key("new")];
            let limits = [&wide, &narrow, &wide];
            let charges = [0, 1, 2].map(|i| Charge { limit: limits[i], key: keys[i].as_bytes(), op: Op::Charge(1) });
            let mut outcomes = Vec::new();
            store.charge_all(NOW, &charges, &mut outcomes);
            outcomes.into_iter().map(|charged| charged.outcome).collect::<Vec<_>>()
        };
        assert!(ask().iter().all(Outcome::admitted));
        for _ in 0..3 {
            let verdicts: Vec<_> = ask().iter().map(|outcome| (outcome.admitted(), outcome.remaining)).collect();
            assert_eq!(verdicts, [(true, 4), (false, 0), (true, 4)], "{algorithm:?}");
        }
        assert_eq!(store.occupancy().counters, 3);
    }
}

#[test]
fn one_counter_named_twice_in_a_check_is_charged_twice() {
    for algorithm in algorithms(3) {
        let store = Memory::new(ROOMY, WhenFull::Deny);
        let limit = limit(3, algorithm);
        let key = key("same");
        let mut outcomes = Vec::new();
        let one = Charge { limit: &limit, key: key.as_bytes(), op: Op::Charge(2) };
        store.charge_all(NOW, &[one, one], &mut outcomes);
        assert_eq!(
            outcomes.iter().map(|charged| charged.outcome.admitted()).collect::<Vec<_>>(),
            [true, false],
            "{algorithm:?}"
        );
        assert_eq!(charge(&store, &limit, "same", 0).remaining, 3, "{algorithm:?}: nothing was charged");
        let one = Charge { op: Op::Charge(1), ..one };
        store.charge_all(NOW, &[one, one], &mut outcomes);
        assert!(outcomes.iter().all(|charged| charged.outcome.admitted()));
        assert_eq!(charge(&store, &limit, "same", 0).remaining, 1, "{algorithm:?}");
    }
}

#[test]
fn only_the_limit_that_denies_begins_its_ban() {
    let store = Memory::new(ROOMY, WhenFull::Deny);
    let ban = Some(Ban { length: HOUR, when: BanWhen::Exceeded });
    for algorithm in algorithms(1) {
        let (narrow, wide) = (Limit { ban, ..limit(1, algorithm) }, Limit { ban, ..limit(9, FIRST) });
        let names = [format!("narrow {algorithm:?}"), format!("wide {algorithm:?}")];
        let keys = [key(&names[0]), key(&names[1])];
        let charges = [(&narrow, &keys[0]), (&wide, &keys[1])].map(|(limit, key)| Charge {
            limit,
            key: key.as_bytes(),
            op: Op::Charge(1),
        });
        let mut outcomes = Vec::new();
        for _ in 0..2 {
            store.charge_all(NOW, &charges, &mut outcomes);
        }
        let verdicts =
            [(&narrow, &names[0]), (&wide, &names[1])].map(|(limit, name)| charge(&store, limit, name, 1).verdict);
        assert_eq!(verdicts, [Verdict::Denied(Reason::Banned), Verdict::ADMITTED], "{algorithm:?}");
    }
}

const FIRST: Algorithm = Algorithm::FixedWindow { starts: Starts::FirstRequest };

#[test]
fn at_the_budget_new_counters_are_denied_and_old_ones_work() {
    for when_full in [WhenFull::Deny, WhenFull::Allow] {
        let store = Memory::new(200_000, when_full);
        let limit = limit(10, FIRST);
        let names: Vec<_> = (0..20_000).map(|i| format!("client-{i}")).collect();
        let admitted = names.iter().filter(|name| charge(&store, &limit, name, 1).admitted()).count();
        let occupancy = store.occupancy();
        assert!(occupancy.bytes < 220_000, "{occupancy:?}");
        assert!(occupancy.counters > 1_000 && occupancy.no_room > 0, "{occupancy:?}");
        match when_full {
            WhenFull::Deny => assert_eq!(admitted, occupancy.counters),
            WhenFull::Allow => assert_eq!(admitted, names.len()),
        }
        // Nobody's limit was reset by the others.
        assert_eq!(charge(&store, &limit, "client-0", 1).remaining, 8);
        // Once they are spent there is room again.
        let later = NOW.plus(HOUR);
        store.sweep_all(later);
        assert_eq!(store.occupancy().counters, 0);
        let outcome = store.charge(later, &Charge { limit: &limit, key: key("late").as_bytes(), op: Op::Charge(1) });
        assert_eq!((outcome.outcome.admitted(), store.occupancy().counters), (true, 1));
    }
}

#[test]
fn at_the_budget_a_check_of_several_counters_is_denied_and_charges_nothing() {
    let store = Memory::new(2_000, WhenFull::Deny);
    let (user, tenant) = (limit(10, FIRST), limit(5, FIRST));
    assert!(charge(&store, &tenant, "tenant", 1).admitted());
    let fill = (0..10_000).find(|i| !charge(&store, &user, &format!("filler-{i}"), 1).admitted());
    assert!(fill.is_some(), "the budget is never used up");
    let before = store.occupancy();
    for i in 0..100 {
        let keys = [key(&format!("user-{i}")), key("tenant")];
        let charges = [(&user, &keys[0]), (&tenant, &keys[1])].map(|(limit, key)| Charge {
            limit,
            key: key.as_bytes(),
            op: Op::Charge(1),
        });
        let mut outcomes = Vec::new();
        store.charge_all(NOW, &charges, &mut outcomes);
        assert_eq!(outcomes[0].outcome.verdict, Verdict::Denied(Reason::NoRoom), "user-{i}");
        assert_eq!(
            (outcomes[1].outcome.admitted(), outcomes[1].outcome.remaining),
            (true, 4),
            "the tenant is not charged"
        );
    }
    assert_eq!((store.occupancy().counters, store.occupancy().bytes), (before.counters, before.bytes));
}

#[test]
fn a_million_counters_take_less_than_140_bytes_each() {
    let (store, limit) = (Memory::new(ROOMY, WhenFull::Deny), limit(10, FIRST));
    for i in 0..1_000_000 {
        // As long as a UUID without its hyphens is in Base64.
        charge(&store, &limit, &format!("partner-{i:014}"), 1);
    }
    let occupancy = store.occupancy();
    assert_eq!(occupancy.counters, 1_000_000);
    assert!(occupancy.bytes < 140_000_000, "{occupancy:?}");
}

#[test]
fn a_counter_keeps_the_series_that_it_was_given() {
    for algorithm in algorithms(3) {
        let (store, limit) = (Memory::new(ROOMY, WhenFull::Deny), limit(3, algorithm));
        let ask = |name: &str, hits| {
            let key = key(name);
            store.charge(NOW, &Charge { limit: &limit, key: key.as_bytes(), op: Op::Charge(hits) }).series_id
        };
        let give = |name: &str, series| store.set_series(&limit, key(name).as_bytes(), series);
        assert_eq!([ask("a", 1), ask("a", 1)], [None, None], "{algorithm:?}: none was given");
        give("a", 7);
        give("b", 8);
        assert_eq!([ask("a", 0), ask("b", 3)], [Some(7), None], "{algorithm:?}: only a counter that exists has one");
        give("b", 8);
        assert_eq!([ask("b", 1), ask("a", 1)], [Some(8), Some(7)], "{algorithm:?}");
        let keys = [key("b"), key("c")];
        let charges = [0, 1].map(|i| Charge { limit: &limit, key: keys[i].as_bytes(), op: Op::Charge(1) });
        let mut outcomes = Vec::new();
        store.charge_all(NOW, &charges, &mut outcomes);
        assert_eq!(
            (outcomes[0].series_id, outcomes[1].series_id),
            (Some(8), None),
            "{algorithm:?}: denied, and known all the same"
        );
    }
}

#[test]
fn the_sweep_frees_what_is_spent_and_nothing_else() {
    for algorithm in algorithms(10) {
        let store = Memory::new(ROOMY, WhenFull::Deny);
        let (short, long) = (Limit { window: Nanos::SECOND, ..limit(10, algorithm) }, limit(10, algorithm));
        for i in 0..5_000 {
            charge(&store, &short, &format!("short{i}"), 10);
            charge(&store, &long, &format!("long{i}"), 10);
        }
        let full = store.occupancy();
        assert_eq!(full.counters, 10_000);
        store.sweep_all(NOW.plus(Nanos::from_secs(3)));
        let swept = store.occupancy();
        assert_eq!(swept.counters, 5_000, "{algorithm:?}");
        assert!(swept.bytes < full.bytes);
        assert_eq!(store.sweep_stats().freed, 5_000);
        for i in 0..5_000 {
            assert!(!charge(&store, &long, &format!("long{i}"), 1).admitted(), "{algorithm:?}");
        }
        store.sweep_all(NOW.plus(Nanos::from_secs(86_400)));
        assert_eq!(store.occupancy().counters, 0);
        assert!(store.occupancy().bytes < full.bytes / 4, "{:?}", store.occupancy());
    }
}

#[test]
fn names_of_counters_never_meet() {
    let mut names = std::collections::HashSet::new();
    let long = "x".repeat(5_000);
    let other_long = format!("{}y", "x".repeat(4_999));
    let cases: &[&[&str]] = &[
        &[],
        &[""],
        &["", ""],
        &["a", "b_c"],
        &["a_b", "c"],
        &["a", "b", "c"],
        &["ab", "c"],
        &[&long],
        &[&other_long],
        &[&long, "a"],
    ];
    for parts in cases {
        let mut key = CounterKey::new(LimitId::OVERRIDE);
        parts.iter().for_each(|part| key.push(part.as_bytes()));
        assert!(key.as_bytes().len() < 100, "a long value is stored as its digest");
        assert!(names.insert(key.as_bytes().to_vec()), "{parts:?}");
    }
}

/// A batch that is behind the sweep opens no window again that was spent, and freed.
#[test]
fn a_batch_behind_the_sweep_spends_no_window_twice() {
    let ban = Some(Ban { length: Nanos::SECOND, when: BanWhen::Exceeded });
    for algorithm in algorithms(5) {
        for ban in [None, ban] {
            let store = Memory::new(ROOMY, WhenFull::Deny);
            let limit = Limit { window: Nanos::SECOND, ban, ..limit(5, algorithm) };
            let key = key("k");
            let at = |ms: u64| NOW.plus(Nanos::from_ns(ms * 1_000_000));
            let ask = |now: Timestamp| {
                let charge = Charge { limit: &limit, key: key.as_bytes(), op: Op::Charge(1) };
                u64::from(store.charge(now, &charge).outcome.admitted())
            };
            let behind = at(500);
            let first: u64 = (0..9).map(|_| ask(behind)).sum();
            assert_eq!(first, 5, "{algorithm:?}");
            let later = at(10_000);
            store.sweep_all(later);
            assert_eq!(store.occupancy().counters, 0, "{algorithm:?}: all is spent");
            let second: u64 = (0..9).map(|_| ask(behind)).sum();
            let third: u64 = (0..9).map(|_| ask(later)).sum();
            assert_eq!(second + third, 5, "{algorithm:?}, {ban:?}: two batches of one window");
        }
    }
}

/// Logs grow only where there is room: the budget holds for them as for everything else.
#[test]
fn logs_keep_to_the_budget() {
    const BUDGET: usize = 1 << 20;
    for when_full in [WhenFull::Deny, WhenFull::Allow] {
        let store = Memory::new(BUDGET, when_full);
        let limit = limit(65_536, Algorithm::SlidingLog);
        let names: Vec<_> = (0..8).map(|i| format!("log {i}")).collect();
        let mut denied = 0_u64;
        for i in 0..20_000 {
            let now = NOW.plus(Nanos::from_ns(i));
            for name in &names {
                let key = key(name);
                let charge = Charge { limit: &limit, key: key.as_bytes(), op: Op::Charge(1) };
                let outcome = store.charge(now, &charge).outcome;
                denied += u64::from(!outcome.admitted());
                assert!(outcome.admitted() || outcome.verdict == Verdict::Denied(Reason::NoRoom), "{outcome:?}");
            }
        }
        let Occupancy { bytes, no_room, .. } = store.occupancy();
        // The last of them doubled when there was room left.
        assert!(bytes < BUDGET + BUDGET / 2, "{bytes} of {BUDGET} bytes");
        assert!(no_room > 0, "the budget was never reached: the test shows nothing");
        assert_eq!(denied, if when_full == WhenFull::Deny { no_room } else { 0 });
    }
}

/// Quotas are decided in the step that charges them: of checks that race, none passes on what another took.
#[test]
fn quotas_that_race_never_over_admit() {
    for algorithm in algorithms(1_000) {
        until_threads_meet(5_000, |checks| {
            let store = Memory::new(ROOMY, WhenFull::Deny);
            let limit = limit(1_000, algorithm);
            let (busy, collisions) = (AtomicU64::new(0), AtomicU64::new(0));
            let keys = [key("a"), key("b")];
            let charged = race(8, checks, |thread, _| {
                collisions.fetch_add(u64::from(busy.fetch_add(1, Ordering::Relaxed) > 0), Ordering::Relaxed);
                let mut order = [0, 1];
                order.rotate_left(thread % 2);
                let charges = order.map(|i| Charge { limit: &limit, key: keys[i].as_bytes(), op: Op::Charge(1) });
                let groups = [Group { role: Role::Quota, charges: 1 }; 2];
                let mut outcomes = Vec::new();
                let admitted = store.charge_groups(NOW, &groups, &charges, &mut outcomes);
                busy.fetch_sub(1, Ordering::Relaxed);
                let taken = outcomes.iter().filter(|charged| charged.outcome.admitted()).count() as u64;
                assert_eq!(admitted, taken > 0, "{algorithm:?}: admitted, and nothing charged");
                taken
            });
            assert_eq!(charged, 2_000, "{algorithm:?}");
            collisions.into_inner()
        });
    }
}

/// A denied check takes nothing, though a refund in it makes room for what was denied.
#[test]
fn a_refund_comes_before_the_charges_of_its_check() {
    for algorithm in algorithms(5) {
        let store = Memory::new(ROOMY, WhenFull::Deny);
        let (limit, zero) = (limit(5, algorithm), limit(0, FIRST));
        let (counter, blocked) = (key("counter"), key("blocked"));
        assert!(charge(&store, &limit, "counter", 5).admitted());
        let op = |limit, key: &'static str, op| (limit, key, op);
        let ask = |asked: &[(&Limit, &str, Op)]| {
            let charges: Vec<_> = asked
                .iter()
                .map(|(limit, name, op)| {
                    let key = if *name == "counter" { &counter } else { &blocked };
                    Charge { limit, key: key.as_bytes(), op: *op }
                })
                .collect();
            let groups = vec![Group::required(1); charges.len()];
            store.charge_groups(NOW, &groups, &charges, &mut Vec::new())
        };
        let refund = op(&limit, "counter", Op::Refund(2));
        let spend = op(&limit, "counter", Op::Charge(2));
        assert!(!ask(&[refund, spend, op(&zero, "blocked", Op::Charge(1))]), "{algorithm:?}");
        assert_eq!(charge(&store, &limit, "counter", 0).remaining, 2, "{algorithm:?}: given back, and not spent");
        assert!(ask(&[spend]), "{algorithm:?}");
        assert!(ask(&[spend, refund]), "{algorithm:?}: whatever its place in the check");
    }
}
