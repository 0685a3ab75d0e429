//! The thread that counts denials and fires alerts.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::rule_denials::RuleDenials;
use super::{Evaluator, Notification, Receiver, Sender, Subject};
use crate::limiter::Limiter;
use crate::runtime::clock::Clock;
use crate::runtime::threads::{Stop, Wait, Waker};
use crate::sanitize::sanitize;
use crate::units::{Nanos, Timestamp};
use crate::usage::Listener;

/// DeliveryCounts denials for the alerts of the configuration in force, and passes notifications to the sender.
#[derive(Debug)]
pub(super) struct Watch {
    limiter: Arc<Limiter>,
    sender: Arc<Sender>,
    evaluator: Evaluator,
    /// The generation of the configuration that the evaluator has.
    generation: u64,
    /// Present while an alert counts by entry.
    listener: Option<Listener>,
    denials: RuleDenials,
    fired_at: Timestamp,
}

impl Watch {
    pub(super) fn new(limiter: Arc<Limiter>, sender: Arc<Sender>) -> Self {
        Self {
            limiter,
            sender,
            evaluator: Evaluator::default(),
            generation: 0,
            listener: None,
            denials: RuleDenials::default(),
            fired_at: Timestamp::EPOCH,
        }
    }

    /// Runs until it is stopped; `sending` is woken for every notification.
    pub(super) fn run(mut self, clock: &Clock, sending: &Waker, stop: &Stop) {
        loop {
            if self.step(clock.now()) > 0 {
                sending.wake();
            }
            if stop.wait(REST) == Wait::Stopped {
                return;
            }
        }
    }

    /// One step. Returns the number of notifications.
    pub(super) fn step(&mut self, now: Timestamp) -> usize {
        if self.limiter.generation() != self.generation {
            self.configure();
        }
        if let Some(listener) = &mut self.listener {
            let (denials, lost) = listener.poll(usize::MAX);
            for denial in &denials {
                self.evaluator.count_denial(denial);
            }
            self.sender.counts().lost.fetch_add(lost, Ordering::Relaxed);
        }
        if now.since(self.fired_at) < Nanos::SECOND && self.fired_at <= now {
            return 0;
        }
        self.fired_at = now;
        self.count_rules(now);
        let fired = self.evaluator.fire(now);
        let messages = fired.len();
        for notification in fired {
            log(&notification);
            self.sender.accept(notification);
        }
        messages
    }

    fn configure(&mut self) {
        // Read before the rules: if the rules are newer, the next step configures them again.
        self.generation = self.limiter.generation();
        let Some(view) = self.limiter.view() else { return };
        let Some(rules) = view.rules() else { return };
        self.evaluator.configure(rules.domains());
        self.listener = match self.listener.take() {
            _ if !self.evaluator.counts_entries() => None,
            Some(listener) => Some(listener),
            None => Some(self.limiter.usage().denials().listen()),
        };
        for (domain, alert) in self.evaluator.alerts() {
            let receivers = Receiver::for_alert(alert, self.sender.settings());
            let (domain, alert) = (sanitize(domain), &alert.name);
            if receivers.is_empty() {
                tracing::warn!(
                    domain,
                    alert,
                    "alert has no receiver, it is only logged: give it a webhook or mail, or set --alert-webhook or --alert-mail-to"
                );
            }
            for (receiver, lack) in
                receivers.iter().filter_map(|receiver| Some((receiver, receiver.lacks(self.sender.settings())?)))
            {
                tracing::warn!(domain, alert, "alert cannot be delivered: {receiver}: {lack}");
            }
        }
        if self.in_global_shadow() && self.evaluator.alerts().next().is_some() {
            tracing::warn!("no alert will fire: the process is in shadow mode and denies nothing");
        }
    }

    fn in_global_shadow(&self) -> bool {
        self.limiter.view().is_some_and(|view| view.in_global_shadow())
    }

    fn count_rules(&mut self, now: Timestamp) {
        if !self.evaluator.counts_rules() || self.in_global_shadow() {
            return self.denials.skip();
        }
        let evaluator = &mut self.evaluator;
        self.denials.poll(self.limiter.usage(), |domain, rule, denials| {
            evaluator.count_rule(now, domain, rule, denials);
        });
    }
}

/// Every notification is logged, whether or not it can be delivered.
fn log(notification: &Notification) {
    let subject = match &notification.subject {
        Subject::Rule(path) => sanitize(path),
        Subject::Value(value) => value.clone(),
        Subject::Other => "other".to_owned(),
    };
    let Notification { alert, domain, denials, since_last, suppressed, .. } = notification;
    let (domain, window) = (sanitize(domain), alert.window);
    tracing::warn!(domain, alert = alert.name, subject, denials, %window, since_last, suppressed, "alert");
}

/// Between two polls. Shorter than the time for which denials are kept at the highest rate, a third of a second.
const REST: Duration = Duration::from_millis(100);
