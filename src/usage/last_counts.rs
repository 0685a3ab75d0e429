//! The counts of a reading, and what was counted since.

use std::collections::HashMap;

use super::Totals;

/// The last counts of rules or entry keys that have counted something, by number.
pub(super) type LastCounts<const N: usize> = HashMap<usize, [u64; N], ahash::RandomState>;

/// What the rule or entry key with this number has counted since the last reading, if anything.
pub(super) fn gained_of<const N: usize>(last: &mut LastCounts<N>, number: usize, now: [u64; N]) -> Option<Totals> {
    if now.iter().all(|count| *count == 0) {
        return None;
    }
    gained(last.entry(number).or_insert([0; N]), now)
}

/// The difference to the last reading, if there is one. Counts of hits start again from 0 at 2^64, and what they gain does not depend on it.
pub(super) fn gained<const N: usize>(last: &mut [u64; N], now: [u64; N]) -> Option<Totals> {
    if *last == now {
        return None;
    }
    let totals = Totals::from_counted(now.iter().zip(&*last).map(|(now, last)| now.wrapping_sub(*last)));
    *last = now;
    Some(totals)
}
