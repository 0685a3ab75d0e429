//! The notification of an alert.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::Instance;
use crate::rules::{Alert, Per};
use crate::sanitize::sanitize;
use crate::units::Timestamp;

/// One notification of an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notification {
    /// When the count was reached.
    pub at: Timestamp,
    /// The alert's domain.
    pub domain: String,
    /// The alert.
    pub alert: Arc<Alert>,
    /// What it is about.
    pub subject: Subject,
    /// Denials within the alert's window, at least the alert's threshold.
    pub denials: u64,
    /// Denials since the last notification about the same subject.
    pub since_last: u64,
    /// Notifications about the same subject that the repeat interval has suppressed since the last one.
    pub suppressed: u64,
}

/// What an alert counts individually.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// A rule, by its path.
    Rule(String),
    /// A value of the entry that the alert counts by, [sanitized](crate::sanitize::sanitize).
    Value(String),
    /// All values that are not counted individually.
    Other,
}

impl Notification {
    /// The body of a webhook request.
    pub(crate) fn json(&self, instance: &Instance) -> Value {
        let entry = match (&self.alert.per, &self.subject) {
            (Per::Entry(key), Subject::Value(value)) => json!({"key": key, "value": value}),
            (Per::Entry(key), _) => json!({"key": key, "value": null}),
            (Per::Rule, _) => Value::Null,
        };
        json!({
            "version": 1,
            "at": self.time(),
            "instance": {"host": instance.host, "id": instance.id},
            "alert": self.alert.name,
            "domain": self.domain,
            "rule": self.rule(),
            "entry": entry,
            "denials": self.denials,
            "threshold": self.alert.denials,
            "window_seconds": Duration::from(self.alert.window).as_secs_f64(),
            "denials_since_last_message": self.since_last,
            "messages_suppressed": self.suppressed,
            "text": self.text(instance),
        })
    }

    /// A sentence for people.
    pub(crate) fn text(&self, instance: &Instance) -> String {
        let Self { alert, denials, .. } = self;
        let (window, about, host) = (alert.window, self.about(), &instance.host);
        let mut text = format!("{}: {denials} checks denied within {window} {about} at {host}", alert.name);
        if self.suppressed > 0 {
            let _ = write!(
                text,
                "; {} denied since the last message, {} messages suppressed in between",
                self.since_last, self.suppressed
            );
        }
        text
    }

    /// The subject of a mail.
    pub(crate) fn subject_line(&self, instance: &Instance) -> String {
        format!("[tidegate] {} {} at {}", self.alert.name, self.about(), instance.host)
    }

    /// The time in RFC 3339 format.
    pub(crate) fn time(&self) -> String {
        let at = SystemTime::UNIX_EPOCH + Duration::from_nanos(self.at.as_ns());
        humantime::format_rfc3339_millis(at).to_string()
    }

    fn rule(&self) -> Option<&str> {
        match &self.subject {
            Subject::Rule(path) => Some(path),
            Subject::Value(_) | Subject::Other => self.alert.rule.as_deref(),
        }
    }

    fn about(&self) -> String {
        let place = match self.rule() {
            Some(rule) => format!("by rule {}", sanitize(rule)),
            None => format!("in domain {}", sanitize(&self.domain)),
        };
        match (&self.alert.per, &self.subject) {
            (Per::Entry(key), Subject::Value(value)) => format!("{place}, {}={value}", sanitize(key)),
            (Per::Entry(key), _) => format!("{place}, {} (values not counted individually)", sanitize(key)),
            (Per::Rule, _) => place,
        }
    }
}
