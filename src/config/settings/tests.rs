//! Settings in a publisher: effective values, expiry, bounds, and what is rejected.

use std::sync::Arc;

use parking_lot::Mutex;

use super::super::{Publisher, RulesInForce};
use super::*;
use crate::rules::{LoadOptions, RuleSet, ScopeTarget, SourceFile, load};

const RULES: &str = "domain: api
descriptors:
- key: user
  rate_limit: {unit: minute, requests_per_unit: 10}
- key: tenant
  rate_limit:
    unit: minute
    requests_per_unit: 20
";

const SIBLINGS: &str = "domain: api
descriptors:
- {key: tenant, rate_limit: {unit: minute, requests_per_unit: 10}}
- {key: tenant, value: acme, rate_limit: {unit: minute, requests_per_unit: 20}}
";

fn rules(text: &str) -> RuleSet {
    load(&[SourceFile { name: "rules.yaml".into(), text: text.into() }], LoadOptions::default()).unwrap()
}

/// A publisher, and the number of times that it has put something in force.
fn publisher() -> (Publisher, Arc<Mutex<usize>>) {
    let applied = Arc::new(Mutex::new(0));
    let count = Arc::clone(&applied);
    let apply = move |_: RulesInForce<'_>, _: Option<RulesInForce<'_>>| *count.lock() += 1;
    let publisher = Publisher::new(SettingsBook::default(), apply);
    publisher.publish(1, rules(RULES));
    (publisher, applied)
}

fn scope(path: &str) -> Scope {
    Scope::new(ScopeTarget::Rule(path.to_owned()), Vec::new(), 0).unwrap()
}

fn change(path: &str, value: &str, length: Option<Nanos>) -> SettingChange {
    SettingChange {
        scope: scope(path),
        name: SettingName::RequestsPerUnit,
        value: value.to_owned(),
        length,
        principal: "ann".to_owned(),
        reason: String::new(),
    }
}

fn set(publisher: &Publisher, now: Timestamp, change: SettingChange) -> Result<String, SettingError> {
    publisher.set((now, now), change, |_, _| {}).map(|set| set.before)
}

fn effective(publisher: &Publisher, path: &str) -> (String, String) {
    let effective = publisher.effective(&scope(path), SettingName::RequestsPerUnit).unwrap();
    (effective.value, effective.source.to_string())
}

fn second(second: u64) -> Timestamp {
    Timestamp::from_ns(second * 1_000_000_000)
}

#[test]
fn an_effective_value_says_where_it_comes_from() {
    let (publisher, _) = publisher();
    assert_eq!(effective(&publisher, "api.user"), ("10".into(), "rules.yaml:4".into()));
    assert_eq!(effective(&publisher, "api.tenant"), ("20".into(), "rules.yaml:8".into()));
    assert_eq!(set(&publisher, second(1), change("api.user", "-1", None)), Ok("10".into()));
    assert_eq!(effective(&publisher, "api.user"), ("-1".into(), "setting of rule api.user".into()));
    let burst = publisher.effective(&scope("api.user"), SettingName::ShadowMode).unwrap();
    assert_eq!((burst.value, burst.source.to_string()), ("false".into(), "default".into()));
}

/// Expiry follows the clock of the process, which never goes back: a step forward ends a setting, once; one back ends none early.
#[test]
fn a_setting_expires_across_steps_of_the_clock() {
    let (publisher, applied) = publisher();
    set(&publisher, second(1_000), change("api.user", "5", Some(Nanos::from_secs(60)))).unwrap();
    set(&publisher, second(1_000), change("api.tenant", "5", None)).unwrap();
    let before = *applied.lock();
    let expired = |now: Timestamp| {
        let mut paths = Vec::new();
        publisher.expire(now, |expired| {
            paths.extend(expired.iter().map(|(setting, value)| format!("{} {value}", setting.scope)));
        });
        paths
    };
    for early in [second(999), second(1_059), Timestamp::from_ns(second(1_060).as_ns() - 1), second(500)] {
        assert_eq!(expired(early), [""; 0], "{early:?}");
    }
    assert_eq!(*applied.lock(), before, "nothing was put in force");
    assert_eq!(expired(second(1_000_000)), ["rule api.user 10"]);
    assert_eq!(expired(second(1_000_001)), [""; 0]);
    assert_eq!(*applied.lock(), before + 1);
    assert_eq!(effective(&publisher, "api.user").0, "10");
    assert_eq!(effective(&publisher, "api.tenant").0, "5");
}

