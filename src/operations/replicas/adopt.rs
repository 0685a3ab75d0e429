//! What others changed comes into force here.

use std::collections::HashSet;
use std::sync::Arc;

use super::values::{BanValue, Note, RulesValue, SettingValue, Subject, setting_id};
use super::{Changing, MAX_VALUE_BYTES, REMEMBERED, Shared};
use crate::config::{AdoptedSetting, CandidateRules, MAX_LENGTH, Setting};
use crate::hex::hex;
use crate::ledger::{Change, Merged, RULES, Record};
use crate::operations::{Action, AuditEntry, Author, Journal, Operations, counters, settings, warn};
use crate::rules::{LoadOptions, Scope, ScopeTarget, SettingName, load};
use crate::sanitize::sanitize;
use crate::sharing::Changes;
use crate::units::Timestamp;

impl Changes for Operations {
    fn merge(&self, part: usize, theirs: Option<&str>, is_first: bool) -> Result<Merged, String> {
        let Some(shared) = &self.shared else { return Ok(Merged::default()) };
        let mut changing = shared.changing.lock();
        let now = shared.engine_time(self.clock.now());
        let merged = shared.ledger.lock().merge(part, theirs, now);
        let merged = merged.map_err(|error| format!("part {part} on the store: {error}"))?;
        self.adopt_settings(shared, &merged.changed);
        for record in &merged.changed {
            match Subject::of(record) {
                Some(Subject::Ban(scope)) => self.adopt_ban(shared, &scope, record),
                Some(Subject::Rules) if !is_first => self.adopt_rules(&mut changing, record),
                _ => {}
            }
        }
        Ok(merged)
    }

    fn synchronized(&self, is_first: bool) {
        let Some(shared) = &self.shared else { return };
        let mut changing = shared.changing.lock();
        if is_first {
            let rules = shared.ledger.lock().get(RULES).cloned();
            if let Some(rules) = rules.filter(|rules| self.is_of_these_rules(rules)) {
                self.adopt_rules(&mut changing, &rules);
            }
        }
        let generation = self.publisher.status().generation;
        if std::mem::replace(&mut changing.generation, generation) != generation {
            // Rules may have come that they are about.
            self.ban_again(shared);
            self.withdraw_if_reloaded(shared, &mut changing);
        }
    }

    fn is_empty(&self, part: usize) -> bool {
        self.shared.as_ref().is_none_or(|shared| shared.ledger.lock().is_empty(part))
    }
}

impl Operations {
    /// Begins with what is stored: the records of the last run, and settings that were made while nothing was shared.
    pub(crate) fn begin_sharing(&self) {
        let Some(shared) = &self.shared else { return };
        self.publisher.order_settings_by_time();
        let stored = self.journal.as_ref().map(Journal::records).transpose();
        let stored = stored.unwrap_or_else(|error| {
            tracing::error!(%error, "the stored records of what is shared cannot be read");
            None
        });
        for record in stored.into_iter().flatten() {
            shared.ledger.lock().restore(record);
        }
        let known: Vec<Setting> = self.read_settings(|book| book.list().cloned().collect());
        let mut adopted = Vec::new();
        for setting in &known {
            let record = shared.ledger.lock().get(&setting_id(&setting.scope, setting.name)).cloned();
            let set_at = setting.set_at.as_us();
            match record {
                Some(record) if record.at().as_us() == set_at => {}
                Some(record) if record.at().as_us() > set_at => adopted.push(record),
                _ => drop(self.share_set(setting)),
            }
        }
        let is_missing = |record: &&Record| match Subject::of(record) {
            Some(Subject::Setting(scope, name)) => {
                record.is().is_some() && !known.iter().any(|known| known.scope == scope && known.name == name)
            }
            _ => false,
        };
        adopted.extend(shared.ledger.lock().records().filter(is_missing).cloned());
        self.adopt_settings(shared, &adopted);
        if let Some(journal) = &self.journal
            && let Err(error) = journal.keep_records(shared.ledger.lock().records())
        {
            warn(&error);
        }
    }

