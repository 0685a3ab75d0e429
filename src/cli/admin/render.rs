//! Parts of answers in words: entries, scopes, settings.

use super::time::{instant, instant_from};
use crate::api::proto::tidegate::v1::{Entry, Setting, SettingScope};
use crate::units::Timestamp;

/// Entries as on the command line: `tenant=acme path=/pay`.
pub(super) fn entries(entries: &[Entry]) -> String {
    entries.iter().map(|Entry { key, value }| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

/// A scope: `rule api.user tenant=acme, limit 2`, `domain api` or `everything`.
pub(super) fn scope(scope: Option<&SettingScope>) -> String {
    let nothing = SettingScope::default();
    let SettingScope { rule, domain, entries, limit } = scope.unwrap_or(&nothing);
    let what = match (rule.as_str(), domain.as_str()) {
        ("", "") => "everything".to_owned(),
        ("", domain) => format!("domain {domain}"),
        (rule, _) => format!("rule {rule}"),
    };
    let entries = if entries.is_empty() { String::new() } else { format!(" {}", self::entries(entries)) };
    let limit = if *limit == 0 { String::new() } else { format!(", limit {limit}") };
    format!("{what}{entries}{limit}")
}

/// Who set it, when, why, and why it has no effect: `set 2026-11-26T05:00:00Z by 127.0.0.1:4711: sale`.
pub(super) fn origin(setting: &Setting) -> String {
    let at = setting.set_at.as_ref().map(|at| format!(" {}", instant(at))).unwrap_or_default();
    let reason = if setting.reason.is_empty() { String::new() } else { format!(": {}", setting.reason) };
    let by = if setting.principal.is_empty() { String::new() } else { format!(" by {}", setting.principal) };
    format!("set{at}{by}{reason}")
}

/// Until when it is in force: ` until 2026-11-26T05:00:00Z (in 1h 59m)`; empty if it does not expire.
pub(super) fn until(setting: &Setting, now: Timestamp) -> String {
    setting.until.as_ref().map(|until| format!(" until {}", instant_from(until, now))).unwrap_or_default()
}

/// Why it has no effect, as a sentence; empty if it has.
pub(super) fn inactive(setting: &Setting) -> String {
    if setting.inactive.is_empty() { String::new() } else { format!("inactive: {}", setting.inactive) }
}

/// A count with its noun: `1 counter`, `2 counters`.
pub(super) fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes() {
        let entry = |key: &str, value: &str| Entry { key: key.to_owned(), value: value.to_owned() };
        let of = |rule: &str, domain: &str, entries: &[Entry], limit| SettingScope {
            rule: rule.to_owned(),
            domain: domain.to_owned(),
            entries: entries.to_vec(),
            limit,
        };
        let cases = [
            (of("", "", &[], 0), "everything"),
            (of("", "api", &[], 0), "domain api"),
            (of("", "api", &[entry("tenant", "acme")], 0), "domain api tenant=acme"),
            (of("api.user", "", &[], 2), "rule api.user, limit 2"),
            (of("api.user", "", &[entry("a", "1"), entry("b", "")], 0), "rule api.user a=1 b="),
        ];
        for (of, expected) in cases {
            assert_eq!(scope(Some(&of)), expected);
        }
        assert_eq!(scope(None), "everything");
    }
}
