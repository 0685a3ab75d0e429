//! `tidegate check`.

use crate::server::{THREE_A_MINUTE, run};

/// Writes the files into a directory, and runs `check` on it; `DIR` stands for the directory.
fn check(files: &[(&str, &str)], flags: &[&str]) -> (Option<i32>, String, String) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let path = dir.path().to_str().unwrap();
    let (code, stdout, stderr) = run(&[&["check", path], flags].concat(), "");
    (code, stdout.replace(path, "DIR"), stderr.replace(path, "DIR"))
}

#[test]
fn a_good_configuration_is_reported_rule_by_rule() {
    let files =
        [("a/rules.yaml", THREE_A_MINUTE), ("b.yml", "domain: b"), (".hidden.yaml", "nonsense: ["), ("config", "[")];
    let (code, stdout, stderr) = check(&files, &[]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    let skipped = "only *.yaml and *.yml files of a directory are read; rename it if it holds rules, or move it away";
    let warnings = format!(
        "warning: DIR/config: skipped: {skipped}\nwarning: DIR/b.yml:1: domain 'b' has no rules: its checks are not limited\n"
    );
    assert_eq!(stdout, format!("ok: 2 files, 2 domains, 1 rule\n{warnings}  api.key: 3 per minute\n"));
    assert_eq!(check(&files, &["--quiet"]), (Some(0), String::new(), String::new()));
    let strict = format!("{warnings}not ok: 2 warnings (--strict)\n");
    assert_eq!(check(&files, &["--strict"]), (Some(1), String::new(), strict));
    assert_eq!(check(&files[..1], &["--strict", "--quiet"]), (Some(0), String::new(), String::new()));
}

#[test]
fn standard_input_and_several_paths() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.conf");
    std::fs::write(&path, "domain: a").unwrap();
    let path = path.to_str().unwrap();
    let (code, stdout, stderr) = run(&["check", "-"], THREE_A_MINUTE);
    assert_eq!(
        (code, stdout.as_str(), stderr.as_str()),
        (Some(0), "ok: 1 file, 1 domain, 1 rule\n  api.key: 3 per minute\n", "")
    );
    let (code, stdout, _) = run(&["check", path, "-"], THREE_A_MINUTE);
    assert!(code == Some(0) && stdout.starts_with("ok: 2 files, 2 domains, 1 rule\n"), "{stdout}");
    let (code, _, stderr) = run(&["check", "--config", "-"], "domain: [");
    assert!(code == Some(1) && stderr.starts_with("<stdin>:1: error loading config file: "), "{stderr}");
    let (code, _, stderr) = run(&["check", path, "--config", "-"], "");
    assert!(code == Some(2) && stderr.contains("PATH and --config give different paths"), "{stderr}");
    let (code, _, stderr) = run(&["check", "-", "-"], "domain: a");
    assert!(code == Some(2) && stderr.contains("standard input can be read only once"), "{stderr}");
    let (code, stdout, _) = run(&["check", "--json", "-"], THREE_A_MINUTE);
    let object: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &object["ok"], &object["rules"][0]["rule"]), (Some(0), &true.into(), &"api.key".into()));
}

#[test]
fn every_error_of_every_file_is_reported_with_its_line() {
    let files = [
        (
            "a.yaml",
            "domain: a\ndescriptors:\n- key: ''\n- key: k\n  rate_limit: {unit: eon, requests_per_unit: 1}\n- key: k\n",
        ),
        ("b.yaml", "descriptors: []\n"),
        ("c.yaml", "domain: [\n"),
        ("d.yaml", "domain: a\nunknown: 1\n"),
        ("e.yaml", "domain: e\ndescriptors:\n- {key: k, rate_limit: {unit: day, period: 1s, requests_per_unit: 1}}\n"),
    ];
    let (code, stdout, stderr) = check(&files, &[]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
    let expected = [
        "a.yaml:3: descriptor has empty key",
        "a.yaml:5: invalid rate limit unit 'eon'",
        "a.yaml:6: duplicate descriptor composite key 'a.k'",
        "b.yaml:1: config file cannot have empty domain",
        "c.yaml:1: error loading config file: ",
        "d.yaml:1: duplicate domain 'a' in config file",
        "d.yaml:2: config error, unknown key 'unknown'",
        "e.yaml:3: 'unit' and 'period' both set the length of the window",
    ];
    for error in expected {
        assert!(stderr.lines().any(|line| line.contains(error)), "no {error} in\n{stderr}");
    }
    assert_eq!(stderr.lines().last(), Some("not ok: 8 errors"), "{stderr}");
}

#[test]
fn domains_are_merged_when_asked_for() {
    let files = [
        ("a.yaml", "domain: d\ndescriptors: [{key: a, rate_limit: {unit: day, requests_per_unit: 1}}]"),
        ("b.yaml", "domain: d\ndescriptors: [{key: b, rate_limit: {unit: day, requests_per_unit: 2}}]"),
    ];
    let (code, _, stderr) = check(&files, &[]);
    assert!(code == Some(1) && stderr.contains("b.yaml:1: duplicate domain 'd' in config file"), "{stderr}");
    let (code, stdout, _) = check(&files, &["--merge-domains"]);
    assert_eq!(
        (code, stdout.as_str()),
        (Some(0), "ok: 2 files, 1 domain, 2 rules\n  d.a: 1 per day\n  d.b: 2 per day\n")
    );
}

#[test]
fn what_cannot_be_read_is_reported() {
    let (code, _, stderr) = run(&["check", "/nonexistent"], "");
    assert!(code == Some(1) && stderr.starts_with("/nonexistent: "), "{stderr}");
    let (code, _, stderr) = check(&[("a.txt", "domain: a")], &[]);
    assert!(code == Some(1) && stderr.starts_with("DIR: contains no *.yaml or *.yml file"), "{stderr}");
    let (code, _, stderr) = run(&["check"], "");
    assert!(code == Some(2) && stderr.contains("<PATH>"), "{stderr}");
}