    /// Puts the settings of these records in force, stores all of them, and writes it down.
    fn adopt_settings(&self, shared: &Shared, records: &[Record]) {
        let now = self.clock.now();
        let engine_now = shared.engine_time(now).as_us();
        let mut notes = Vec::new();
        let mut adopted = Vec::new();
        for record in records {
            let Some(Subject::Setting(scope, name)) = Subject::of(record) else { continue };
            let is_known = self.read_settings(|book| book.get(&scope, name).is_some());
            let value = record.is().and_then(|is| serde_json::from_str::<SettingValue>(is).ok());
            let note = Note::of(record);
            let change = match value.filter(|value| value.until.is_none_or(|until| until > engine_now)) {
                Some(SettingValue { value, until }) if value.len() <= MAX_VALUE_BYTES => AdoptedSetting::Set(Setting {
                    scope,
                    name,
                    value,
                    principal: if record.by() == shared.id { note.who.clone() } else { note.principal() },
                    set_at: record.at(),
                    reason: note.why.clone(),
                    until: until.map(|until| shared.local_time(Timestamp::from_us(until)).min(now.plus(MAX_LENGTH))),
                }),
                _ if is_known => AdoptedSetting::Unset(scope, name),
                _ => continue,
            };
            adopted.push(change);
            notes.push(note);
        }
        if adopted.is_empty() {
            return self.store_adopted(records, &[], &[]);
        }
        self.publisher.adopt(adopted, |changes| {
            let entry = |((change, old, new), note): (&(AdoptedSetting, String, String), &Note)| {
                let author = Author { principal: note.principal(), reason: note.why.clone() };
                let (action, scope, name): (Action, &Scope, SettingName) = match change {
                    AdoptedSetting::Set(setting) => (Action::Set, &setting.scope, setting.name),
                    AdoptedSetting::Unset(scope, name) => (Action::Unset, scope, *name),
                };
                let new = if let AdoptedSetting::Set(setting) = change { &setting.value } else { new };
                self.audited(settings::entry(now, action, &author, scope, name, (old, new)))
            };
            let audit: Vec<AuditEntry> = changes.iter().zip(&notes).map(entry).collect();
            let changes: Vec<_> = changes.into_iter().map(|(change, ..)| change).collect();
            self.store_adopted(records, &changes, &audit);
        });
    }

    fn store_adopted(&self, records: &[Record], changes: &[AdoptedSetting], audit: &[AuditEntry]) {
        let Some(journal) = self.journal.as_ref().filter(|_| !records.is_empty()) else { return };
        let (mut set, mut removed) = (Vec::new(), Vec::new());
        for change in changes {
            match change {
                AdoptedSetting::Set(setting) => set.push(setting),
                AdoptedSetting::Unset(scope, name) => removed.push((scope, *name)),
            }
        }
        if let Err(error) = journal.adopt(records, &set, &removed, audit) {
            warn(&error);
        }
    }

    /// Bans a counter, or lifts its ban.
    fn adopt_ban(&self, shared: &Shared, scope: &Scope, record: &Record) {
        let note = Note::of(record);
        let author = Author { principal: note.principal(), reason: note.why };
        let now = self.clock.now();
        let ScopeTarget::Rule(path) = &scope.target else { return };
        let Some(is) = record.is() else {
            let count = self.limiter.reset_counters(now, path, &scope.entries, true, HashSet::new());
            let lifted = counters::counted(count);
            return self.audit_counters(now, Action::Unban, (path, &scope.entries), &lifted, &author);
        };
        let Ok(BanValue { until }) = serde_json::from_str(is) else { return };
        let until = shared.local_time(Timestamp::from_us(until)).min(now.plus(MAX_LENGTH));
        if until <= now {
            return;
        }
        let banned = match self.limiter.ban_counter(path, &scope.entries, until) {
            Ok(()) => format!("banned for {}", until.since(now)),
            // As soon as there are such rules.
            Err(why) => format!("not banned yet: {why}"),
        };
        self.audit_counters(now, Action::Ban, (path, &scope.entries), &banned, &author);
    }

