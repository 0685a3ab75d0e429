//! When the store was last asked for counters that deny without it.

use std::sync::atomic::{AtomicU64, Ordering};

use ahash::RandomState;

use crate::units::{Nanos, Timestamp};

/// When the store was last asked for exact counters that are banned or used up as far as is known here: by the hash of their key.
///
/// Such a counter denies until its ban or its window ends. It is asked for again now and then, so that a ban that was lifted elsewhere ends
/// here too, and hits that were given back there can be spent here. Counters that share a place are asked for more often.
#[derive(Debug)]
pub(super) struct LastAsked {
    hasher: RandomState,
    /// Milliseconds since the epoch, with a part of the counter's hash above them; 0: of no counter.
    places: Box<[AtomicU64]>,
}

impl LastAsked {
    pub(super) fn new() -> Self {
        let places = std::iter::repeat_with(|| AtomicU64::new(0)).take(PLACES).collect();
        Self { hasher: RandomState::new(), places }
    }

    /// Whether it is time to ask for a counter again; then not for its next check.
    pub(super) fn is_due(&self, now: Timestamp, key: &[u8]) -> bool {
        let hash = self.hasher.hash_one(key);
        let Some(place) = self.place(hash) else { return true };
        let (last, now_ms) = (place.load(Ordering::Relaxed), (now.as_ns() / 1_000_000) & MS);
        let is_known = last & !MS == hash & !MS;
        let is_due = !is_known || now_ms.saturating_sub(last & MS) >= ASK_AGAIN.as_millis_ceil();
        is_due && place.compare_exchange(last, (hash & !MS) | now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// The store did not answer for a counter: it is asked for with the next check.
    pub(super) fn forget(&self, key: &[u8]) {
        if let Some(place) = self.place(self.hasher.hash_one(key)) {
            place.store(0, Ordering::Relaxed);
        }
    }

    fn place(&self, hash: u64) -> Option<&AtomicU64> {
        self.places.get(usize::try_from(hash).unwrap_or(0) % PLACES)
    }
}

/// 32 KiB.
const PLACES: usize = 4_096;
/// The bits of a time, enough for five hundred years.
const MS: u64 = (1 << 44) - 1;
/// A counter is asked for again after that time.
const ASK_AGAIN: Nanos = Nanos::SECOND;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_asked_for_once_a_second() {
        let (asked, at) = (LastAsked::new(), |ms: u64| Timestamp::from_ns((1_000_000 + ms) * 1_000_000));
        let due: Vec<_> = [0, 1, 999, 1_000, 1_001, 2_500].map(|ms| asked.is_due(at(ms), b"key")).into();
        assert_eq!(due, [true, false, false, true, false, true]);
        asked.forget(b"key");
        assert!(asked.is_due(at(2_501), b"key") && !asked.is_due(at(2_502), b"key"));
    }

    #[test]
    fn counters_that_share_a_place_do_not_keep_each_other_from_being_asked_for() {
        let (asked, now) = (LastAsked::new(), Timestamp::from_ns(1_000_000_000_000));
        let keys: Vec<_> = (0..PLACES * 4).map(usize::to_le_bytes).collect();
        assert!(keys.iter().all(|key| asked.is_due(now, key)));
    }
}
