//! Admitted hits of one counter by the windows that they may have been charged in, and whether these admit more than their limit.
//!
//! What a client knows of the window is what the answer says: the time until its end, in whole seconds. If more than one window fits, the
//! hit is one of any of them: too much was admitted only if there is no way to distribute such hits.

use std::collections::BTreeMap;

/// Ends of windows, in milliseconds of the engine's clock.
pub(crate) type End = i64;

/// Admitted hits of one counter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Windows {
    /// By the first and the last window that fits.
    hits: BTreeMap<(End, End), u32>,
}

/// A window with more hits than are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Excess {
    pub(crate) end: End,
    pub(crate) hits: u32,
    pub(crate) allowed: u32,
}

impl Windows {
    /// Hits of a window whose end is between these.
    pub(crate) fn add(&mut self, (first, last): (End, End), hits: u32) {
        *self.hits.entry((first, last)).or_default() += hits;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (windows, hits) in &other.hits {
            self.add(*windows, *hits);
        }
    }

    /// All hits.
    pub(crate) fn all(&self) -> u32 {
        self.hits.values().sum()
    }

    /// Hits of windows that are certain.
    pub(crate) fn certain(&self) -> impl Iterator<Item = (End, u32)> {
        self.hits.iter().filter(|((first, last), _)| first == last).map(|((end, _), hits)| (*end, *hits))
    }

    /// The first window that has to have more hits than are allowed in it, if there is one. `length` is that of a window.
    pub(crate) fn excess(&self, length: End, allowed: impl Fn(End) -> u32) -> Option<Excess> {
        let over = |(end, hits): &(End, u32)| *hits > allowed(*end);
        let (end, hits) = self.distributed(length, &allowed).into_iter().find(over)?;
        Some(Excess { end, hits, allowed: allowed(end) })
    }

    /// The hits of each window, distributed so that no window has more than is allowed unless it has to.
    pub(crate) fn distributed(&self, length: End, allowed: impl Fn(End) -> u32) -> Vec<(End, u32)> {
        // By the last window that fits: in each window those go first that fit in no later one.
        let mut open: BTreeMap<End, u32> = BTreeMap::new();
        let mut hits = self.hits.iter().peekable();
        let mut windows = Vec::new();
        let Some(mut end) = hits.peek().map(|((first, _), _)| *first) else { return windows };
        loop {
            while let Some(((_, last), count)) = hits.next_if(|((first, _), _)| *first <= end) {
                *open.entry(*last).or_default() += count;
            }
            let (mut count, allowed) = (0, allowed(end));
            while let Some(mut earliest) = open.first_entry() {
                let room = allowed.saturating_sub(count);
                let taken = if *earliest.key() <= end { *earliest.get() } else { room.min(*earliest.get()) };
                (*earliest.get_mut(), count) = (*earliest.get() - taken, count + taken);
                if *earliest.get() > 0 {
                    break;
                }
                earliest.remove();
            }
            windows.push((end, count));
            end = match (open.is_empty(), hits.peek()) {
                (true, None) => return windows,
                (true, Some(((first, _), _))) => *first,
                (false, _) => end + length,
            };
        }
    }
}

/// The windows that fit an answer: the time until their end, in seconds, was rounded up to `reset_s` between two instants; 0: nothing was said.
/// `clocks_ms` is by how much a server may be wrong about the engine's clock.
pub(crate) fn fitting(reset_s: i64, (before_ms, after_ms): (End, End), length: End, clocks_ms: End) -> (End, End) {
    let (earliest, latest) = if reset_s == 0 { (0, length) } else { (reset_s * 1_000 - 1_000, reset_s * 1_000) };
    let (first, last) = (before_ms + earliest - clocks_ms, after_ms + latest + clocks_ms);
    let ends = ((first.div_euclid(length) + 1) * length, last.div_euclid(length) * length);
    assert!(ends.0 <= ends.1, "no window of {length} ms ends {reset_s} s after {before_ms} to {after_ms}");
    ends
}

#[test]
fn hits_of_no_certain_window_are_distributed() {
    let windows = |hits: &[(End, End, u32)]| {
        let mut windows = Windows::default();
        for (first, last, hits) in hits {
            windows.add((*first, *last), *hits);
        }
        windows.excess(10, |_| 5)
    };
    assert_eq!(windows(&[]), None);
    assert_eq!(windows(&[(10, 10, 5), (20, 20, 5), (100, 100, 5)]), None);
    assert_eq!(windows(&[(10, 10, 3), (10, 20, 4), (20, 20, 3)]), None, "2 and 2");
    assert_eq!(windows(&[(10, 10, 3), (10, 20, 4), (20, 20, 4)]), Some(Excess { end: 20, hits: 6, allowed: 5 }));
    assert_eq!(windows(&[(10, 10, 6)]), Some(Excess { end: 10, hits: 6, allowed: 5 }));
    assert_eq!(windows(&[(10, 40, 20)]), None);
    assert_eq!(windows(&[(10, 40, 21)]), Some(Excess { end: 40, hits: 6, allowed: 5 }));
    assert_eq!(windows(&[(10, 40, 11), (20, 20, 5), (30, 30, 5)]), Some(Excess { end: 40, hits: 6, allowed: 5 }));
}

#[test]
fn an_answer_says_of_which_window_it_is() {
    // Decided half a second before the end, just before it, and just after it.
    assert_eq!(fitting(1, (9_500, 9_510), 2_000, 100), (10_000, 10_000));
    assert_eq!(fitting(1, (9_990, 10_020), 2_000, 100), (10_000, 10_000));
    assert_eq!(fitting(2, (9_990, 10_020), 2_000, 100), (12_000, 12_000));
    // It took too long to know.
    assert_eq!(fitting(1, (9_000, 11_000), 2_000, 100), (10_000, 12_000));
}
