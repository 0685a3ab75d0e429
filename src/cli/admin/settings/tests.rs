//! What is printed for each answer, and which command lines are valid.

use clap::Parser;
use clap::error::ErrorKind;
use prost_types::Timestamp as WireTime;

use super::*;
use crate::api::proto::tidegate::v1::Setting;
use crate::cli::table::WIDTH;

const NOW: Timestamp = Timestamp::from_ns(1_795_665_600_000_000_000);

fn sale() -> Setting {
    Setting {
        scope: Some(SettingScope { rule: "api.user".into(), ..SettingScope::default() }),
        name: "requests_per_unit".into(),
        value: "1000".into(),
        principal: "127.0.0.1:4711".into(),
        set_at: Some(WireTime { seconds: 1_795_665_599, nanos: 0 }),
        reason: "spring sale".into(),
        until: Some(WireTime { seconds: 1_795_672_799, nanos: 0 }),
        inactive: String::new(),
    }
}

fn off() -> Setting {
    let acme = Entry { key: "tenant".into(), value: "acme".into() };
    Setting {
        scope: Some(SettingScope { domain: "api".into(), entries: vec![acme], ..SettingScope::default() }),
        name: "enabled".into(),
        value: "false".into(),
        principal: String::new(),
        reason: String::new(),
        until: None,
        inactive: "the domain is not in the configuration".into(),
        ..sale()
    }
}

fn hostile() -> Setting {
    let text = "x\x1b[2J\u{202e}\n".repeat(200);
    let entry = Entry { key: text.clone(), value: text.clone() };
    Setting {
        scope: Some(SettingScope { rule: text.clone(), domain: text.clone(), entries: vec![entry; 8], limit: 9 }),
        name: text.clone(),
        value: text.clone(),
        principal: text.clone(),
        reason: text.clone(),
        inactive: text,
        ..sale()
    }
}

#[test]
fn lists() {
    let cases = [
        (vec![], false, "no settings"),
        (vec![], true, "no settings\nsettings cannot be changed: the server runs with --settings read-only"),
        (
            vec![sale(), off()],
            false,
            "\
scope                   name               value  until
rule api.user           requests_per_unit  1000   2026-11-26T05:59:59Z (in 1h 59m)
    set 2026-11-26T03:59:59Z by 127.0.0.1:4711: spring sale
domain api tenant=acme  enabled            false  until unset
    set 2026-11-26T03:59:59Z
    inactive: the domain is not in the configuration",
        ),
    ];
    for (settings, read_only, expected) in cases {
        assert_eq!(list(&ListSettingsResponse { settings, read_only, shared: None }, NOW), expected);
    }
}

#[test]
fn how_settings_are_shared() {
    let wire = |at: Timestamp| prost_types::Timestamp {
        seconds: i64::try_from(at.as_ns() / 1_000_000_000).unwrap(),
        nanos: 0,
    };
    let shared = |replicas, ago_s, pending| SharedChanges {
        replicas,
        synchronized_at: Some(wire(NOW.minus(Nanos::from_secs(ago_s)))),
        pending,
        latest: None,
    };
    for (shared, expected) in [
        (
            SharedChanges::default(),
            "not shared yet: the store of shared counters has not answered since the server started",
        ),
        (shared(1, 0, 0), "shared with 0 other replicas"),
        (shared(3, 1, 0), "shared with 2 other replicas"),
        (shared(2, 1, 1), "1 change not shared with 1 other replica yet: the store does not have them"),
        (
            shared(2, 60, 0),
            "shared with 1 other replica, but not since 2026-11-26T03:59:00Z: what was changed there later is unknown",
        ),
    ] {
        assert_eq!(how_shared(&shared, NOW), expected);
    }
}

