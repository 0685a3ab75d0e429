//! PURE: what is to be sent and when, and how often it is tried.

use std::sync::Arc;

use super::{Notification, Receiver};
use crate::units::{Nanos, Timestamp};

/// One notification for one receiver.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    /// The notification.
    pub notification: Arc<Notification>,
    /// The receiver.
    pub receiver: Arc<Receiver>,
    /// The number of failed attempts.
    pub failures: u32,
    /// The time of the next attempt.
    pub due: Timestamp,
}

/// The deliveries that wait to be sent.
#[derive(Debug, Default)]
pub(crate) struct DeliveryQueue {
    /// Oldest first.
    waiting: Vec<Delivery>,
}

impl DeliveryQueue {
    /// Adds a delivery. Returns the oldest one if the queue is full.
    pub(crate) fn push(&mut self, delivery: Delivery) -> Option<Delivery> {
        let oldest = (self.waiting.len() >= MAX_WAITING).then(|| self.waiting.remove(0));
        self.waiting.push(delivery);
        oldest
    }

    /// Takes out the delivery that has been due for the longest time.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Option<Delivery> {
        let due = self.waiting.iter().enumerate().filter(|(_, delivery)| delivery.due <= now);
        let (at, _) = due.min_by_key(|(_, delivery)| delivery.due)?;
        Some(self.waiting.remove(at))
    }

    /// When the next delivery is due.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.waiting.iter().map(|delivery| delivery.due).min()
    }

    /// The number of deliveries that wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }
}

impl Delivery {
    /// The delivery for another attempt after one failed at `now`; `None` after [`ATTEMPTS`].
    ///
    /// The wait doubles with each failure, up to five minutes. `chance`, a uniform random number, shortens it by up to half, so
    /// that deliveries that failed together are not tried again together.
    pub(crate) fn again(mut self, now: Timestamp, chance: u64) -> Option<Self> {
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

/// A KiB or two each. With a thousand messages unread, the oldest is the least useful.
const MAX_WAITING: usize = 1_000;
/// With the waits in between they take five to ten minutes, longer than a receiver takes to restart.
const ATTEMPTS: u32 = 10;
const FIRST_WAIT: Nanos = Nanos::SECOND;
const LONGEST_WAIT: Nanos = Nanos::from_secs(300);

#[cfg(test)]
mod tests {
    use super::super::notification_for_tests;
    use super::*;

    fn delivery(due: u64) -> Delivery {
        let receiver = Receiver::Mail { to: Vec::new(), from: None };
        Delivery {
            notification: Arc::new(notification_for_tests("a")),
            receiver: Arc::new(receiver),
            failures: 0,
            due: Timestamp::from_ns(due),
        }
    }

    #[test]
    fn the_longest_due_comes_first_and_nothing_before_its_time() {
        let mut queue = DeliveryQueue::default();
        for due in [30, 10, 20] {
            assert!(queue.push(delivery(due)).is_none());
        }
        let take = |now, queue: &mut DeliveryQueue| {
            queue.take_due(Timestamp::from_ns(now)).map(|delivery| delivery.due.as_ns())
        };
        assert_eq!(take(9, &mut queue), None);
        assert_eq!(queue.next_due(), Some(Timestamp::from_ns(10)));
        assert_eq!([take(25, &mut queue), take(25, &mut queue), take(25, &mut queue)], [Some(10), Some(20), None]);
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut queue = DeliveryQueue::default();
        let dropped = (0..MAX_WAITING as u64 + 2).filter_map(|due| queue.push(delivery(due)));
        assert_eq!(dropped.map(|delivery| delivery.due.as_ns()).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(queue.len(), MAX_WAITING);
    }

    #[test]
    fn waits_double_up_to_five_minutes_and_end() {
        let waits = |chance: u64| {
            let now = Timestamp::from_ns(1);
            let tries =
                std::iter::successors(delivery(0).again(now, chance), |delivery| delivery.clone().again(now, chance));
            tries.map(|delivery| delivery.due.since(now).as_millis_ceil()).collect::<Vec<_>>()
        };
        assert_eq!(waits(0), [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000]);
        for (wait, full) in waits(u64::MAX / 3).into_iter().zip(waits(0)) {
            assert!(wait <= full && wait >= full / 2, "{wait} of {full}");
        }
    }
}
