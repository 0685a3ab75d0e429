//! Alerts: a notification is sent when checks are denied too often.
//!
//! ```text
//! sums of every rule, once a second --.
//! Denials --Listener, as they come ---+--> Evaluator --> DeliveryQueue --> Notifier --> webhook, mail
//!                                      (thread "alert")  (thread "alert-send")
//! ```
//! Alerts per rule count by the sums, which are exact. Alerts per entry count the denials that the listener receives; at very
//! high rates some are dropped, and their number is counted. No decision ever waits for either thread.

mod delivery_queue;
mod evaluator;
mod instance;
mod notification;
mod notifier;
mod receiver;
mod recent;
mod rule_denials;
mod sender;
mod watch;
mod window;

use std::io;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use delivery_queue::{Delivery, DeliveryQueue};
pub(crate) use evaluator::Evaluator;
pub(crate) use instance::Instance;
pub(crate) use notification::{Notification, Subject};
pub(crate) use receiver::Receiver;
pub(crate) use recent::Recent;
pub(crate) use sender::{DeliveryCounts, Sender};

use crate::limiter::Limiter;
use crate::runtime::clock::Clock;
use crate::runtime::threads::{Stop, Wait, Worker};
use crate::settings::AlertSettings;
use crate::units::Nanos;
use watch::Watch;

/// DeliveryCounts denials and sends notifications until it is dropped.
#[derive(Debug)]
pub(crate) struct Alerts {
    sender: Arc<Sender>,
    watching: Worker,
    sending: Worker,
}

impl Alerts {
    /// Starts both threads. They follow every configuration that the limiter is given; notifications name `instance`.
    ///
    /// # Errors
    /// The system cannot start another thread.
    pub(crate) fn start(
        limiter: Arc<Limiter>,
        clock: Arc<Clock>,
        settings: AlertSettings,
        instance: Instance,
    ) -> io::Result<Self> {
        let sender = Arc::new(Sender::new(settings, instance));
        let watch = Watch::new(limiter, Arc::clone(&sender));
        let (sends, its_clock) = (Arc::clone(&sender), Arc::clone(&clock));
        let sending = Worker::spawn("tidegate-alert-send", move |stop| send(&sends, &its_clock, stop))?;
        let waker = sending.waker();
        let watching = Worker::spawn("tidegate-alert", move |stop| watch.run(&clock, &waker, stop))?;
        Ok(Self { sender, watching, sending })
    }

    /// DeliveryCounts of notifications and deliveries so far.
    pub(crate) fn counts(&self) -> &Arc<DeliveryCounts> {
        self.sender.counts()
    }

    /// The latest notifications.
    pub(crate) fn recent(&self) -> &Arc<Recent> {
        self.sender.recent()
    }
}

/// Waits for the current attempt, but not for as long as a receiver may take.
impl Drop for Alerts {
    fn drop(&mut self) {
        self.watching.stop();
        self.sending.stop_within(STOP_TIMEOUT);
        let waiting = self.sender.waiting();
        if waiting > 0 {
            tracing::warn!(waiting, "alert notifications dropped: the process ends before they were delivered");
        }
    }
}

/// Sends deliveries when they are due.
fn send(sender: &Sender, clock: &Clock, stop: &Stop) {
    loop {
        let now = clock.now();
        let rest = sender.next_due().map_or(LONGEST_REST, |due| due.since(now));
        if stop.wait(rest.min(LONGEST_REST).into()) == Wait::Stopped {
            return;
        }
        sender.send_one(clock.now());
    }
}

/// The longest wait while no delivery is due; a new one ends it.
const LONGEST_REST: Nanos = Nanos::from_secs(3_600);
/// How long the end of the process waits for the current attempt.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;

#[cfg(test)]
fn notification_for_tests(name: &str) -> Notification {
    use crate::rules::{Alert, Per};
    let alert = Alert {
        name: name.into(),
        rule: None,
        per: Per::Rule,
        denials: 10,
        window: Nanos::from_secs(60),
        repeat_interval: Nanos::from_secs(60),
        webhook: None,
        mail: None,
    };
    Notification {
        at: crate::units::Timestamp::from_ns(1_700_000_000_000_000_000),
        domain: "api".into(),
        alert: Arc::new(alert),
        subject: Subject::Rule("api.partner".into()),
        denials: 12,
        since_last: 12,
        suppressed: 0,
    }
}
