//! The output of `check --json`: one object, for programs.
//!
//! Keys may be added later; existing ones keep their meaning.

use serde_json::{Value, json};

use super::Checked;
use crate::config::LoadError;
use crate::rules::{ConfigError, Lifted, Overlay, Rule, RuleSet};

/// `ok`, `errors` and `warnings` (each with `file`, `line` and `message`), `counts`, `lifted` (what is switched off),
/// `rules`.
pub(super) fn object(checked: &Checked, ok: bool) -> Value {
    let Checked { files, loaded } = checked;
    let no_rules = RuleSet::default();
    let (rules, errors) = match loaded {
        Ok(rules) => (rules, Vec::new()),
        Err(LoadError::Read(error)) => (&no_rules, vec![file_finding(&error.to_string())]),
        Err(LoadError::Rules(errors)) => (&no_rules, errors.iter().map(finding).collect()),
    };
    let skipped = files.skipped.iter().map(|line| file_finding(line));
    let warnings: Vec<_> = skipped.chain(rules.warnings().iter().map(finding)).collect();
    json!({
        "ok": ok,
        "errors": errors,
        "warnings": warnings,
        "counts": {
            "files": files.files.len(),
            "domains": rules.domains().count(),
            "rules": rules.rules().len(),
            "errors": errors.len(),
            "warnings": warnings.len(),
        },
        "lifted": rules.lifted(&Overlay::default()).iter().map(lifted).collect::<Vec<_>>(),
        "rules": rules.rules().iter().map(rule).collect::<Vec<_>>(),
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

fn lifted(lifted: &Lifted<'_>) -> Value {
    json!({
        "domain": lifted.domain,
        "rule": lifted.rule.map(|rule| &rule.path),
        "rules": lifted.rules,
        "reason": lifted.lift.name(),
        "text": lifted.to_string(),
    })
}

fn rule(rule: &Rule) -> Value {
    let limits: Vec<_> = rule
        .limits
        .iter()
        .map(|each| {
            json!({
                "name": each.name,
                "requests_per_unit": each.requests_per_unit,
                "period_ms": each.period.length.as_millis_ceil(),
                "enabled": each.enabled,
                "text": each.words(),
            })
        })
        .collect();
    json!({
        "domain": rule.domain,
        "rule": rule.path,
        "unlimited": rule.unlimited,
        "shadow_mode": rule.shadow_mode,
        "quota_mode": rule.quota_mode,
        "limits": limits,
        "text": rule.words(),
    })
}