#[test]
fn single_settings() {
    let asked = GetSettingRequest { scope: sale().scope, name: "requests_per_unit".into() };
    let effective = |source: &str, setting| {
        get(&asked, &GetSettingResponse { value: "1000".into(), source: source.into(), setting }, NOW)
    };
    let changed = |setting, old: &str| set(&SetSettingResponse { setting, old: old.into(), ..Default::default() }, NOW);
    let removed =
        |setting, value: &str| unset(&UnsetSettingResponse { setting, value: value.into(), ..Default::default() });
    let cases = [
        (effective("rules.yaml:12", None), "requests_per_unit of rule api.user: 1000\n  from: rules.yaml:12"),
        (
            effective("setting of rule api.user", Some(sale())),
            "\
requests_per_unit of rule api.user: 1000
  from: setting of rule api.user
  set 2026-11-26T03:59:59Z by 127.0.0.1:4711: spring sale
  until 2026-11-26T05:59:59Z (in 1h 59m)",
        ),
        (
            changed(Some(sale()), "60"),
            "set requests_per_unit of rule api.user to 1000 (was 60) until 2026-11-26T05:59:59Z (in 1h 59m)",
        ),
        (
            changed(Some(off()), ""),
            "set enabled of domain api tenant=acme to false\n  inactive: the domain is not in the configuration",
        ),
        (removed(Some(sale()), "60"), "unset requests_per_unit of rule api.user (was 1000), now 60"),
        (removed(Some(off()), ""), "unset enabled of domain api tenant=acme (was false)"),
        (changed(None, ""), "set"),
        (removed(None, ""), "unset"),
    ];
    for (text, expected) in cases {
        assert_eq!(text, expected);
    }
}

#[test]
fn long_and_hostile_values_fit() {
    let setting = Some(hostile());
    let asked = GetSettingRequest { scope: hostile().scope, name: hostile().name };
    let value = hostile().value;
    let texts = [
        list(&ListSettingsResponse { settings: vec![hostile(), sale()], read_only: true, shared: None }, NOW),
        get(&asked, &GetSettingResponse { value: value.clone(), source: value.clone(), setting: setting.clone() }, NOW),
        set(&SetSettingResponse { setting: setting.clone(), old: value.clone(), ..Default::default() }, NOW),
        unset(&UnsetSettingResponse { setting, value, ..Default::default() }),
    ];
    for text in texts {
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(!text.contains(['\x1b', '\u{202e}']), "{text}");
    }
}

#[derive(Debug, Parser)]
struct Line {
    #[command(subcommand)]
    command: SettingsCommand,
}

#[test]
fn command_lines() {
    let cases: &[(&[&str], Result<(), ErrorKind>)] = &[
        (&["list"], Ok(())),
        (&["get", "enabled"], Ok(())),
        (&["set", "--rule", "api.user", "requests_per_unit", "-1", "--for", "2h"], Ok(())),
        (&["set", "--rule", "api.user", "--limit", "2", "requests_per_unit", "5", "--reason", "why"], Ok(())),
        (&["set", "--domain", "api", "--entry", "a=1", "--entry", "b=2", "enabled", "false"], Ok(())),
        (&["set", "enabled", "false"], Ok(())),
        (&["set", "enabled", "--for", "2h"], Err(ErrorKind::MissingRequiredArgument)),
        (&["set", "enabled", "false", "--for", "soon"], Err(ErrorKind::ValueValidation)),
        (&["set", "--rule", "r", "--domain", "d", "enabled", "false"], Err(ErrorKind::ArgumentConflict)),
        (&["set", "--entry", "a=1", "enabled", "false"], Err(ErrorKind::MissingRequiredArgument)),
        (&["set", "--rule", "r", "--entry", "a", "enabled", "false"], Err(ErrorKind::ValueValidation)),
        (&["set", "--domain", "d", "--limit", "1", "enabled", "false"], Err(ErrorKind::ArgumentConflict)),
        (&["set", "--rule", "r", "--limit", "0", "burst", "5"], Err(ErrorKind::ValueValidation)),
        (&["unset", "--rule", "r"], Err(ErrorKind::MissingRequiredArgument)),
        (&["list", "--admin-addr", "https://localhost:8082"], Ok(())),
        (&["list", "--admin-addr", "https://localhost"], Err(ErrorKind::ValueValidation)),
        (&["list", "--tls-cert", "c.pem"], Err(ErrorKind::MissingRequiredArgument)),
        (&["list", "--timeout", "fast"], Err(ErrorKind::ValueValidation)),
    ];
    for (words, expected) in cases {
        let found = Line::try_parse_from(["settings"].iter().chain(*words));
        assert_eq!(found.map(|_| ()).map_err(|error| error.kind()), *expected, "{words:?}");
    }
}
