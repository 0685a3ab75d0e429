//! The output of `check`.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;
use crate::rules::ConfigError;

/// The result of `check` for a directory of files: whether it is valid, and both outputs.
fn said(files: &[(&str, &str)], set: impl Fn(&mut CheckArgs)) -> (bool, String, String) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let mut args = args(vec![dir.path().to_owned()]);
    set(&mut args);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let ok = check(&args, &mut io::empty(), &mut out, &mut err);
    let shown = |text| String::from_utf8(text).unwrap().replace(dir.path().to_str().unwrap(), "R");
    (ok, shown(out), shown(err))
}

fn args(paths: Vec<PathBuf>) -> CheckArgs {
    CheckArgs {
        paths: ConfigPaths(paths),
        merge_domains: false,
        calendar_months: false,
        strict: false,
        data_dir: None,
        json: false,
        quiet: false,
        overlay: None,
    }
}

const A: &str = "domain: a\ndescriptors:\n- {key: k, rate_limit: {unit: day, requests_per_unit: 1}}\n";
const EMPTY: (&str, &str) = ("b.yaml", "domain: b\n");
const WARNING: &str = "warning: R/b.yaml:1: domain 'b' has no rules: its checks are not limited\n";

#[test]
fn a_good_configuration_is_reported_unless_quiet() {
    let files = [("a.yaml", A), EMPTY];
    let reported = format!("ok: 2 files, 2 domains, 1 rule\n{WARNING}  a.k: 1 per day\n");
    assert_eq!(said(&files, |_| {}), (true, reported, String::new()));
    assert_eq!(said(&files, |args| args.quiet = true), (true, String::new(), String::new()));
}

#[test]
fn warnings_fail_when_strict() {
    let rejected = format!("{WARNING}not ok: 1 warning (--strict)\n");
    let files = [("a.yaml", A), EMPTY];
    assert_eq!(said(&files, |args| args.strict = true), (false, String::new(), rejected));
    assert!(said(&files[..1], |args| args.strict = true).0);
    let (ok, _, err) = said(&[("a.yaml", A), ("config", A)], |args| args.strict = true);
    assert!(!ok && err.starts_with("warning: R/config: skipped: only *.yaml and *.yml files"), "{err}");
}

#[test]
fn a_bad_path_is_reported_with_a_count() {
    let (ok, out, err) = said(&[], |_| {});
    assert!(!ok && out.is_empty());
    assert!(err.starts_with("R: contains no *.yaml or *.yml file") && err.ends_with("\nnot ok: 1 error\n"), "{err}");
}

#[test]
fn every_error_has_a_line() {
    let error = |line| ConfigError { file: "a.yaml".into(), line, message: "descriptor has empty key".into() };
    let mut err = Vec::new();
    complain(&LoadError::Rules(vec![error(3), error(9)]).into(), &mut err).unwrap();
    let expected = "a.yaml:3: descriptor has empty key\na.yaml:9: descriptor has empty key\nnot ok: 2 errors\n";
    assert_eq!(String::from_utf8(err).unwrap(), expected);
}

#[test]
fn several_paths_and_standard_input_are_one_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let (a, sub) = (dir.path().join("a.conf"), dir.path().join("sub"));
    std::fs::write(&a, A).unwrap();
    std::fs::create_dir(&sub).unwrap();
    std::fs::write(sub.join("b.yaml"), A.replace("domain: a", "domain: b")).unwrap();
    let run = |paths: Vec<PathBuf>, input: &str| {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let ok = check(&args(paths), &mut input.as_bytes(), &mut out, &mut err);
        (ok, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    };
    let (ok, out, _) = run(vec![a.clone(), sub, "-".into()], &A.replace("domain: a", "domain: c"));
    assert!(ok && out.starts_with("ok: 3 files, 3 domains, 3 rules\n"), "{out}");
    let (ok, _, err) = run(vec![a, "-".into()], A);
    assert_eq!((ok, err.as_str()), (false, "<stdin>:1: duplicate domain 'a' in config file\nnot ok: 1 error\n"));
}

#[test]
fn json_for_programs() {
    let object = |files: &[(&str, &str)]| {
        let (ok, out, err) = said(files, |args| args.json = true);
        assert_eq!((err.as_str(), out.matches('\n').count()), ("", 1));
        let object: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(object["ok"], ok);
        object
    };
    let good = object(&[("a.yaml", A), EMPTY, ("c.txt", "")]);
    let warnings = json!([
        {"file": "R/c.txt", "line": null, "message": "skipped: only *.yaml and *.yml files of a directory are read; rename it if it holds rules, or move it away"},
        {"file": "R/b.yaml", "line": 1, "message": "domain 'b' has no rules: its checks are not limited"},
    ]);
    let rules = json!([{
        "domain": "a", "rule": "a.k", "entries": [], "setting": false, "unlimited": false, "shadow_mode": false, "quota_mode": false, "text": "1 per day",
        "limits": [{
            "name": "",
            "requests_per_unit": 1,
            "period_ms": 86_400_000,
            "calendar": null,
            "enabled": true,
            "sharing": {"mode": "leased", "why_not_leased": null, "when_down": null, "slot": null},
            "text": "1 per day",
        }],
    }]);
    let counts = json!({"files": 2, "domains": 2, "rules": 1, "settings": 0, "errors": 0, "warnings": 2});
    let expected = json!({
        "ok": true, "errors": [], "warnings": warnings, "counts": counts, "lifted": [], "settings": [], "rules": rules
    });
    assert_eq!(good, expected);

    let bad = object(&[("a.yaml", "domain: a\ndescriptors:\n- value: b\n")]);
    assert_eq!(bad["errors"], json!([{"file": "R/a.yaml", "line": 3, "message": "descriptor has empty key"}]));
    assert_eq!((&bad["counts"]["errors"], &bad["rules"]), (&json!(1), &json!([])));
    let none = object(&[]);
    assert_eq!((&none["errors"][0]["file"], &none["errors"][0]["line"]), (&json!("R"), &Value::Null));
}