#[test]
fn one_whose_rule_vanished_is_inactive_until_it_comes_back() {
    let (publisher, _) = publisher();
    set(&publisher, second(1), change("api.user", "5", None)).unwrap();
    let inactive = |publisher: &Publisher| {
        publisher.read(|book, _| book.list().map(|one| book.why_inactive(one).map(str::to_owned)).collect::<Vec<_>>())
    };
    assert_eq!(inactive(&publisher), [None]);
    publisher
        .publish(1, rules("domain: api\ndescriptors: [{key: other, rate_limit: {unit: day, requests_per_unit: 1}}]\n"));
    assert_eq!(inactive(&publisher), [Some("there is no rule 'api.user'".into())]);
    publisher.publish(1, rules(RULES));
    assert_eq!((inactive(&publisher), effective(&publisher, "api.user").0), (vec![None], "5".into()));
}

/// Another rule comes first, or no rule has the key: such a setting would have no effect, and nobody would notice.
#[test]
fn what_no_check_can_reach_is_an_error() {
    let (publisher, _) = publisher();
    publisher.publish(1, rules(SIBLINGS));
    let of = |target: ScopeTarget, key: &str, value: &str| SettingChange {
        scope: Scope::new(target, vec![(key.to_owned(), value.to_owned())], 0).unwrap(),
        name: SettingName::Enabled,
        ..change("", "false", None)
    };
    let rule = |path: &str| ScopeTarget::Rule(path.to_owned());
    let domain = || ScopeTarget::Domain("api".to_owned());
    for (setting, expected) in [
        (
            of(rule("api.tenant"), "tenant", "acme"),
            "checks with tenant=acme are decided by rule 'api.tenant_acme', which comes before 'api.tenant': name that rule",
        ),
        (
            of(domain(), "tennant", "acme"),
            "no rule of domain 'api' has the entry: there is no key 'tennant'; the nearest: tenant",
        ),
    ] {
        assert_eq!(set(&publisher, second(1), setting).unwrap_err().to_string(), expected);
    }
    for setting in [
        of(rule("api.tenant"), "tenant", "b"),
        of(rule("api.tenant_acme"), "tenant", "acme"),
        of(domain(), "tenant", "acme"),
    ] {
        set(&publisher, second(1), setting).unwrap();
    }
}

