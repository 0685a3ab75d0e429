//! PURE: denials in, notifications out. No clock, no thread, no network.

use std::collections::HashMap;
use std::sync::Arc;

use super::window::Window;
use super::{Notification, Subject};
use crate::rules::{Alert, Domain, Per};
use crate::sanitize::sanitize;
use crate::units::{Nanos, Timestamp};
use crate::usage::Denial;

/// DeliveryCounts denials for every alert, and decides when a notification is due.
///
/// A count that has reached its threshold starts from zero: each denial belongs to one notification, sent or suppressed.
#[derive(Debug, Default)]
pub(crate) struct Evaluator {
    watched: Vec<Watched>,
    /// The number of subjects, of all alerts together.
    subjects: usize,
}

/// One alert, and what it has counted.
#[derive(Debug)]
struct Watched {
    domain: String,
    alert: Arc<Alert>,
    counts: HashMap<Subject, Counted, ahash::RandomState>,
    /// When subjects were last cleared, which reads all of them.
    cleared_at: Timestamp,
}

/// The counts of one subject.
#[derive(Debug, Default)]
struct Counted {
    window: Window,
    since_last: u64,
    suppressed: u64,
    notified_at: Option<Timestamp>,
}

impl Evaluator {
    /// Takes over the alerts of a configuration. Unchanged alerts keep their counts.
    pub(crate) fn configure<'d>(&mut self, domains: impl Iterator<Item = &'d Domain>) {
        let mut before = std::mem::take(&mut self.watched);
        for domain in domains {
            for alert in &domain.alerts {
                let same = before.iter().position(|known| known.domain == domain.name && *known.alert == *alert);
                self.watched.push(same.map_or_else(|| Watched::new(domain, alert), |at| before.swap_remove(at)));
            }
        }
        self.subjects = self.watched.iter().map(|watched| watched.counts.len()).sum();
    }

    /// Every alert, with its domain.
    pub(crate) fn alerts(&self) -> impl Iterator<Item = (&str, &Alert)> {
        self.watched.iter().map(|watched| (&*watched.domain, &*watched.alert))
    }

    /// Whether an alert counts by rule, so that [`count_rule`](Self::count_rule) has to be called.
    pub(crate) fn counts_rules(&self) -> bool {
        self.watched.iter().any(|watched| watched.alert.per == Per::Rule)
    }

    /// Whether an alert counts by entry, so that [`count_denial`](Self::count_denial) has to be called.
    pub(crate) fn counts_entries(&self) -> bool {
        self.watched.iter().any(|watched| watched.alert.per != Per::Rule)
    }

    /// DeliveryCounts checks that a rule denied, for alerts per rule.
    pub(crate) fn count_rule(&mut self, now: Timestamp, domain: &str, rule: &str, denials: u64) {
        let left = &mut self.subjects;
        for watched in &mut self.watched {
            if watched.alert.per == Per::Rule && watched.is_about(domain, rule) {
                watched.count(now, Subject::Rule(rule.to_owned()), denials, left);
            }
        }
    }

    /// DeliveryCounts a denied check once for each alert per entry, if the alert's rule is one that denied it. A check that shadow mode
    /// admitted is not denied.
    pub(crate) fn count_denial(&mut self, denial: &Denial) {
        if denial.shadow {
            return;
        }
        let left = &mut self.subjects;
        for watched in &mut self.watched {
            let Per::Entry(key) = &watched.alert.per else { continue };
            let limit = denial.limits().find(|limit| watched.is_about(&denial.domain, &limit.rule));
            if let Some(value) = limit.and_then(|limit| denial.value(limit, key)) {
                watched.count(denial.at, Subject::Value(sanitize(value)), 1, left);
            }
        }
    }

    /// The notifications that are due at `now`. Called about once a second.
    pub(crate) fn fire(&mut self, now: Timestamp) -> Vec<Notification> {
        let mut fired = Vec::new();
        for watched in &mut self.watched {
            watched.fire(now, &mut fired);
        }
        fired
    }
}

impl Watched {
    fn new(domain: &Domain, alert: &Alert) -> Self {
        Self {
            domain: domain.name.clone(),
            alert: Arc::new(alert.clone()),
            counts: HashMap::default(),
            cleared_at: Timestamp::EPOCH,
        }
    }

    fn is_about(&self, domain: &str, rule: &str) -> bool {
        self.domain == domain && self.alert.rule.as_deref().is_none_or(|named| named == rule)
    }

    fn count(&mut self, now: Timestamp, subject: Subject, denials: u64, subjects: &mut usize) {
        let subject = if self.counts.contains_key(&subject) || self.has_capacity(now, subjects) {
            subject
        } else {
            Subject::Other
        };
        let counted = self.counts.entry(subject).or_insert_with(|| {
            *subjects += 1;
            Counted::default()
        });
        counted.window.add(now, self.alert.window, denials);
        counted.since_last = counted.since_last.saturating_add(denials);
    }

    /// Whether another subject can be counted, if necessary after those without denials are cleared.
    fn has_capacity(&mut self, now: Timestamp, subjects: &mut usize) -> bool {
        let full = |own: usize, all: usize| own >= MAX_SUBJECTS || all >= MAX_ALL_SUBJECTS;
        if full(self.counts.len(), *subjects) && now.since(self.cleared_at) >= Nanos::SECOND {
            self.cleared_at = now;
            let before = self.counts.len();
            let alert = &self.alert;
            self.counts.retain(|_, counted| !counted.is_over(now, alert));
            *subjects = subjects.saturating_sub(before - self.counts.len());
        }
        !full(self.counts.len(), *subjects)
    }

    fn fire(&mut self, now: Timestamp, fired: &mut Vec<Notification>) {
        let before = fired.len();
        for (subject, counted) in &mut self.counts {
            let denials = counted.window.count(now, self.alert.window);
            if denials < u64::from(self.alert.denials) {
                continue;
            }
            counted.window.clear();
            if counted.is_within_repeat_interval(now, &self.alert) {
                counted.suppressed += 1;
                continue;
            }
            counted.notified_at = Some(now);
            fired.push(Notification {
                at: now,
                domain: self.domain.clone(),
                alert: Arc::clone(&self.alert),
                subject: subject.clone(),
                denials,
                since_last: std::mem::take(&mut counted.since_last),
                suppressed: std::mem::take(&mut counted.suppressed),
            });
        }
        if let Some(own) = fired.get_mut(before..) {
            own.sort_by(|a, b| a.subject.cmp(&b.subject));
        }
    }
}

impl Counted {
    fn is_within_repeat_interval(&self, now: Timestamp, alert: &Alert) -> bool {
        self.notified_at.is_some_and(|notified_at| now.since(notified_at) < alert.repeat_interval)
    }

    /// No denial is counted, and the repeat interval has passed.
    fn is_over(&mut self, now: Timestamp, alert: &Alert) -> bool {
        self.window.count(now, alert.window) == 0 && !self.is_within_repeat_interval(now, alert)
    }
}

/// Subjects of one alert; further ones are counted together. An alert for more partners than that at once concerns them all.
const MAX_SUBJECTS: usize = 10_000;
/// Subjects of all alerts, about 700 bytes each.
const MAX_ALL_SUBJECTS: usize = 100_000;

#[cfg(test)]
mod tests;
