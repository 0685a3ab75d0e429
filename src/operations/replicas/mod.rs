//! Changes by operators, shared with other replicas over the engine of shared counters.
//!
//! Each change here becomes a record of the [ledger](crate::ledger); what others changed comes into force here as if it had been changed
//! here, with a line in the audit log. Times in records are the engine's.

mod adopt;
mod values;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::{Author, Operations};
use crate::config::{CandidateRules, Setting};
use crate::ledger::{Change, Ledger, Record, part_of};
use crate::rules::{Scope, ScopeTarget, SettingName};
use crate::sharing::SharedStore;
use crate::units::{Nanos, Timestamp};
use values::{BanValue, Note, RulesValue, SettingValue, Subject, setting_id, text_of};

/// What this process shares, and with whom.
#[derive(Debug)]
pub(crate) struct Shared {
    store: Arc<SharedStore>,
    /// The name of this process in records.
    id: String,
    /// Its host, for people.
    host: String,
    ledger: Mutex<Ledger>,
    /// Locked while something is changed, here or because it was changed elsewhere: what is in force is what the ledger says.
    changing: Mutex<Local>,
}

/// What is in force here of the ledger.
#[derive(Debug, Default)]
pub(super) struct Local {
    /// When the promoted rules were promoted that were put in force here; of their record.
    promoted: Option<Timestamp>,
    /// The configuration for which bans were last put in force.
    generation: u64,
}

/// How sharing goes, for operators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SharedStatus {
    /// Replicas that share, this one included.
    pub(crate) replicas: u32,
    /// When all was last exchanged; `None`: never yet.
    pub(crate) synchronized: Option<Timestamp>,
    /// Changes that others do not have yet.
    pub(crate) pending: u64,
    /// When the latest change was made, the same in all replicas that have it.
    pub(crate) latest: Option<Timestamp>,
}

impl Shared {
    /// Nothing is known yet.
    pub(crate) fn new(store: Arc<SharedStore>, id: String, host: String) -> Self {
        Self { store, id, host, ledger: Mutex::default(), changing: Mutex::default() }
    }

    /// The time by the engine's clock, in whole microseconds.
    fn engine_time(&self, now: Timestamp) -> Timestamp {
        Timestamp::from_us(self.store.engine_time(now).as_us())
    }

    /// The time by our clock, when the engine's shows `at`.
    fn local_time(&self, at: Timestamp) -> Timestamp {
        let offset = self.store.clock_offset_ns();
        let length = Nanos::from_ns(offset.unsigned_abs());
        if offset < 0 { at.plus(length) } else { at.minus(length) }
    }

    fn note(&self, author: &Author) -> String {
        let Author { principal, reason } = author.clone();
        text_of(&Note { who: principal, why: reason, from: self.host.clone() })
    }

    /// Notes a change for the others. A warning: they do not get it.
    fn record(&self, operations: &Operations, change: Change, at: Timestamp) -> Option<String> {
        let record = match self.ledger.lock().record(change, &self.id, at) {
            Ok(record) => record,
            Err(full) => {
                return Some(format!("it is in force on this replica only: others cannot get it, because {full}"));
            }
        };
        if let Some(Err(error)) =
            operations.journal.as_ref().map(|journal| journal.adopt(std::slice::from_ref(&record), &[], &[], &[]))
        {
            super::warn(&error);
        }
        self.store.changes().note(part_of(record.id()));
        None
    }

    /// The bans that run, with what they are about.
    fn bans(&self, now: Timestamp) -> Vec<(Scope, Timestamp)> {
        let ledger = self.ledger.lock();
        let ban = |record: &Record| match Subject::of(record)? {
            Subject::Ban(scope) => {
                let BanValue { until } = serde_json::from_str(record.is()?).ok()?;
                Some((scope, Timestamp::from_us(until))).filter(|(_, until)| *until > now)
            }
            _ => None,
        };
        ledger.records().filter_map(ban).collect()
    }
}

impl Operations {
    /// Waits until other replicas can have all that was changed here. What the operator should know: that they cannot.
    pub(crate) async fn until_shared(&self) -> Option<String> {
        let shared = self.shared.as_ref()?;
        let is_shared = shared.store.changes().are_shared(SHARED_WITHIN).await;
        (!is_shared).then(|| {
            "not shared yet: it is in force on this replica, and others get it when the store of shared counters answers".to_owned()
        })
    }

    /// How sharing goes; `None`: this process shares nothing.
    pub(crate) fn shared_status(&self) -> Option<SharedStatus> {
        let shared = self.shared.as_ref()?;
        let counts = shared.store.changes().counts();
        Some(SharedStatus {
            replicas: shared.store.counts().replicas(),
            synchronized: counts.synchronized,
            pending: counts.pending,
            latest: shared.ledger.lock().latest(),
        })
    }

