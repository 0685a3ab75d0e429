//! Recordings in the audit log: who took checks with their values, of which domains, and how many.

use super::{Action, Author, Operations};
use crate::rules::{Scope, ScopeTarget};

impl Operations {
    /// Writes down that a recording begins; `what` describes it.
    ///
    /// Blocks, as it is stored.
    pub(crate) fn recording_starts(&self, domains: &[String], what: &str, author: &Author) {
        self.audit_recording(Action::RecordingStart, domains, what, author);
    }

    /// Writes down that a recording has ended; `what` says what is in it.
    ///
    /// Blocks, as it is stored.
    pub(crate) fn recording_ends(&self, domains: &[String], what: &str, author: &Author) {
        self.audit_recording(Action::RecordingStop, domains, what, author);
    }

    fn audit_recording(&self, action: Action, domains: &[String], what: &str, author: &Author) {
        let time = self.clock.now();
        let entry = if let [domain] = domains {
            let scope = Scope { target: ScopeTarget::Domain(domain.clone()), entries: Vec::new(), limit: 0 };
            author.entry(time, action, &scope, ("", what))
        } else {
            let scope =
                if domains.is_empty() { "everything".to_owned() } else { format!("domains {}", domains.join(" ")) };
            author.entry_of(time, action, scope, ("", what))
        };
        // Nothing was changed that would be lost with the line.
        let _warning = self.record(entry);
    }
}
