//! `tidegate check --data-dir`: the rules with the settings that a server has stored.

use std::fs;

use serde_json::{Value, json};

use super::Operator;
use super::settings::RULES;
use crate::TestServer;
use crate::server::run;

#[tokio::test]
async fn check_shows_the_stored_settings() {
    let data = tempfile::tempdir().unwrap();
    let rules = data.path().join("rules.yaml");
    fs::write(&rules, RULES).unwrap();
    let (rules, dir) = (rules.to_str().unwrap(), data.path().join("data"));
    let dir = dir.to_str().unwrap();
    let mut server = TestServer::start(RULES, &["--data-dir", dir]);
    let mut operator = Operator::of(&server).await;
    for (scope, name, value) in [
        ("rule api.user", "requests_per_unit", "1000"),
        ("rule api.user user=ann", "requests_per_unit", "-1"),
        ("rule api.tenant", "shadow_mode", "true"),
        ("domain api tenant=acme", "enabled", "false"),
        ("rule api.node", "requests_per_unit", "7"),
    ] {
        operator.set(scope, name, value).await.unwrap();
    }
    let expected = "\
ok: 1 file, 1 domain, 4 rules, 5 settings
limits are lifted: domain api, tenant=acme: enabled: false (2 rules) (setting)
limits are lifted: rule api.user, user=ann: unlimited (setting)
limits are lifted: rule api.tenant: shadow_mode: true (setting)
  domain api, tenant=acme: enabled: false (setting)
  api.user: 1000 per year (setting)
  api.user, user=ann: unlimited (setting)
  api.tenant: 2 per year, shadow_mode (setting)
  api.tenant.user: 1 per year
  api.node: 7 per year (setting)
";
    let check = |flags: &[&str]| run(&[&["check", rules][..], flags].concat(), "");
    // While the server runs, and after it was killed.
    assert_eq!(check(&["--data-dir", dir]), (Some(0), expected.to_owned(), String::new()));
    server.crash();
    assert_eq!(check(&["--data-dir", dir]), (Some(0), expected.to_owned(), String::new()));
    assert!(check(&[]).1.contains("\n  api.user: 3 per year\n"), "without the directory, only what is written");

    let object = |(_, out, _): (Option<i32>, String, String)| serde_json::from_str::<Value>(&out).unwrap();
    let found = object(check(&["--data-dir", dir, "--json"]));
    assert_eq!((&found["ok"], &found["counts"]["settings"]), (&json!(true), &json!(5)));
    let of = |rule: &str| {
        let rules = found["rules"].as_array().unwrap().iter().filter(|found| found["rule"] == rule);
        rules.map(|rule| json!([rule["entries"], rule["setting"], rule["text"]])).collect::<Vec<_>>()
    };
    assert_eq!(of("api.user"), [json!([[], true, "1000 per year"]), json!([[["user", "ann"]], true, "unlimited"])]);
    assert_eq!(of("api.tenant.user"), [json!([[], false, "1 per year"])]);
    let first = json!({"scope": "domain api, tenant=acme", "name": "enabled", "value": "false", "inactive": null});
    assert_eq!(found["settings"][0], first);

    // A file without the rule of a setting: it would have no effect any more.
    fs::write(rules, RULES.replace("key: node", "key: host")).unwrap();
    let warning =
        "warning: the setting requests_per_unit 7 of rule api.node has no effect: there is no rule 'api.node'\n";
    let (code, out, err) = check(&["--data-dir", dir]);
    assert!(code == Some(0) && err.is_empty() && out.contains(&format!("5 settings\n{warning}")), "{out}{err}");
    let (code, out, err) = check(&["--data-dir", dir, "--strict"]);
    assert_eq!((code, &*out, err), (Some(1), "", format!("{warning}not ok: 1 warning (--strict)\n")));
    let found = object(check(&["--data-dir", dir, "--json"]));
    assert_eq!(found["warnings"][0]["message"], warning.trim_end().trim_start_matches("warning: "));
}

#[test]
fn check_changes_nothing_and_says_what_it_cannot_read() {
    let data = tempfile::tempdir().unwrap();
    let rules = data.path().join("rules.yaml");
    fs::write(&rules, RULES).unwrap();
    let check = |dir: &str| run(&["check", "--data-dir", dir, rules.to_str().unwrap()], "");
    let (empty, missing) = (data.path().join("empty"), data.path().join("missing"));
    fs::create_dir(&empty).unwrap();
    let (code, out, _) = check(empty.to_str().unwrap());
    assert!(code == Some(0) && out.starts_with("ok: 1 file, 1 domain, 4 rules, 0 settings\n"), "{out}");
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 0, "nothing is created");
    let (code, out, err) = check(missing.to_str().unwrap());
    let expected = format!("--data-dir {}: there is no such directory\nnot ok: 1 error\n", missing.display());
    assert_eq!((code, &*out, err), (Some(1), "", expected));
    assert!(!missing.exists());
    let damaged = empty.join("settings.sqlite");
    fs::write(&damaged, [0xff; 8192]).unwrap();
    let (code, out, err) = check(empty.to_str().unwrap());
    assert!(
        code == Some(1) && out.is_empty() && err.contains("cannot read the stored settings: settings.sqlite: "),
        "{err}"
    );
    assert_eq!(fs::read(&damaged).unwrap(), [0xff; 8192], "it is not set aside");
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 1);
}