    /// Holds off others, here and elsewhere, while something is changed.
    pub(super) fn changing(&self) -> Option<Changing<'_>> {
        self.shared.as_ref().map(|shared| shared.changing.lock())
    }

    /// When a setting counts as set that is set now, in the order of all replicas.
    pub(super) fn set_time(&self, scope: &Scope, name: SettingName, now: Timestamp) -> Timestamp {
        let Some(shared) = &self.shared else { return Timestamp::from_us(now.as_us()) };
        let at = shared.engine_time(now);
        let ledger = shared.ledger.lock();
        ledger.get(&setting_id(scope, name)).map_or(at, |known| at.max(known.at().plus(MICROSECOND)))
    }

    /// Others are to have a setting that was set here.
    pub(super) fn share_set(&self, setting: &Setting) -> Option<String> {
        let id = setting_id(&setting.scope, setting.name);
        let Some(shared) = &self.shared else { return self.shares_nothing(&id) };
        if setting.value.len() > MAX_VALUE_BYTES {
            return Some("it is in force on this replica only: its value is too long for others".to_owned());
        }
        let until = setting.until.map(|until| shared.engine_time(until));
        let value = SettingValue { value: setting.value.clone(), until: until.map(Timestamp::as_us) };
        let author = Author { principal: setting.principal.clone(), reason: setting.reason.clone() };
        let keep = until.map(|until| until.plus(REMEMBERED));
        let change = Change { id, is: Some(text_of(&value)), note: shared.note(&author), keep };
        shared.record(self, change, setting.set_at)
    }

    /// Others are to remove a setting that was removed here.
    pub(super) fn share_unset(
        &self,
        scope: &Scope,
        name: SettingName,
        author: &Author,
        now: Timestamp,
    ) -> Option<String> {
        let id = setting_id(scope, name);
        let Some(shared) = &self.shared else { return self.shares_nothing(&id) };
        let at = shared.engine_time(now);
        let change = Change { id, is: None, note: shared.note(author), keep: Some(at.plus(REMEMBERED)) };
        shared.record(self, change, at)
    }

    /// Others are to ban a counter that was banned here.
    pub(super) fn share_ban(
        &self,
        path: &str,
        entries: &[(String, String)],
        until: Timestamp,
        author: &Author,
        now: Timestamp,
    ) -> Option<String> {
        let shared = self.shared.as_ref()?;
        let scope = match Scope::new(ScopeTarget::Rule(path.to_owned()), entries.to_vec(), 0) {
            Ok(scope) => scope,
            Err(why) => return Some(format!("the ban is in force on this replica only: {why}")),
        };
        let until = shared.engine_time(until);
        let value = text_of(&BanValue { until: until.as_us() });
        let id = Subject::Ban(scope).id();
        let change = Change { id, is: Some(value), note: shared.note(author), keep: Some(until) };
        shared.record(self, change, shared.engine_time(now))
    }

    /// Others are to lift the bans of these counters that operators set.
    pub(super) fn share_unban(
        &self,
        path: &str,
        entries: &[(String, String)],
        author: &Author,
        now: Timestamp,
    ) -> Option<String> {
        let shared = self.shared.as_ref()?;
        let now = shared.engine_time(now);
        let is_meant = |scope: &Scope| {
            matches!(&scope.target, ScopeTarget::Rule(rule) if rule == path)
                && entries.iter().all(|entry| scope.entries.contains(entry))
        };
        let meant = shared.bans(now).into_iter().filter(|(scope, _)| is_meant(scope));
        let lift = |(scope, until): (Scope, Timestamp)| {
            let change =
                Change { id: Subject::Ban(scope).id(), is: None, note: shared.note(author), keep: Some(until) };
            shared.record(self, change, now)
        };
        meant.filter_map(lift).last()
    }

    /// Others are to put the candidate in force that was promoted here.
    pub(super) fn share_promotion(
        &self,
        candidate: &CandidateRules,
        author: &Author,
        now: Timestamp,
    ) -> Option<String> {
        let shared = self.shared.as_ref()?;
        let base = self.publisher.source()?;
        let at = shared.engine_time(now);
        let value = text_of(&RulesValue::new(&candidate.source, &base));
        let (id, keep) = (Subject::Rules.id(), Some(at.plus(REMEMBERED)));
        let change = Change { id, is: Some(value), note: shared.note(author), keep };
        shared.record(self, change, at)
    }

    /// This process shares nothing: what it shared before is not known to hold any more.
    fn shares_nothing(&self, id: &str) -> Option<String> {
        let stored = self.journal.as_ref().map_or(Ok(()), |journal| journal.forget_record(id));
        stored.err().map(|error| super::warn(&error))
    }
}

/// Nobody else changes anything meanwhile.
pub(super) type Changing<'s> = MutexGuard<'s, Local>;

/// How long a command waits for its change to be shared.
const SHARED_WITHIN: Duration = Duration::from_secs(1);
/// That something is no more is remembered for so long: a replica that was away for longer brings it back. As long as the longest setting.
const REMEMBERED: Nanos = crate::config::MAX_LENGTH;
/// The value of a setting: a number, or a short YAML map.
const MAX_VALUE_BYTES: usize = 4 << 10;
const MICROSECOND: Nanos = Nanos::from_ns(1_000);
