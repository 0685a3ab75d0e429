//! Exports of an idle store, and of one that is charged and swept meanwhile.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;
use crate::engine::{Algorithm, CountDenied, Limit, Op, Starts};
use crate::store::{Charge, CounterKey, WhenFull};
use crate::units::{Nanos, Timestamp};

const NOW: Timestamp = Timestamp::from_ns(1_700_000_000_000_000_000);
const CLOCK: Algorithm = Algorithm::FixedWindow { starts: Starts::Clock };

fn store() -> Memory {
    Memory::new(1 << 30, WhenFull::Deny)
}

fn charge(store: &Memory, algorithm: Algorithm, window: Nanos, name: &str) -> Vec<u8> {
    let limit = Limit { max: 1_000, window, algorithm, ban: None, count_denied: CountDenied::Never };
    let mut key = CounterKey::new(LimitId::OVERRIDE);
    key.push(name.as_bytes());
    store.charge(NOW, &Charge { limit: &limit, key: key.as_bytes(), op: Op::Charge(1) });
    key.as_bytes().to_vec()
}

fn by_key(counters: impl Iterator<Item = ExportedCounter>) -> HashMap<Vec<u8>, CounterState> {
    let mut found = HashMap::new();
    for counter in counters {
        let seen = found.insert(counter.key().to_vec(), counter.state);
        assert_eq!(seen, None, "{:?} is there twice", counter.key);
    }
    found
}

/// Keys inside and outside of their record, for cells and logs.
#[test]
fn every_counter_is_exported_once_wherever_the_export_goes_on() {
    let store = store();
    let mut keys = HashMap::new();
    for i in 0..3_000 {
        let name = format!("{i}{}", "x".repeat(i % 80));
        let algorithm = if i % 3 == 0 { Algorithm::SlidingLog } else { CLOCK };
        keys.insert(charge(&store, algorithm, Nanos::from_secs(3_600), &name), i % 3 == 0);
    }
    let all = by_key(store.export().flatten());
    assert_eq!(all.len(), keys.len());
    for (key, state) in &all {
        assert_eq!(matches!(state, CounterState::Log(_)), keys[key]);
        assert!(!matches!(state, CounterState::Cell(Cell::FRESH)));
    }
    for steps in [0, 1, 500, 1_023, 1_024] {
        let mut export = store.export();
        let first: Vec<_> = export.by_ref().take(steps).flatten().collect();
        let rest = store.export_from(export.position()).flatten();
        assert_eq!(by_key(first.into_iter().chain(rest)), all, "{steps} steps and the rest");
    }
    assert_eq!(store.limits_in_use(), HashSet::from([LimitId::OVERRIDE]));
}

#[test]
fn an_empty_store_has_nothing_to_export() {
    assert_eq!(store().export().flatten().count(), 0);
    assert_eq!(store().limits_in_use(), HashSet::new());
}

/// Tables grow and shrink while counters are charged and freed: a counter that exists all the time is included once.
#[test]
fn counters_that_last_are_exported_once_while_others_come_and_go() {
    let (store, stop) = (store(), AtomicBool::new(false));
    let lasting: HashSet<_> =
        (0..5_000).map(|i| charge(&store, CLOCK, Nanos::from_secs(3_600), &format!("lasting{i}"))).collect();
    thread::scope(|scope| {
        for thread in 0..2 {
            let (store, stop) = (&store, &stop);
            scope.spawn(move || {
                for i in (0_u64..).take_while(|_| !stop.load(Ordering::Relaxed)) {
                    let algorithm = if i % 2 == 0 { Algorithm::SlidingLog } else { CLOCK };
                    charge(store, algorithm, Nanos::from_ns(1), &format!("{thread}/{}", i % 20_000));
                    if i % 5_000 == 0 {
                        store.sweep_all(NOW.plus(Nanos::from_ns(2)));
                    }
                }
            });
        }
        for _ in 0..10 {
            let exported = by_key(store.export().flatten());
            let missed = lasting.iter().filter(|key| !exported.contains_key(*key)).count();
            assert_eq!(missed, 0);
        }
        stop.store(true, Ordering::Relaxed);
    });
}
