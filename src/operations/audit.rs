//! The audit log: who changed what, when and why.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::rules::Scope;
use crate::units::Timestamp;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuditEntry {
    pub(crate) time: Timestamp,
    /// Who made it.
    pub(crate) principal: String,
    pub(crate) action: Action,
    /// What it applies to, in words.
    pub(crate) scope: String,
    /// What it applies to; `None` for candidates.
    pub(crate) applies_to: Option<Scope>,
    /// The name of the setting; empty for other actions.
    pub(crate) name: String,
    /// The value before and after.
    pub(crate) old: String,
    pub(crate) new: String,
    pub(crate) reason: String,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Set,
    Unset,
    Expire,
    Reset,
    Ban,
    Unban,
    CandidateStart,
    CandidatePromote,
    CandidateStop,
    RecordingStart,
    RecordingStop,
}

/// The latest changes, in memory.
#[derive(Debug, Default)]
pub(crate) struct AuditLog(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// The latest last.
    entries: VecDeque<AuditEntry>,
    dropped: u64,
}

impl Action {
    const ALL: [Self; 11] = [
        Self::Set,
        Self::Unset,
        Self::Expire,
        Self::Reset,
        Self::Ban,
        Self::Unban,
        Self::CandidateStart,
        Self::CandidatePromote,
        Self::CandidateStop,
        Self::RecordingStart,
        Self::RecordingStop,
    ];

    /// Its name in the log and the protocol.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Unset => "unset",
            Self::Expire => "expire",
            Self::Reset => "reset",
            Self::Ban => "ban",
            Self::Unban => "unban",
            Self::CandidateStart => "candidate_start",
            Self::CandidatePromote => "candidate_promote",
            Self::CandidateStop => "candidate_stop",
            Self::RecordingStart => "recording_start",
            Self::RecordingStop => "recording_stop",
        }
    }

    /// The action of that name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }
}

impl AuditLog {
    /// Adds a change; the oldest one is dropped if there are too many.
    pub(crate) fn record(&self, entry: AuditEntry) {
        let mut kept = self.0.lock();
        kept.entries.push_back(entry);
        if kept.entries.len() > MAX_AUDIT {
            kept.entries.pop_front();
            kept.dropped += 1;
        }
    }

    /// The changes since an instant that are `wanted`, the latest first, at most `most`; and the number of those that are no longer
    /// kept.
    pub(crate) fn since(
        &self,
        since: Timestamp,
        most: usize,
        wanted: impl Fn(&AuditEntry) -> bool,
    ) -> (Vec<AuditEntry>, u64) {
        let kept = self.0.lock();
        let recent = kept.entries.iter().rev().filter(|entry| entry.time >= since && wanted(entry));
        (recent.take(most).cloned().collect(), kept.dropped)
    }
}

/// Changes that are kept: a month of one in four minutes. With long names and reasons they take some megabytes.
pub(super) const MAX_AUDIT: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_come_first_and_the_oldest_are_dropped() {
        let log = AuditLog::default();
        let entry = |second: u64| AuditEntry {
            time: Timestamp::from_ns(second * 1_000_000_000),
            principal: "ann".into(),
            action: Action::Set,
            scope: "everything".into(),
            applies_to: Some(Scope::EVERYTHING),
            name: "enabled".into(),
            old: "true".into(),
            new: "false".into(),
            reason: String::new(),
        };
        (0..=MAX_AUDIT as u64).for_each(|second| log.record(entry(second)));
        let (latest, dropped) = log.since(Timestamp::EPOCH, 2, |_| true);
        assert_eq!(latest, [entry(MAX_AUDIT as u64), entry(MAX_AUDIT as u64 - 1)]);
        assert_eq!(dropped, 1);
        let (all, _) = log.since(entry(9_999).time, usize::MAX, |_| true);
        assert_eq!(all.len(), 2);
        assert!(Action::ALL.into_iter().all(|action| Action::named(action.name()) == Some(action)));
    }
}
