//! `tidegate simulate`.

use serde_json::{Value, json};

use crate::server::{rules_in, run};

/// Runs `simulate` with this configuration on this trace: the exit status, standard output and standard error.
fn simulate(config: &str, trace: &str, flags: &[&str]) -> (Option<i32>, String, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = rules_in(&dir, config);
    run(&[&["simulate", "--config", &path], flags].concat(), trace)
}

/// The decisions, line by line.
#[track_caller]
fn decisions(config: &str, trace: &str) -> Vec<Value> {
    let (code, stdout, stderr) = simulate(config, trace, &[]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn line(at: f64, entries: &Value) -> String {
    json!({"at": at, "domain": "api", "descriptors": [{"entries": entries}]}).to_string() + "\n"
}

fn codes(decisions: &[Value]) -> Vec<&str> {
    decisions.iter().map(|decision| decision["code"].as_str().unwrap()).collect()
}

#[test]
fn the_path_may_be_an_argument_and_warnings_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    let path = rules_in(&dir, "domain: api");
    let (code, stdout, stderr) = run(&["simulate", &path], "");
    let warning = "rules.yaml:1: domain 'api' has no rules: its checks are not limited\n";
    assert!((code, stdout.as_str()) == (Some(0), "") && stderr.starts_with("warning: "), "{stderr}");
    assert!(stderr.ends_with(warning), "{stderr}");
}

const PARTNERS: &str = "domain: api
descriptors:
- key: partner
  descriptors:
  - {key: endpoint, rate_limit: {unit: second, requests_per_unit: 10, starts: first_request}}
- {key: free, rate_limit: {unlimited: true}}
";

#[test]
fn the_contracts_example_line() {
    let trace = r#"{"at": 0.2, "domain": "api", "descriptors": [{"entries": [["partner","acme"],["endpoint","/pay"]], "hits": 1}], "hits": 1}"#;
    let expected = json!({"at": 0.2, "code": "OK", "delay_ms": 0, "statuses": [
        {"code": "OK", "rule": "api.partner.endpoint", "limit": 10, "remaining": 9, "reset_ms": 1000}
    ], "headers": {}, "body": ""});
    assert_eq!(decisions(PARTNERS, trace), [expected]);
}

#[test]
fn per_partner_and_endpoint() {
    let entries = json!([["partner", "acme"], ["endpoint", "/pay"]]);
    let trace: String = [0.2; 11].iter().chain(&[1.199, 1.2]).map(|at| line(*at, &entries)).collect();
    let got = decisions(PARTNERS, &trace);
    assert_eq!(codes(&got)[..10], ["OK"; 10]);
    assert_eq!(codes(&got)[10..], ["OVER_LIMIT", "OVER_LIMIT", "OK"]);
    assert_eq!(got[10]["statuses"][0]["reset_ms"], 1000);
    assert_eq!(got[11]["statuses"][0]["reset_ms"], 1);
}

#[test]
fn a_queue() {
    let config = "domain: api
descriptors:
- {key: k, rate_limit: {unit: second, requests_per_unit: 15, algorithm: token_bucket, burst: 15, queue: 100}}
";
    let got = decisions(config, &line(1.0, &json!([["k", "v"]])).repeat(130));
    let delays: Vec<_> = got.iter().map(|decision| decision["delay_ms"].as_u64().unwrap()).collect();
    let expected = (0..130_u64).map(|i| if (15..115).contains(&i) { ((i - 14) * 1000).div_ceil(15) } else { 0 });
    assert_eq!(delays, expected.collect::<Vec<_>>());
    assert_eq!(codes(&got)[114..116], ["OK", "OVER_LIMIT"]);
    assert_eq!(codes(&got).iter().filter(|code| **code == "OVER_LIMIT").count(), 15);
}

#[test]
fn every_kind_of_status_and_descriptor() {
    let trace = json!({"at": "1970-01-01T00:00:01Z", "domain": "api", "hits": 2, "descriptors": [
        {"entries": [["free", "x"]]},
        {"entries": [["none", "x"]]},
        {},
        {"entries": [["partner", "a"], ["endpoint", "b"]], "limit": {"requests_per_unit": 5, "unit": "minute"}},
        {"entries": [["partner", "a"], ["endpoint", "b"]], "hits": 3},
        {"entries": [["partner", "a"], ["endpoint", "b"]], "negative": true},
        {"entries": [["partner", "a"], ["endpoint", "b"]], "hits": 0},
    ]});
    let got = decisions(PARTNERS, &trace.to_string());
    let rule = |remaining| json!({"code": "OK", "rule": "api.partner.endpoint", "limit": 10, "remaining": remaining, "reset_ms": 1000});
    let expected = json!([
        {"code": "OK", "rule": "api.free", "remaining": u32::MAX},
        {"code": "OK"},
        {"code": "OK"},
        {"code": "OK", "limit": 5, "remaining": 3, "reset_ms": 59000},
        rule(7), rule(9), rule(9)
    ]);
    assert_eq!((&got[0]["at"], &got[0]["statuses"]), (&json!("1970-01-01T00:00:01Z"), &expected));
}

#[test]
fn a_bad_line_stops_the_run_with_its_number() {
    let good = line(5.0, &json!([["free", "x"]]));
    let cases = [
        ("nonsense", "line 3: is not a check"),
        ("{}", "line 3: is not a check: missing field `at`"),
        (r#"{"at": 5, "domain": "", "descriptors": [{}]}"#, "line 3: rate limit domain must not be empty"),
        (r#"{"at": 5, "domain": "d", "descriptors": []}"#, "line 3: rate limit descriptor list must not be empty"),
        (r#"{"at": 5, "domain": "d", "descriptors": [{}], "more": 1}"#, "line 3: is not a check: unknown field `more`"),
        (r#"{"at": "noon", "domain": "d", "descriptors": [{}]}"#, "line 3: at: expected seconds"),
        (
            r#"{"at": 5, "domain": "d", "descriptors": [{"limit": {"requests_per_unit": 1, "unit": "eon"}}]}"#,
            "line 3: limit: ",
        ),
        (r#"{"at": 4.999999999, "domain": "d", "descriptors": [{}]}"#, "line 3: goes back in time: 4.999999999 "),
    ];
    for (bad, expected) in cases {
        // Blank lines count, and say nothing.
        let trace = format!("{good}\n{bad}\n{good}");
        let (code, stdout, stderr) = simulate(PARTNERS, &trace, &[]);
        assert_eq!(code, Some(1), "{bad}: {stderr}");
        assert!(stderr.contains(expected) && stderr.lines().count() == 1, "{bad}: {stderr}");
        assert_eq!(stdout.lines().count(), 1, "what came before it is printed: {stdout}");
        assert_eq!(simulate(PARTNERS, &trace, &["--summary"]).1, "", "{bad}");
    }
}

#[test]
fn the_same_instant_again_is_no_step_back_and_an_empty_trace_is_one() {
    let good = line(5.0, &json!([["free", "x"]]));
    assert_eq!(decisions(PARTNERS, &good.repeat(3)).len(), 3);
    assert!(decisions(PARTNERS, "").is_empty());
    assert!(decisions(PARTNERS, "\n\n").is_empty());
}

#[test]
fn a_summary_tells_rules_and_the_busiest_counters() {
    let config = "domain: api
descriptors:
- {key: b, rate_limit: {unit: minute, requests_per_unit: 3, ban: 10s}}
- {key: q, rate_limit: {unit: second, requests_per_unit: 1, algorithm: token_bucket, queue: 2}}
- {key: idle, rate_limit: {unit: second, requests_per_unit: 1}}
";
    let ask = |key: &str, value: &str, times| line(1.0, &json!([[key, value]])).repeat(times);
    let unknown = line(1.0, &json!([["b", "x"]])).replace("api", "nope");
    let trace = [ask("b", "x", 5), ask("b", "y", 1), ask("q", "z", 4), ask("none", "x", 1), unknown.repeat(2)].concat();
    let (code, stdout, stderr) = simulate(config, &trace, &["--summary"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let expected = "\
checks 13, admitted 10, denied 3

rule   checks  hits  admitted  denied  queued  banned
api.b       6     6         4       2       0       2
api.q       4     4         3       1       2       0

matched nothing, so not limited
domain  checks  descriptors  because
nope         2            2  unknown domain
api          1            1  no rule matches

busiest counters
rule   entries  checks  hits  denied
api.b  b=x           5     5       2
api.q  q=z           4     4       1
api.b  b=y           1     1       0
";
    assert_eq!(stdout, expected);
}

#[test]
fn a_summary_counts_as_unmatched_what_no_rule_was_found_for() {
    let config = "domain: api
descriptors:
- {key: a, rate_limit: {unit: minute, requests_per_unit: 3, name: a}}
- {key: b, rate_limit: {unit: minute, requests_per_unit: 3, replaces: [{name: a}]}}
- {key: off, rate_limit: {unit: minute, requests_per_unit: 3, enabled: false}}
- {key: free, rate_limit: {unlimited: true}}
- {key: deep, descriptors: [{key: er, rate_limit: {unit: minute, requests_per_unit: 3}}]}
";
    let entries = |entries: &Value| json!({"entries": entries});
    let check =
        |descriptors: &[Value]| json!({"at": 1, "domain": "api", "descriptors": descriptors}).to_string() + "\n";
    let matched = ["a", "b", "off", "free"].map(|key| entries(&json!([[key, "v"]])));
    let unmatched = [json!([["deep", "v"]]), json!([["deep", "v"], ["er", "v"], ["est", "v"]]), json!([])];
    let with_limit = json!({"entries": [["none", "v"]], "limit": {"requests_per_unit": 5, "unit": "minute"}});
    let counted = "domain  checks  descriptors  because\napi          2            4  no rule matches\n";
    for (trace, expected) in [
        (check(&matched), None),
        (check(&[with_limit]), None),
        (check(&unmatched.map(|one| entries(&one))) + &check(&[entries(&json!([["A", "v"]]))]), Some(counted)),
    ] {
        let (code, stdout, stderr) = simulate(config, &trace, &["--summary"]);
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{trace}");
        let section = stdout.split_once("matched nothing, so not limited\n").map(|(_, rest)| rest);
        assert_eq!(section.map(|rest| rest.split_once("\nbusiest").unwrap().0), expected, "{stdout}");
    }
}

#[test]
fn bodies_of_json_are_lines_too() {
    let entry = |key: &str, value: &str| json!({"key": key, "value": value});
    let partner = json!([entry("partner", "acme"), entry("endpoint", "/pay")]);
    let body = json!({"domain": "api", "descriptors": [{"entries": partner}], "hitsAddend": 2});
    let later = json!({"at": "1970-01-01T00:00:00.5Z", "domain": "api", "descriptors": [{"entries": partner}]});
    let own = line(1.25, &json!([["partner", "acme"], ["endpoint", "/pay"]]));
    let descriptor = json!({"entries": [], "hits_addend": "3", "is_negative_hits": true});
    let odd = json!({"domain": "api", "descriptors": [descriptor]});
    // Without `at`: the time of the line before, and of the first 0.
    let trace = [&*body.to_string(), "\n", &later.to_string(), "\n", &own, &body.to_string(), "\n", &odd.to_string()];
    let got = decisions(PARTNERS, &trace.concat());
    let seen: Vec<_> =
        got.iter().map(|one| (one["at"].to_string(), one["statuses"][0]["remaining"].to_string())).collect();
    let wanted = [("0", "8"), ("\"1970-01-01T00:00:00.5Z\"", "7"), ("1.25", "9"), ("1.25", "7"), ("1.25", "null")];
    assert_eq!(seen, wanted.map(|(at, remaining)| (at.to_owned(), remaining.to_owned())));
}

#[test]
fn a_bad_body_stops_the_run_with_its_number() {
    let cases = [
        (r#"{"domain": "", "descriptors": [{"entries": [{"key": "k"}]}]}"#, "rate limit domain must not be empty"),
        (r#"{"domain": "d", "hitsAddend": 1}"#, "rate limit descriptor list must not be empty"),
        (r#"{"domain": "d", "descriptors": [{"entries": [{"key": "k"}]}], "more": 1}"#, "is not a check: "),
        (r#"{"at": 1, "at": 2, "domain": "d", "descriptors": [{"entries": [{"key": "k"}]}]}"#, "duplicate field `at`"),
        (r#"{"at": "noon", "domain": "d", "descriptors": [{"entries": [{"key": "k"}]}]}"#, "at: expected seconds"),
        (r#"{"at": 4, "domain": "d", "descriptors": [{"entries": [{"key": "k"}]}]}"#, "goes back in time: 4 "),
    ];
    for (bad, expected) in cases {
        let (code, stdout, stderr) = simulate(PARTNERS, &(line(5.0, &json!([["free", "x"]])) + bad), &[]);
        assert_eq!((code, stdout.lines().count()), (Some(1), 1), "{bad}: {stderr}");
        assert!(stderr.contains("line 2: ") && stderr.contains(expected), "{bad}: {stderr}");
    }
}

#[test]
fn a_summary_tells_who_made_how_many_requests() {
    let config = "domain: api
usage: {by: [user, none]}
descriptors:
- key: user
  descriptors:
  - {key: endpoint, rate_limit: {unit: hour, requests_per_unit: 3}}
- {key: tenant, rate_limit: {unit: hour, requests_per_unit: 4}}
";
    let ask = |user: &str, times| {
        let descriptor = |entries| json!({"entries": entries});
        let user_at = descriptor(json!([["user", user], ["endpoint", "/x"]]));
        let descriptors = [descriptor(json!([["user", user]])), user_at, descriptor(json!([["tenant", "t"]]))];
        (json!({"at": 1, "domain": "api", "descriptors": descriptors}).to_string() + "\n").repeat(times)
    };
    let (_, stdout, stderr) = simulate(config, &[ask("bob", 4), ask("ann", 6)].concat(), &["--summary"]);
    let expected = "
requests by user in api
entry     requests  admitted  denied
user=ann         6         0       6
user=bob         4         3       1

";
    assert!(stdout.contains(expected) && !stdout.contains("none"), "{stdout}{stderr}");
}

#[test]
fn a_trace_comes_from_a_file_too_and_errors_name_it() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace.jsonl");
    std::fs::write(&trace, line(5.0, &json!([["free", "x"]])) + "bad").unwrap();
    let trace = trace.to_str().unwrap();
    let (code, stdout, stderr) = simulate(PARTNERS, "", &["--trace", trace]);
    assert_eq!((code, stdout.lines().count()), (Some(1), 1));
    assert!(stderr.starts_with(&format!("error: {trace}: line 2: ")), "{stderr}");
    let (code, _, stderr) = simulate(PARTNERS, "", &["--trace", "/nonexistent"]);
    assert!(code == Some(1) && stderr.starts_with("error: --trace /nonexistent: "), "{stderr}");
    let (code, _, stderr) = simulate("domain: ''", "", &[]);
    assert!(code == Some(1) && stderr.contains("rules.yaml:1: config file cannot have empty domain"), "{stderr}");
}

#[test]
fn shadow_and_quota_mode_as_serve_has_them() {
    let config = "domain: api
descriptors:
- {key: zero, rate_limit: {unit: second, requests_per_unit: 0}}
";
    let trace = json!({"at": 1, "domain": "api", "descriptors": [{"entries": [["zero", "x"]]}, {}]}).to_string();
    for (flags, code) in [(&[][..], "OVER_LIMIT"), (&["--shadow-mode"], "OK"), (&["--quota-mode"], "OK")] {
        let (_, stdout, _) = simulate(config, &trace, flags);
        let got: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!((&got["code"], &got["statuses"][0]["code"]), (&json!(code), &json!("OVER_LIMIT")), "{flags:?}");
    }
}

/// The counters of a rule sum up to the rule: what another limit denied is in neither, what shadow mode let pass is not
/// denied.
#[test]
fn the_counters_of_a_summary_agree_with_its_rules() {
    let config = "domain: api
charge: all_or_nothing
descriptors:
- {key: user, rate_limit: {unit: minute, requests_per_unit: 9}}
- {key: tenant, rate_limit: {unit: minute, requests_per_unit: 3}}
- {key: watched, shadow_mode: true, rate_limit: {unit: minute, requests_per_unit: 1}}
";
    let check = json!({"at": 1, "domain": "api", "descriptors": [
        {"entries": [["user", "u"]]}, {"entries": [["tenant", "t"]]}, {"entries": [["watched", "w"]]},
    ]});
    let (_, stdout, stderr) = simulate(config, &(check.to_string() + "\n").repeat(5), &["--summary"]);
    let rows: Vec<Vec<&str>> = stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    let find = |first: &str, second: Option<&str>| {
        let row = rows.iter().find(|row| row.first() == Some(&first) && second.is_none_or(|second| row[1] == second));
        row.unwrap_or_else(|| panic!("{first}: {stdout}{stderr}")).clone()
    };
    for (rule, entry, checks, hits, denied) in [
        ("api.user", "user=u", "3", "3", "0"),
        ("api.tenant", "tenant=t", "5", "5", "2"),
        // Over its limit it counts each time, though it denies nothing.
        ("api.watched", "watched=w", "5", "5", "0"),
    ] {
        let for_rule = find(rule, None);
        assert_eq!((for_rule[1], for_rule[2], for_rule[4]), (checks, hits, denied), "{stdout}");
        assert_eq!(find(rule, Some(entry))[2..], [checks, hits, denied], "{stdout}");
    }
}
