//! What operators change while the service runs: settings, counters, and a candidate configuration; and the audit log of it, which
//! has recordings too.
//!
//! Transport-free: the admin port reads messages, and calls [`Operations`].
//!
//! ```text
//! AdminService --> Operations --> config::Publisher   settings, promotion
//!                      |--------> limiter             counters, explanations, candidate
//!                      |--------> AuditLog, Journal   who changed what; what survives a restart
//!                      '--------> Shared              what other replicas have to know, and what they changed
//! ```

mod audit;
mod candidate;
mod counters;
mod explain;
mod journal;
mod recording;
mod replicas;
mod settings;

use std::sync::Arc;

use audit::Action;
pub(crate) use audit::{AuditEntry, AuditLog};
pub(crate) use candidate::{CandidateFailure, CandidateReport};
pub(crate) use counters::BadRequest;
pub(crate) use explain::how;
pub(crate) use journal::{Journal, JournalError};
pub(crate) use replicas::{Shared, SharedStatus};
pub(crate) use settings::Changed;

use crate::config::Publisher;
use crate::limiter::Limiter;
use crate::rules::{LoadOptions, Scope};
use crate::runtime::clock::Clock;
use crate::sanitize::sanitize_within;
use crate::units::Timestamp;

/// The operations of one process.
#[derive(Debug)]
pub(crate) struct Operations {
    publisher: Arc<Publisher>,
    limiter: Arc<Limiter>,
    clock: Arc<Clock>,
    audit: AuditLog,
    /// `None`: nothing survives a restart.
    journal: Option<Journal>,
    read_only: bool,
    /// How the rules of the process are loaded.
    load_options: LoadOptions,
    /// `None`: what is changed here is for this process alone.
    shared: Option<Shared>,
}

/// What an operator wants to be known about a change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Author {
    /// Who makes it.
    pub(crate) principal: String,
    /// Why.
    pub(crate) reason: String,
}

impl Author {
    /// A line for the audit log: the action, what it applies to, and the value before and after.
    fn entry(&self, time: Timestamp, action: Action, scope: &Scope, values: (&str, &str)) -> AuditEntry {
        AuditEntry { applies_to: Some(scope.clone()), ..self.entry_of(time, action, scope.to_string(), values) }
    }

    /// The same, of what has no scope.
    fn entry_of(&self, time: Timestamp, action: Action, scope: String, (old, new): (&str, &str)) -> AuditEntry {
        AuditEntry {
            time,
            principal: self.principal.clone(),
            action,
            scope,
            applies_to: None,
            name: String::new(),
            old: old.to_owned(),
            new: new.to_owned(),
            reason: self.reason.clone(),
        }
    }
}

impl Operations {
    /// The operations of what `publisher` puts in force in `limiter`. The audit log begins with what `journal` has.
    pub(crate) fn new(
        publisher: Arc<Publisher>,
        limiter: Arc<Limiter>,
        clock: Arc<Clock>,
        journal: Option<Journal>,
        read_only: bool,
    ) -> Self {
        let audit = AuditLog::default();
        for entry in journal.iter().flat_map(Journal::audit) {
            audit.record(entry);
        }
        Self {
            publisher,
            limiter,
            clock,
            audit,
            journal,
            read_only,
            load_options: LoadOptions::default(),
            shared: None,
        }
    }

    /// Loads candidates as the rules of the process are loaded.
    #[must_use]
    pub(crate) fn with_load_options(self, load_options: LoadOptions) -> Self {
        Self { load_options, ..self }
    }

    /// The same, with changes that replicas share.
    pub(crate) fn with_shared(self, shared: Option<Shared>) -> Self {
        let operations = Self { shared, ..self };
        operations.begin_sharing();
        operations
    }

    /// The audit log.
    pub(crate) fn audit(&self) -> &AuditLog {
        &self.audit
    }

    /// Whether settings can be changed.
    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Adds a line to the audit log. Returns a warning if it could not be stored.
    fn record(&self, entry: AuditEntry) -> Option<String> {
        let entry = self.audited(entry);
        let stored = self.journal.as_ref().map_or(Ok(()), |journal| journal.append(&entry));
        stored.err().map(|error| warn(&error))
    }

    /// Adds a line to the audit log in memory, and returns it as it is to be stored.
    fn audited(&self, entry: AuditEntry) -> AuditEntry {
        let entry = AuditEntry { scope: cut(entry.scope), ..entry };
        tracing::info!(
            action = entry.action.name(), scope = %sanitized(&entry.scope), name = entry.name, old = %sanitized(&entry.old),
            new = %sanitized(&entry.new), principal = %sanitized(&entry.principal), reason = %sanitized(&entry.reason),
            "changed by an operator"
        );
        self.audit.record(entry.clone());
        entry
    }
}

/// A scope as the audit log keeps it: 10,000 long paths must not fill the memory.
fn cut(scope: String) -> String {
    match scope.get(..scope.floor_char_boundary(MAX_SCOPE_BYTES)) {
        Some(kept) if kept.len() < scope.len() => format!("{kept}..."),
        _ => scope,
    }
}

fn sanitized(text: &str) -> String {
    sanitize_within(MAX_SHOWN, text)
}

/// Logs a change that could not be stored, and words it for the operator.
fn warn(error: &JournalError) -> String {
    tracing::error!(%error, "the change is in force, but could not be stored");
    format!("the change is in force, but could not be stored, and will be lost at a restart: {error}")
}

/// Bytes of a scope in the audit log.
const MAX_SCOPE_BYTES: usize = 1_000;
/// Bytes of a text in the log.
const MAX_SHOWN: usize = 500;
