//! Counters that replicas share: what is asked of the store, and what its answers mean here.
//!
//! A check goes through the pipeline twice: once to know what to ask ([`View::ask`](super::View::ask)), and once with the answers
//! ([`View::conclude`](super::View::conclude)). What waits in between is the message and the plan, not what borrows from them. The
//! store in memory keeps what was last heard of each counter: for looks and bans, which ask nobody, and for the time without a store.

mod answered;
mod asking;
mod ballot;
mod outage;
mod spent;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use ahash::RandomState;
use smallvec::SmallVec;

pub use outage::{DownCounts, WhenDown};

use crate::engine_link::{CheckOutcome, KeyPrefix, SharedCheck};
use crate::store::{Charged, Memory, WhenFull};
use crate::units::{Nanos, Timestamp};

pub(super) use answered::{charge, count_down};
pub(super) use asking::AskContext;

/// What a limiter needs to share its counters.
#[derive(Debug)]
pub struct Sharing {
    prefix: KeyPrefix,
    when_down: WhenDown,
    /// Between how many replicas limits are divided while the store is down.
    replicas: AtomicU32,
    /// What is spent while the store is down, of the shares of this replica.
    outage: Memory,
    down: DownCounts,
    banned: BansAsked,
}

/// What is to be asked for a check, and what is known already.
#[derive(Debug)]
pub struct Asking {
    /// What is known.
    pub answers: Answers,
    /// What is to be asked: the place of its answer, and the charges.
    pub checks: SmallVec<[(usize, SharedCheck); 1]>,
}

/// What is known of each step of charges: one for each descriptor, or one for all of them if they are charged all or nothing.
#[derive(Debug, Default)]
pub struct Answers(SmallVec<[Step; 1]>);

/// One step of charges.
#[derive(Debug)]
enum Step {
    /// There is nothing to charge, or it is not known what became of it: the store is down.
    Down,
    /// Decided here.
    Known(Answered),
    /// Decided by the store.
    Outcome(CheckOutcome),
}

/// The outcomes of a step, and whether it admits the check.
#[derive(Clone, Debug)]
struct Answered {
    outcomes: SmallVec<[Charged; 1]>,
    admitted: bool,
}

/// What a check is concluded with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shared<'a> {
    pub(super) sharing: &'a Sharing,
    /// The time of the store.
    pub(super) engine_now: Timestamp,
    pub(super) answers: &'a Answers,
}

impl Sharing {
    /// Counters whose names begin with `prefix`. What is spent while the store is down has a memory of its own, of these bytes at most.
    pub fn new(prefix: KeyPrefix, when_down: WhenDown, outage_bytes: usize) -> Self {
        Self {
            prefix,
            when_down,
            replicas: AtomicU32::new(1),
            outage: Memory::new(outage_bytes, WhenFull::Deny),
            down: DownCounts::default(),
            banned: BansAsked::new(),
        }
    }

    /// Divides limits by this number while the store is down.
    pub fn set_replicas(&self, replicas: u32) {
        self.replicas.store(replicas.max(1), Ordering::Relaxed);
    }

    /// Checks that were answered without the store.
    pub fn down(&self) -> &DownCounts {
        &self.down
    }

    /// Frees the next part of what has ended of the time without the store.
    pub(super) fn sweep_step(&self, now: Timestamp) {
        self.outage.sweep_step(now);
    }
}

impl Answers {
    /// Enters what the store said of the step at this place.
    pub fn put(&mut self, place: usize, outcome: CheckOutcome) {
        if let Some(step) = self.0.get_mut(place) {
            *step = Step::Outcome(outcome);
        }
    }
}

/// When the store was last asked for banned counters: by the hash of their key, some sharing a place.
///
/// A ban is known here until it ends. It is asked for again now and then, so that one that was lifted elsewhere ends here too.
#[derive(Debug)]
struct BansAsked {
    hasher: RandomState,
    asked_ms: Box<[AtomicU64]>,
}

impl BansAsked {
    fn new() -> Self {
        let asked_ms = std::iter::repeat_with(|| AtomicU64::new(0)).take(PLACES).collect();
        Self { hasher: RandomState::new(), asked_ms }
    }

    /// Whether it is time to ask again; then not for the next one.
    fn is_due(&self, now: Timestamp, key: &[u8]) -> bool {
        let place = usize::try_from(self.hasher.hash_one(key)).unwrap_or(0) % PLACES;
        let Some(asked) = self.asked_ms.get(place) else { return true };
        let (last, now_ms) = (asked.load(Ordering::Relaxed), now.as_ns() / 1_000_000);
        let is_due = now_ms.saturating_sub(last) >= ASK_AGAIN.as_millis_ceil();
        is_due && asked.compare_exchange(last, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// 32 KiB.
const PLACES: usize = 4_096;
/// A banned counter is asked for again after that time.
const ASK_AGAIN: Nanos = Nanos::SECOND;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_is_asked_for_once_a_second() {
        let (bans, at) = (BansAsked::new(), |ms: u64| Timestamp::from_ns((1_000_000 + ms) * 1_000_000));
        let asked: Vec<_> = [0, 1, 999, 1_000, 1_001, 2_500].map(|ms| bans.is_due(at(ms), b"key")).into();
        assert_eq!(asked, [true, false, false, true, false, true]);
    }
}
