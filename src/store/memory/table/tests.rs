//! Keys of every length, and what a record takes.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use super::*;
use crate::store::leases::LeaseCell;

/// Keys inside and outside of their record: each is found, and its memory is counted and released.
#[test]
fn names_of_every_length() {
    let table = Table::<u64>::new();
    let names: Vec<_> = (1..300_u64).map(|length| vec![7; usize::try_from(length).unwrap()]).collect();
    for (name, state) in names.iter().zip(1..) {
        let location = table.locate(name);
        let mut shard = table.lock(location).unwrap();
        assert_eq!(shard.state_mut(location, name), None);
        shard.insert(location, name, state, Timestamp::EPOCH);
        drop(shard);
        table.set_series(name, 7);
    }
    for (name, mut state) in names.iter().zip(1..) {
        let location = table.locate(name);
        assert_eq!(table.lock(location).unwrap().state_mut(location, name), Some((&mut state, Some(7))));
    }
    assert_eq!(table.live(), names.len());
    assert!(table.bytes() > names.iter().map(Vec::len).sum());
    let dropped: usize =
        (0..table.stripes()).map(|stripe| table.sweep(stripe, Timestamp::EPOCH, |_| Timestamp::EPOCH, |_| 0)).sum();
    assert_eq!((dropped, table.live(), table.bytes()), (names.len(), 0, 0));
}

#[test]
fn a_cell_and_a_name_of_ordinary_length_fill_a_line_of_the_cache() {
    assert_eq!(size_of::<Record<crate::engine::Cell>>(), 64);
}

#[test]
fn most_checks_need_four_of_the_lines_of_a_lease() {
    let needed = std::mem::offset_of!(Record<LeaseCell>, state) + LeaseCell::NEEDED_BYTES;
    assert!(needed <= 4 * 64, "{needed}");
    assert!(size_of::<Record<LeaseCell>>() <= 7 * 64, "{}", size_of::<LeaseCell>());
}

/// A sweep that nothing can be spent for has no effect: it does not even hold back charges at earlier instants.
#[test]
fn a_stripe_is_passed_over_until_its_first_counter_is_spent() {
    let at = |second| Timestamp::EPOCH.plus(crate::units::Nanos::from_secs(second));
    let table = Table::<u64>::new();
    let sweep = |second| table.sweep(0, at(second), |end| at(*end), |_| 0);
    let names: Vec<_> = (0..1_u64 << 20).map(u64::to_le_bytes).filter(|name| table.locate(name).stripe == 0).collect();
    let set = |name: &[u8], end: u64| {
        let location = table.locate(name);
        let mut shard = table.lock(location).unwrap();
        match shard.state_mut(location, name) {
            None => shard.insert(location, name, end, at(end)),
            Some((state, _)) => {
                let before = std::mem::replace(state, end);
                if end < before {
                    shard.book_end(at(end));
                }
            }
        }
    };
    let swept_at = || table.lock(table.locate(&names[0])).unwrap().swept_at();
    assert!(!table.may_drop(0, Timestamp::MAX), "it is empty");
    for (name, end) in names.iter().zip([50, 20, 30, 40]) {
        set(name, end);
    }
    assert_eq!((table.may_drop(0, at(19)), table.may_drop(0, at(20)), table.may_drop(1, at(99))), (false, true, false));
    assert_eq!((sweep(19), swept_at()), (0, Timestamp::EPOCH));
    assert_eq!((sweep(20), swept_at()), (1, at(20)));
    // Charges that make the end later: the next sweep looks in vain, once.
    set(&names[2], 60);
    assert!(table.may_drop(0, at(30)));
    assert_eq!((sweep(30), table.may_drop(0, at(39)), table.may_drop(0, at(40))), (0, false, true));
    // An end that becomes earlier.
    set(&names[0], 35);
    assert_eq!((sweep(34), sweep(35), sweep(36)), (0, 1, 0));
    // What is changed is not dropped before it is written.
    table.track(true);
    set(&names[3], 38);
    assert_eq!((sweep(38), table.may_drop(0, at(38))), (0, true), "not yet");
    table.take_changed(0, &mut ChangedHashes::default(), |_, _, _| true);
    assert_eq!((sweep(38), sweep(100), table.live()), (1, 1, 0));
    assert!(!table.may_drop(0, Timestamp::MAX));
}
