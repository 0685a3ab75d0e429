//! What is switched off is seen wherever an operator looks, and a reload says what it changed.

use crate::TestServer;
use crate::server::{http, rules_in, run};

const OFF: &str = "domain: api
descriptors:
- {key: on, rate_limit: {unit: minute, requests_per_unit: 3}}
- {key: off, rate_limit: {unit: minute, requests_per_unit: 3, enabled: false}}
- {key: shadow, shadow_mode: true, rate_limit: {unit: minute, requests_per_unit: 3}}
- key: half
  rate_limits:
  - {unit: second, requests_per_unit: 1}
  - {unit: day, requests_per_unit: 9, enabled: false}
";

/// The same rules in a domain that is disabled.
fn disabled_domain() -> String {
    format!("{OFF}enabled: false\n")
}

/// `/rlconfig` with this behind the lines of limits that are on, and of those that are off.
fn pages(on: &str, off: &str) -> String {
    let (minute, second, day) =
        ("unit=MINUTE requests_per_unit=3", "unit=SECOND requests_per_unit=1", "unit=DAY requests_per_unit=9");
    let lines = [
        ("on", minute, false, on),
        ("off", minute, false, off),
        ("shadow", minute, true, on),
        ("half", second, false, on),
        ("half", day, false, off),
    ];
    let line =
        |(key, limit, shadow, more)| format!("api.{key}: {limit}, shadow_mode: {shadow}, quota_mode: false{more}\n");
    lines.map(line).concat()
}

/// What `check` says is lifted, to people and to programs.
fn checked(server: &TestServer) -> Vec<String> {
    let path = server.dir.path().join("rules.yaml").to_string_lossy().into_owned();
    let (_, stdout, _) = run(&["check", &path], "");
    let shown: Vec<_> = stdout.lines().filter_map(|line| line.strip_prefix("limits are lifted: ")).collect();
    let (_, object, _) = run(&["check", "--json", &path], "");
    let object: serde_json::Value = serde_json::from_str(&object).unwrap();
    let lifted = object["lifted"].as_array().unwrap().iter();
    assert_eq!(lifted.map(|one| one["text"].as_str().unwrap()).collect::<Vec<_>>(), shown);
    shown.into_iter().map(str::to_owned).collect()
}

#[test]
fn what_is_off_looks_off() {
    let (domain, process) = (", enabled: false (by its domain)", ", global_shadow_mode: true");
    let rules = [
        "rule api.off: enabled: false",
        "rule api.shadow: shadow_mode: true",
        "rule api.half: enabled: false (1 of 2 limits)",
    ];
    let shadow = "the process is in shadow mode (--shadow-mode), nothing is denied";
    let cases = [
        (
            OFF.to_owned(),
            false,
            pages("", ", enabled: false"),
            rules.to_vec(),
            "rules=4 disabled_rules=2 shadow_rules=1",
        ),
        (
            disabled_domain(),
            false,
            pages(domain, domain),
            vec!["domain api: enabled: false (4 rules)"],
            "rules=4 disabled_domains=1",
        ),
        (
            OFF.to_owned(),
            true,
            pages(process, &format!(", enabled: false{process}")),
            [&[shadow], &rules[..]].concat(),
            "rules=4 disabled_rules=2 shadow_rules=1 shadow_mode=true",
        ),
    ];
    for (config, in_shadow, rlconfig, lifted, logged) in cases {
        let server = TestServer::start(&config, if in_shadow { &["--shadow-mode"] } else { &[] });
        assert_eq!(http(&server.admin, "GET", "/rlconfig", b"").1, rlconfig);
        let (status, detail) = server.http("GET", "/readyz", b"");
        let shown: Vec<_> = detail.lines().filter_map(|line| line.strip_prefix("limits are lifted: ")).collect();
        assert_eq!((status, &shown), (200, &lifted), "{detail}");
        let log = server.log().join("\n");
        assert!(log.lines().any(|line| line.contains("configuration loaded") && line.ends_with(logged)), "{log}");
        assert_eq!(server.metric("tidegate_shadow_mode"), u64::from(in_shadow));
        for reason in ["domain_disabled", "rule_disabled", "shadow_mode", "limit_disabled"] {
            let expected = match (lifted.len(), reason) {
                (1, "domain_disabled") => 4,
                (1, _) | (_, "domain_disabled") => 0,
                _ => 1,
            };
            let series = format!("tidegate_lifted_rules{{domain=\"api\",reason=\"{reason}\"}}");
            assert_eq!(server.metric(&series), expected, "{series}");
        }
        assert_eq!(checked(&server), lifted[usize::from(in_shadow)..]);
    }
}

#[test]
fn a_readiness_probe_lists_so_much_and_no_more() {
    let rule = |n| format!("- {{key: k{n}, shadow_mode: true, rate_limit: {{unit: day, requests_per_unit: 1}}}}\n");
    let server =
        TestServer::start(&format!("domain: api\ndescriptors:\n{}", (0..25).map(rule).collect::<String>()), &[]);
    let detail = server.http("GET", "/readyz", b"").1;
    let shown: Vec<_> = detail.lines().filter_map(|line| line.strip_prefix("limits are lifted: ")).collect();
    assert_eq!((shown.len(), shown[20]), (21, "and 5 more (/rlconfig on the admin port shows all)"), "{detail}");
}

#[test]
fn a_reload_says_what_it_changed() {
    let server = TestServer::start(
        "domain: api\ndescriptors:\n- {key: a, rate_limit: {unit: minute, requests_per_unit: 3}}\n- {key: b, rate_limit: {unit: minute, requests_per_unit: 3}}\n",
        &[],
    );
    rules_in(
        &server.dir,
        "domain: api\ndescriptors:\n- {key: a, rate_limit: {unit: minute, requests_per_unit: 5}}\n- {key: \"c\\e[31m\", rate_limit: {unit: day, requests_per_unit: 1}}\n",
    );
    server.signal("HUP");
    let log = server.log_until("generation=2");
    let begin = log.iter().position(|line| line.contains("rules changed added=1 removed=1 changed=1")).unwrap();
    let expected = [
        "rule removed: api.b: 3 per 1m",
        "rule changed: api.a: requests_per_unit 3 -> 5",
        r"rule added: api.c\u{1b}[31m: 1 per 1day",
    ];
    for (line, expected) in log[begin + 1..].iter().zip(expected) {
        assert!(line.ends_with(expected), "{line}\n{expected}");
    }
    server.signal("HUP");
    assert!(server.log_until("generation=3").iter().any(|line| line.ends_with("no rule has changed")));
}
