//! Settings and the audit log.

use tonic::Status;

use super::messages::{read_entries, read_length};
use crate::api::proto::tidegate::v1 as proto;
use crate::api::usage::{entries, time};
use crate::config::{Setting, SettingChange, SettingError, SettingsBook, ValueSource};
use crate::operations::{AuditEntry, Author, Changed, Operations, SharedStatus};
use crate::rules::{Scope, ScopeTarget, SettingName};
use crate::units::Timestamp;

pub(super) fn list(operations: &Operations) -> proto::ListSettingsResponse {
    let settings = operations.read_settings(|book| book.list().map(|setting| write(book, setting)).collect());
    let shared = operations.shared_status().map(write_shared);
    proto::ListSettingsResponse { settings, read_only: operations.is_read_only(), shared }
}

fn write_shared(status: SharedStatus) -> proto::SharedChanges {
    let SharedStatus { replicas, synchronized, pending, latest } = status;
    proto::SharedChanges { replicas, synchronized_at: synchronized.map(time), pending, latest: latest.map(time) }
}

pub(super) fn get(
    operations: &Operations,
    request: proto::GetSettingRequest,
) -> Result<proto::GetSettingResponse, Status> {
    let scope = read_scope(request.scope)?;
    let name = read_name(&request.name, &scope)?;
    let effective = operations.effective(&scope, name).map_err(|error| status(&error))?;
    let source = effective.source.to_string();
    let setting = match &effective.source {
        ValueSource::Setting(setting) => Some(operations.read_settings(|book| write(book, setting))),
        ValueSource::Configuration(_) | ValueSource::Default => None,
    };
    Ok(proto::GetSettingResponse { value: effective.value, source, setting })
}

pub(super) fn set(
    operations: &Operations,
    request: proto::SetSettingRequest,
    author: Author,
) -> Result<proto::SetSettingResponse, Status> {
    let scope = read_scope(request.scope)?;
    let name = read_name(&request.name, &scope)?;
    let length = request.r#for.map(|length| read_length(length, "for")).transpose()?;
    let Author { principal, reason } = author;
    let change = SettingChange { scope, name, value: request.value, length, principal, reason };
    let Changed { setting, value, warning } = operations.set(change).map_err(|error| status(&error))?;
    let setting = operations.read_settings(|book| write(book, &setting));
    Ok(proto::SetSettingResponse { setting: Some(setting), old: value, warning: warning.unwrap_or_default() })
}

pub(super) fn unset(
    operations: &Operations,
    request: proto::UnsetSettingRequest,
    author: &Author,
) -> Result<proto::UnsetSettingResponse, Status> {
    let scope = read_scope(request.scope)?;
    let name = read_name(&request.name, &scope)?;
    let changed = operations.unset(&scope, name, author).map_err(|error| status(&error))?;
    let setting = operations.read_settings(|book| write(book, &changed.setting));
    Ok(proto::UnsetSettingResponse {
        setting: Some(setting),
        value: changed.value,
        warning: changed.warning.unwrap_or_default(),
    })
}

pub(super) fn audit(
    operations: &Operations,
    now: Timestamp,
    request: &proto::ListAuditRequest,
    is_listed: impl Fn(Option<&proto::SettingScope>) -> bool,
) -> Result<proto::ListAuditResponse, Status> {
    let since = match request.since {
        Some(since) => now.minus(read_length(since, "since")?),
        None => Timestamp::EPOCH,
    };
    let most = match request.limit {
        0 => USUAL_AUDIT,
        limit => usize::try_from(limit).unwrap_or(usize::MAX),
    };
    let (entries, dropped) = operations.audit().since(since, most, |entry| is_listed(applies_to(entry).as_ref()));
    Ok(proto::ListAuditResponse { entries: entries.into_iter().map(write_entry).collect(), dropped })
}

/// A setting as a message.
pub(super) fn write(book: &SettingsBook, setting: &Setting) -> proto::Setting {
    proto::Setting {
        scope: Some(write_scope(&setting.scope)),
        name: setting.name.to_string(),
        value: setting.value.clone(),
        principal: setting.principal.clone(),
        set_at: Some(time(setting.set_at)),
        reason: setting.reason.clone(),
        until: setting.until.map(time),
        inactive: book.why_inactive(setting).unwrap_or_default().to_owned(),
    }
}

fn write_scope(scope: &Scope) -> proto::SettingScope {
    let (rule, domain) = match &scope.target {
        ScopeTarget::Everything => (String::new(), String::new()),
        ScopeTarget::Domain(name) => (String::new(), name.clone()),
        ScopeTarget::Rule(path) => (path.clone(), String::new()),
    };
    proto::SettingScope { rule, domain, entries: entries(&scope.entries), limit: scope.limit }
}

fn applies_to(entry: &AuditEntry) -> Option<proto::SettingScope> {
    entry.applies_to.as_ref().map(write_scope)
}

fn write_entry(entry: AuditEntry) -> proto::AuditEntry {
    proto::AuditEntry {
        applies_to: applies_to(&entry),
        time: Some(time(entry.time)),
        principal: entry.principal,
        action: entry.action.name().to_owned(),
        scope: entry.scope,
        name: entry.name,
        old: entry.old,
        new: entry.new,
        reason: entry.reason,
    }
}

fn read_scope(scope: Option<proto::SettingScope>) -> Result<Scope, Status> {
    let proto::SettingScope { rule, domain, entries, limit } = scope.unwrap_or_default();
    let target = match (rule.is_empty(), domain.is_empty()) {
        (true, true) => ScopeTarget::Everything,
        (true, false) => ScopeTarget::Domain(domain),
        (false, true) => ScopeTarget::Rule(rule),
        (false, false) => return Err(Status::invalid_argument("a scope is a rule or a domain, not both")),
    };
    Scope::new(target, read_entries(entries)?, limit).map_err(Status::invalid_argument)
}

fn read_name(name: &str, scope: &Scope) -> Result<SettingName, Status> {
    SettingName::read(name, &scope.target).map_err(Status::invalid_argument)
}

fn status(error: &SettingError) -> Status {
    let message = error.to_string();
    match error {
        SettingError::ReadOnly | SettingError::NoRules => Status::failed_precondition(message),
        SettingError::Invalid(_) => Status::invalid_argument(message),
        SettingError::NotSet { .. } => Status::not_found(message),
        SettingError::TooMany => Status::resource_exhausted(message),
    }
}

/// Changes that are returned if no number is given.
const USUAL_AUDIT: usize = 1_000;
