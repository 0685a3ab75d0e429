//! The work of the sending thread: it takes a delivery that is due, tries it, and puts it back if the attempt failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::notifier::{DeliveryError, Notifier};
use super::{Delivery, DeliveryQueue, Instance, Notification, Receiver, Recent};
use crate::settings::AlertSettings;
use crate::units::Timestamp;

/// Sends notifications, and keeps those that wait.
#[derive(Debug)]
pub(crate) struct Sender {
    settings: AlertSettings,
    notifier: Notifier,
    queue: Mutex<DeliveryQueue>,
    chance: ahash::RandomState,
    counts: Arc<DeliveryCounts>,
    recent: Arc<Recent>,
}

/// DeliveryCounts of notifications and deliveries, since the start.
#[derive(Debug, Default)]
pub(crate) struct DeliveryCounts {
    fired: AtomicU64,
    delivered: AtomicU64,
    retried: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    pub(super) lost: AtomicU64,
}

impl DeliveryCounts {
    /// Notifications fired by alerts, each counted once, however many receivers it has.
    pub(crate) fn fired(&self) -> u64 {
        self.fired.load(Ordering::Relaxed)
    }

    /// Deliveries by result, counted for each receiver: `delivered`, `retried` (an attempt failed, another follows), `failed`
    /// (given up) and `dropped` (the queue was full).
    pub(crate) fn deliveries(&self) -> [(&'static str, u64); 4] {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            ("delivered", of(&self.delivered)),
            ("retried", of(&self.retried)),
            ("failed", of(&self.failed)),
            ("dropped", of(&self.dropped)),
        ]
    }

    /// Denied checks that were dropped before alerts per entry could count them.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Sender {
    /// A sender with an empty queue; its notifications name `instance`.
    pub(crate) fn new(settings: AlertSettings, instance: Instance) -> Self {
        let notifier = Notifier::new(settings.smtp_url.clone(), instance);
        let chance = ahash::RandomState::new();
        let (counts, recent) = (Arc::default(), Arc::default());
        Self { settings, notifier, queue: Mutex::default(), chance, counts, recent }
    }

    /// DeliveryCounts of notifications and deliveries.
    pub(crate) fn counts(&self) -> &Arc<DeliveryCounts> {
        &self.counts
    }

    /// The latest notifications, delivered or not.
    pub(crate) fn recent(&self) -> &Arc<Recent> {
        &self.recent
    }

    /// The settings it was made with.
    pub(crate) fn settings(&self) -> &AlertSettings {
        &self.settings
    }

    /// Queues a notification for all its receivers. Never waits.
    pub(crate) fn accept(&self, notification: Notification) {
        count(&self.counts.fired, 1);
        let (due, notification) = (notification.at, Arc::new(notification));
        self.recent.add(Arc::clone(&notification));
        for receiver in Receiver::for_alert(&notification.alert, &self.settings) {
            let delivery =
                Delivery { notification: Arc::clone(&notification), receiver: Arc::new(receiver), failures: 0, due };
            self.put(delivery);
        }
    }

    /// Tries the delivery that has been due for the longest time. Waits for its receiver. Returns false if none is due.
    pub(crate) fn send_one(&self, now: Timestamp) -> bool {
        let Some(delivery) = self.queue.lock().take_due(now) else { return false };
        let (receiver, alert) = (&delivery.receiver, &delivery.notification.alert.name);
        match self.notifier.deliver(&delivery.notification, receiver) {
            Ok(()) => count(&self.counts.delivered, 1),
            Err(DeliveryError::ForGood(why)) => {
                count(&self.counts.failed, 1);
                tracing::error!(alert, "alert not delivered: {receiver}: {why}");
            }
            Err(DeliveryError::ForNow(why)) => self.try_again(delivery, now, &why),
        }
        true
    }

    /// When the next delivery is due.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.queue.lock().next_due()
    }

    /// The number of deliveries that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.lock().len()
    }

    fn try_again(&self, delivery: Delivery, now: Timestamp, why: &str) {
        let (receiver, alert) = (Arc::clone(&delivery.receiver), Arc::clone(&delivery.notification.alert));
        let (alert, failures) = (&alert.name, delivery.failures + 1);
        let chance = self.chance.hash_one((alert, failures, now));
        if let Some(delivery) = delivery.again(now, chance) {
            count(&self.counts.retried, 1);
            tracing::warn!(alert, failures, "alert not delivered, will retry: {receiver}: {why}");
            self.put(delivery);
        } else {
            count(&self.counts.failed, 1);
            tracing::error!(alert, failures, "alert not delivered: {receiver}: {why}");
        }
    }

    fn put(&self, delivery: Delivery) {
        if let Some(dropped) = self.queue.lock().push(delivery) {
            count(&self.counts.dropped, 1);
            tracing::error!(
                alert = dropped.notification.alert.name,
                "alert not delivered: {}: too many deliveries are waiting",
                dropped.receiver
            );
        }
    }
}

fn count(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}
