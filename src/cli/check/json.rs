//! The output of `check --json`: one object, for programs.
//!
//! Keys may be added later; existing ones keep their meaning.

use serde_json::{Value, json};

use super::settings::{self, Case};
use super::{CheckError, Checked, Loaded};
use crate::config::{LoadError, Setting, SettingsBook};
use crate::engine::WhenDown;
use crate::rules::{ConfigError, Lifted, Rule, RuleLimit};

/// `ok`, `errors` and `warnings` (each with `file`, `line` and `message`), `counts`, `lifted` (what is switched off),
/// `settings` (those of the data directory), `rules` (the values that would be in force).
pub(super) fn object(checked: &Checked, ok: bool) -> Value {
    let Checked { files, loaded } = checked;
    let nothing = Loaded::default();
    let (Loaded { rules, settings }, errors) = match loaded {
        Ok(loaded) => (loaded, Vec::new()),
        Err(CheckError::Config(LoadError::Rules(errors))) => (&nothing, errors.iter().map(finding).collect()),
        Err(error) => (&nothing, vec![file_finding(&error.to_string())]),
    };
    let skipped = files.skipped.iter().map(|line| file_finding(line));
    let of_rules = rules.warnings().iter().map(finding);
    let of_settings = settings::without_effect(settings).map(|message| message_finding(&message));
    let warnings: Vec<_> = skipped.chain(of_rules).chain(of_settings).collect();
    json!({
        "ok": ok,
        "errors": errors,
        "warnings": warnings,
        "counts": {
            "files": files.files.len(),
            "domains": rules.domains().count(),
            "rules": rules.rules().len(),
            "settings": settings.list().count(),
            "errors": errors.len(),
            "warnings": warnings.len(),
        },
        "lifted": rules.lifted(settings.overlay()).iter().map(lifted).collect::<Vec<_>>(),
        "settings": settings.list().map(|each| setting(settings, each)).collect::<Vec<_>>(),
        "rules": settings::cases(rules, settings.overlay()).map(|case| rule(&case)).collect::<Vec<_>>(),
    })
}

fn finding(found: &ConfigError) -> Value {
    json!({"file": found.file, "line": found.line, "message": found.message})
}

/// A finding about a file as a whole: `PATH: MESSAGE`.
fn file_finding(text: &str) -> Value {
    let (file, message) = text.split_once(": ").unwrap_or(("", text));
    json!({"file": file, "line": null, "message": message})
}

/// A finding that is about no file.
fn message_finding(message: &str) -> Value {
    json!({"file": null, "line": null, "message": message})
}

/// A setting; `inactive` is why it has no effect, or null.
fn setting(book: &SettingsBook, setting: &Setting) -> Value {
    json!({
        "scope": settings::scope(setting),
        "name": setting.name.name(),
        "value": setting.value,
        "inactive": book.why_inactive(setting),
    })
}

fn lifted(lifted: &Lifted<'_>) -> Value {
    json!({
        "domain": lifted.domain,
        "rule": lifted.rule.map(|rule| &rule.path),
        "rules": lifted.rules,
        "reason": lifted.lift.name(),
        "text": lifted.to_string(),
    })
}

/// A rule; one with `entries` is for checks with these entries only, and `setting` tells whether a setting changes it.
fn rule(&Case { rule, entries, is_set }: &Case<'_>) -> Value {
    let entries: Vec<_> = entries.iter().map(|(key, value)| json!([key, value])).collect();
    let limits: Vec<_> = rule
        .limits
        .iter()
        .map(|each| {
            json!({
                "name": each.name,
                "requests_per_unit": each.requests_per_unit,
                "period_ms": each.period.length.as_millis_ceil(),
                "calendar": each.period.calendar.map(ToString::to_string),
                "enabled": each.enabled,
                "sharing": sharing(rule, each),
                "text": each.words(),
            })
        })
        .collect();
    json!({
        "domain": rule.domain,
        "rule": rule.path,
        "entries": entries,
        "setting": is_set,
        "unlimited": rule.unlimited,
        "shadow_mode": rule.shadow_mode,
        "quota_mode": rule.quota_mode,
        "limits": limits,
        "text": rule.words(),
    })
}

/// How the counters of a limit are shared by replicas with a store; `why_not_leased` is null where they are leased, `when_down` and
/// `slot` where the configuration does not say them.
fn sharing(rule: &Rule, limit: &RuleLimit) -> Value {
    let (configured, shared) = (rule.sharing(limit), rule.shared(limit, 1));
    json!({
        "mode": shared.mode().name(),
        "why_not_leased": shared.why_not_leased(),
        "when_down": configured.when_down.map(WhenDown::name),
        "slot": configured.slot,
    })
}
