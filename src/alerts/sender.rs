//! What the sending thread does: takes what is due, tries it, and puts it back when that failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::courier::{Courier, Failure};
use super::{Backlog, Firing, Instance, Parcel, Receiver};
use crate::settings::AlertSettings;
use crate::units::Timestamp;

/// Sends messages, and knows which wait.
#[derive(Debug)]
pub struct Sender {
    settings: AlertSettings,
    courier: Courier,
    backlog: Mutex<Backlog>,
    chance: ahash::RandomState,
    counts: Arc<Counts>,
}

/// What became of alerts, since the start.
#[derive(Debug, Default)]
pub struct Counts {
    fired: AtomicU64,
    delivered: AtomicU64,
    retried: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    pub(super) lost: AtomicU64,
}

impl Counts {
    /// Messages that alerts fired, each once, however many receivers it has.
    pub fn fired(&self) -> u64 {
        self.fired.load(Ordering::Relaxed)
    }

    /// What became of messages, receiver by receiver: `delivered`, `retried` (an attempt that failed, and is made
    /// again), `failed` (given up) and `dropped` (for want of room).
    pub fn deliveries(&self) -> [(&'static str, u64); 4] {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            ("delivered", of(&self.delivered)),
            ("retried", of(&self.retried)),
            ("failed", of(&self.failed)),
            ("dropped", of(&self.dropped)),
        ]
    }

    /// Refused checks that alerts per entry could not be told, there were so many at once.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Sender {
    /// A sender with nothing to send; its messages name `instance`.
    pub fn new(settings: AlertSettings, instance: Instance) -> Self {
        let courier = Courier::new(settings.smtp_url.clone(), instance);
        Self { settings, courier, backlog: Mutex::default(), chance: ahash::RandomState::new(), counts: Arc::default() }
    }

    /// What became of alerts.
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &AlertSettings {
        &self.settings
    }

    /// Takes in a message for all its receivers. Never waits.
    pub fn accept(&self, firing: Firing) {
        count(&self.counts.fired, 1);
        let (due, firing) = (firing.at, Arc::new(firing));
        for receiver in Receiver::of(&firing.alert, &self.settings) {
            let parcel = Parcel { firing: Arc::clone(&firing), receiver: Arc::new(receiver), failures: 0, due };
            self.put(parcel);
        }
    }

    /// Tries the parcel that has been due for the longest time, if one is. Waits for its receiver.
    pub fn send_one(&self, now: Timestamp) -> bool {
        let Some(parcel) = self.backlog.lock().take_due(now) else { return false };
        let (receiver, alert) = (&parcel.receiver, &parcel.firing.alert.name);
        match self.courier.deliver(&parcel.firing, receiver) {
            Ok(()) => count(&self.counts.delivered, 1),
            Err(Failure::ForGood(why)) => {
                count(&self.counts.failed, 1);
                tracing::error!(alert, "alert not delivered, {receiver}: {why}");
            }
            Err(Failure::ForNow(why)) => self.try_again(parcel, now, &why),
        }
        true
    }

    /// When the next parcel is due.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.backlog.lock().next_due()
    }

    /// How many parcels wait.
    pub fn waiting(&self) -> usize {
        self.backlog.lock().len()
    }

    fn try_again(&self, parcel: Parcel, now: Timestamp, why: &str) {
        let (receiver, alert) = (Arc::clone(&parcel.receiver), Arc::clone(&parcel.firing.alert));
        let (alert, failures) = (&alert.name, parcel.failures + 1);
        let chance = self.chance.hash_one((alert, failures, now));
        if let Some(parcel) = parcel.again(now, chance) {
            count(&self.counts.retried, 1);
            tracing::warn!(alert, failures, "alert not delivered yet, {receiver}: {why}");
            self.put(parcel);
        } else {
            count(&self.counts.failed, 1);
            tracing::error!(alert, failures, "alert not delivered, {receiver}: {why}");
        }
    }

    fn put(&self, parcel: Parcel) {
        if let Some(dropped) = self.backlog.lock().push(parcel) {
            count(&self.counts.dropped, 1);
            tracing::error!(
                alert = dropped.firing.alert.name,
                "alert not delivered, {}: too many are waiting",
                dropped.receiver
            );
        }
    }
}

fn count(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}