#[test]
fn what_is_rejected_changes_nothing() {
    let (publisher, applied) = publisher();
    set(&publisher, second(1), change("api.user", "5", None)).unwrap();
    let before = *applied.lock();
    let long = SettingChange { reason: "x".repeat(MAX_REASON_BYTES + 1), ..change("api.user", "6", None) };
    for (rejected, expected) in [
        (change("api.user", "many", None), "error loading config file"),
        (change("api.usr", "1", None), "there is no rule 'api.usr'"),
        (change("api.user", "6", Some(Nanos::ZERO)), "a setting is in force for 1 ns to 366 days"),
        (change("api.user", "6", Some(MAX_LENGTH.plus(Nanos::SECOND))), "a setting is in force for"),
        (long, "a reason is at most 500 bytes long"),
    ] {
        let error = set(&publisher, second(2), rejected).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    assert_eq!((*applied.lock(), effective(&publisher, "api.user").0), (before, "5".into()));
    let unset = publisher.unset(&scope("api.tenant"), SettingName::RequestsPerUnit, |_, _| {}).unwrap_err();
    assert_eq!(unset.to_string(), "requests_per_unit is not set for rule api.tenant");
}

#[test]
fn there_are_at_most_ten_thousand() {
    let (rules, mut book) = (rules(RULES), SettingsBook::default());
    let of_user = |n: usize| Setting {
        scope: Scope::new(ScopeTarget::Rule("api.user".into()), vec![("user".into(), n.to_string())], 0).unwrap(),
        name: SettingName::RequestsPerUnit,
        value: "1".into(),
        principal: String::new(),
        set_at: second(1),
        reason: String::new(),
        until: None,
    };
    assert_eq!((0..=MAX_SETTINGS).filter(|n| book.restore(of_user(*n))).count(), MAX_SETTINGS);
    assert_eq!(book.list().count(), MAX_SETTINGS);
    book.lay_over(&rules);
    let more = |entry: &str| {
        let entries = vec![("user".to_owned(), entry.to_owned())];
        SettingChange {
            scope: Scope::new(ScopeTarget::Rule("api.user".into()), entries, 0).unwrap(),
            ..change("api.user", "2", None)
        }
    };
    assert_eq!(book.set(&rules, second(2), second(2), more("one more")).unwrap_err(), SettingError::TooMany);
    // One of the known ones can still be changed.
    assert_eq!(book.set(&rules, second(2), second(2), more("7")).unwrap().value, "2");
    assert_eq!(book.list().count(), MAX_SETTINGS);
}

/// Whether something is enabled is decided by the widest that says no: a setting, or the file.
#[test]
fn what_switches_a_scope_off_is_named() {
    const OFF: &str = "domain: api
enabled: false
descriptors:
- {key: tenant, value: acme, rate_limit: {unit: minute, requests_per_unit: 10}}
- {key: tenant, rate_limit: {unit: minute, requests_per_unit: 20}}
";
    let (publisher, _) = publisher();
    let set_enabled = |target: ScopeTarget, entries: &[(&str, &str)], value: &str| {
        let entries = entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let scope = Scope::new(target, entries, 0).unwrap();
        set(&publisher, second(1), SettingChange { scope, name: SettingName::Enabled, ..change("", value, None) })
            .unwrap();
    };
    let enabled = |target: ScopeTarget| {
        let scope = Scope::new(target, Vec::new(), 0).unwrap();
        let effective = publisher.effective(&scope, SettingName::Enabled).unwrap();
        format!("{} {}", effective.value, effective.source)
    };
    let domain = || ScopeTarget::Domain("api".to_owned());
    let rule = |path: &str| ScopeTarget::Rule(path.to_owned());
    publisher.publish(1, rules(OFF));
    assert_eq!(enabled(domain()), "false rules.yaml:2");
    assert_eq!(enabled(rule("api.tenant")), "false rules.yaml:2", "the file disables its domain");
    set_enabled(rule("api.tenant"), &[], "true");
    assert_eq!(enabled(rule("api.tenant")), "false rules.yaml:2", "what is off stays off");
    set_enabled(domain(), &[], "true");
    assert_eq!(enabled(rule("api.tenant")), "true setting of rule api.tenant");
    assert_eq!(enabled(rule("api.tenant_acme")), "true default");
    set_enabled(domain(), &[("tenant", "acme")], "false");
    assert_eq!(
        enabled(rule("api.tenant_acme")),
        "false setting of domain api, tenant=acme",
        "all of its checks have the entry"
    );
    assert_eq!(enabled(rule("api.tenant")), "true setting of rule api.tenant");
}

#[test]
fn a_value_is_kept_in_one_form() {
    let (publisher, _) = publisher();
    for (name, given, kept) in [
        (SettingName::RequestsPerUnit, "0x10", "16"),
        (SettingName::RequestsPerUnit, "1_000", "1000"),
        (SettingName::RequestsPerUnit, "-7", "-1"),
        (SettingName::Period, "90s", "1m30s"),
        (SettingName::Ban, "{for: 60s, when: exceeded}", "{for: 1m, when: exceeded}"),
        (SettingName::ShadowMode, "true", "true"),
    ] {
        let change = SettingChange { name, ..change("api.user", given, None) };
        let set = publisher.set((second(1), second(1)), change, |_, _| {}).unwrap();
        assert_eq!(set.setting.value, kept, "{name} {given}");
        publisher.unset(&scope("api.user"), name, |_, _| {}).unwrap();
    }
}

/// What an operator should know about a setting: what it replaces, and what makes it ineffective.
#[test]
fn a_setting_says_what_it_replaces_and_what_switches_it_off() {
    let (publisher, _) = publisher();
    let set = |change| publisher.set((second(1), second(1)), change, |_, _| {}).unwrap();
    let first = set(change("api.user", "5", Some(Nanos::SECOND)));
    assert_eq!((first.replaced, first.off), (None, None));
    assert_eq!(set(change("api.user", "6", None)).replaced.map(|former| former.until), Some(Some(second(2))));
    let own = SettingChange { name: SettingName::Enabled, ..change("api.tenant", "false", None) };
    assert_eq!(set(own).off, None);
    let same = set(change("api.tenant", "7", None)).off.map(|off| off.to_string());
    assert_eq!(same, Some("setting of rule api.tenant".to_owned()));
    let domain = Scope::new(ScopeTarget::Domain("api".to_owned()), Vec::new(), 0).unwrap();
    let off = SettingChange { scope: domain, name: SettingName::Enabled, ..change("", "false", None) };
    assert_eq!(set(off).off, None, "that is what it says");
    let later = set(change("api.user", "7", None));
    assert_eq!(later.off.map(|off| off.to_string()), Some("setting of domain api".to_owned()));
    let on = SettingChange { name: SettingName::Enabled, ..change("api.user", "true", None) };
    assert!(set(on).off.is_some());
}