    fn ban_again(&self, shared: &Shared) {
        let now = self.clock.now();
        for (scope, until) in shared.bans(shared.engine_time(now)) {
            if let ScopeTarget::Rule(path) = &scope.target {
                let until = shared.local_time(until).min(now.plus(MAX_LENGTH));
                // What cannot be banned now may be with other rules.
                let _banned = self.limiter.ban_counter(path, &scope.entries, until);
            }
        }
    }

    /// Whether rules were promoted in place of what this process has in force.
    fn is_of_these_rules(&self, record: &Record) -> bool {
        let base = record.is().and_then(|is| serde_json::from_str::<RulesValue>(is).ok()).map(|rules| rules.base);
        base.is_some() && base == self.publisher.source().map(|source| hex(&source))
    }

    /// Puts promoted rules in force, or no longer.
    fn adopt_rules(&self, changing: &mut Changing<'_>, record: &Record) {
        let note = Note::of(record);
        let author = Author { principal: note.principal(), reason: note.why };
        let now = self.clock.now();
        let Some(is) = record.is() else {
            changing.promoted = None;
            if let Some(loaded) = self.publisher.withdraw_promotion() {
                let new = format!("withdrawn: configuration {} in force", loaded.generation);
                self.audit_candidate(now, Action::CandidateStop, &[], &new, &author);
            }
            return;
        };
        let Ok(value) = serde_json::from_str::<RulesValue>(is) else { return };
        let source = value.source();
        let names: Vec<String> = source.files.iter().map(|file| file.name.clone()).collect();
        let options = LoadOptions { merge_domains: source.merge_domains, ..self.load_options };
        let rules = match load(&source.files, options) {
            Ok(rules) => Arc::new(rules),
            Err(errors) => {
                let first = errors.first().map(ToString::to_string).unwrap_or_default();
                tracing::error!(
                    errors = errors.len(),
                    first = sanitize(&first),
                    from = author.principal,
                    "rules that were promoted on another replica do not load here: those in force stay"
                );
                return;
            }
        };
        changing.promoted = Some(record.at());
        let candidate = CandidateRules { files: names.clone(), rules, source: Arc::new(source), since: now };
        let loaded = self.publisher.promote_rules(candidate);
        let new = format!("configuration {} in force", loaded.generation);
        self.audit_candidate(now, Action::CandidatePromote, &names, &new, &author);
    }

    /// The source was loaded again although it had not changed (SIGHUP): the promotion is undone, for all.
    fn withdraw_if_reloaded(&self, shared: &Shared, changing: &mut Changing<'_>) {
        if changing.promoted.is_none() || self.publisher.candidate().promoted.is_some() {
            return;
        }
        let promoted = changing.promoted.take();
        let record = shared.ledger.lock().get(RULES).cloned();
        let is_same = |record: &Record| record.is().is_some() && Some(record.at()) == promoted;
        if record.is_some_and(|record| is_same(&record) && self.is_of_these_rules(&record)) {
            let at = shared.engine_time(self.clock.now());
            let author =
                Author { principal: "tidegate".to_owned(), reason: "the configuration was loaded again".to_owned() };
            let (id, keep) = (Subject::Rules.id(), Some(at.plus(REMEMBERED)));
            // It is small: there is room.
            let _warning = shared.record(self, Change { id, is: None, note: shared.note(&author), keep }, at);
        }
    }

    /// Rules were promoted here, so that nobody promotes them here again.
    pub(in crate::operations) fn has_promoted(&self, changing: Option<&mut Changing<'_>>) {
        if let (Some(shared), Some(changing)) = (&self.shared, changing) {
            changing.promoted = shared.ledger.lock().get(RULES).map(Record::at);
        }
    }
}
