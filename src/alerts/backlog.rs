//! PURE: what is to be sent, when, and for how long it is tried.

use std::sync::Arc;

use super::{Firing, Receiver};
use crate::units::{Nanos, Timestamp};

/// One message on its way to one receiver.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// The message.
    pub firing: Arc<Firing>,
    /// Whom it is for.
    pub receiver: Arc<Receiver>,
    /// How often it was tried in vain.
    pub failures: u32,
    /// Not before then.
    pub due: Timestamp,
}

/// Everything that waits to be sent.
#[derive(Debug, Default)]
pub struct Backlog {
    /// Oldest first.
    waiting: Vec<Parcel>,
}

impl Backlog {
    /// Takes in a parcel. What no longer fits, the oldest first, is handed back.
    pub fn push(&mut self, parcel: Parcel) -> Option<Parcel> {
        let oldest = (self.waiting.len() >= MAX_WAITING).then(|| self.waiting.remove(0));
        self.waiting.push(parcel);
        oldest
    }

    /// Takes out the parcel that has been due for the longest time.
    pub fn take_due(&mut self, now: Timestamp) -> Option<Parcel> {
        let due = self.waiting.iter().enumerate().filter(|(_, parcel)| parcel.due <= now);
        let (at, _) = due.min_by_key(|(_, parcel)| parcel.due)?;
        Some(self.waiting.remove(at))
    }

    /// When the next one is due.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.waiting.iter().map(|parcel| parcel.due).min()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Parcel {
    /// The parcel for another attempt, after one at `now` failed; nothing when it was tried often enough.
    ///
    /// The wait doubles with each failure, up to five minutes. `chance`, of which every number is as likely as any
    /// other, takes up to half of it off, so that parcels that failed together are not tried together.
    pub fn again(mut self, now: Timestamp, chance: u64) -> Option<Self> {
        self.failures += 1;
        if self.failures >= ATTEMPTS {
            return None;
        }
        let doubled = FIRST_WAIT.as_ns().saturating_mul(1 << (self.failures - 1).min(32));
        let wait = doubled.min(LONGEST_WAIT.as_ns());
        self.due = now.plus(Nanos::from_ns(wait - chance % (wait / 2)));
        Some(self)
    }
}

/// Of a KiB or two each. Who has not read a thousand messages does not miss the oldest.
const MAX_WAITING: usize = 1_000;
/// With the waits between them: five to ten minutes, longer than a receiver takes to restart.
const ATTEMPTS: u32 = 10;
const FIRST_WAIT: Nanos = Nanos::SECOND;
const LONGEST_WAIT: Nanos = Nanos::from_secs(300);

#[cfg(test)]
mod tests {
    use super::super::firing_for_tests;
    use super::*;

    fn parcel(due: u64) -> Parcel {
        let receiver = Receiver::Mail { to: Vec::new(), from: None };
        Parcel {
            firing: Arc::new(firing_for_tests("a")),
            receiver: Arc::new(receiver),
            failures: 0,
            due: Timestamp::from_ns(due),
        }
    }

    #[test]
    fn the_longest_due_comes_first_and_nothing_before_its_time() {
        let mut backlog = Backlog::default();
        for due in [30, 10, 20] {
            assert!(backlog.push(parcel(due)).is_none());
        }
        let take =
            |now, backlog: &mut Backlog| backlog.take_due(Timestamp::from_ns(now)).map(|parcel| parcel.due.as_ns());
        assert_eq!(take(9, &mut backlog), None);
        assert_eq!(backlog.next_due(), Some(Timestamp::from_ns(10)));
        assert_eq!(
            [take(25, &mut backlog), take(25, &mut backlog), take(25, &mut backlog)],
            [Some(10), Some(20), None]
        );
        assert_eq!(backlog.len(), 1);
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut backlog = Backlog::default();
        let dropped = (0..MAX_WAITING as u64 + 2).filter_map(|due| backlog.push(parcel(due)));
        assert_eq!(dropped.map(|parcel| parcel.due.as_ns()).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(backlog.len(), MAX_WAITING);
    }

    #[test]
    fn waits_double_up_to_five_minutes_and_end() {
        let waits = |chance: u64| {
            let now = Timestamp::from_ns(1);
            let tries = std::iter::successors(parcel(0).again(now, chance), |parcel| parcel.clone().again(now, chance));
            tries.map(|parcel| parcel.due.since(now).as_millis_ceil()).collect::<Vec<_>>()
        };
        assert_eq!(waits(0), [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000]);
        for (wait, full) in waits(u64::MAX / 3).into_iter().zip(waits(0)) {
            assert!(wait <= full && wait >= full / 2, "{wait} of {full}");
        }
    }
}
