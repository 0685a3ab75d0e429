//! Keys of every length, and what a record takes.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use super::*;

/// Keys inside and outside of their record: each is found, and its memory is counted and released.
#[test]
fn names_of_every_length() {
    let table = Table::<u64>::new();
    let names: Vec<_> = (1..300_u64).map(|length| vec![7; usize::try_from(length).unwrap()]).collect();
    for (name, state) in names.iter().zip(1..) {
        let location = table.locate(name);
        let mut shard = table.lock(location).unwrap();
        assert_eq!(shard.state_mut(location, name), None);
        shard.insert(location, name, state);
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
        (0..table.stripes()).map(|stripe| table.sweep(stripe, Timestamp::EPOCH, |_| true, |_| 0)).sum();
    assert_eq!((dropped, table.live(), table.bytes()), (names.len(), 0, 0));
}

#[test]
fn a_cell_and_a_name_of_ordinary_length_fill_a_line_of_the_cache() {
    assert_eq!(size_of::<Record<crate::engine::Cell>>(), 64);
}
