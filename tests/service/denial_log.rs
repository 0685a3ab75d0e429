//! The denial log of the real binary.

use serde_json::{Value, json};

use crate::TestServer;
use crate::history::until;

const CONFIG: &str = "
domain: api
descriptors:
- {key: key, rate_limit: {unit: day, requests_per_unit: 3}}
- {key: shadow, shadow_mode: true, rate_limit: {unit: day, requests_per_unit: 0}}
- {key: tenant, rate_limit: {unit: year, requests_per_unit: 4}}
";

fn ask(server: &TestServer, key: &str, times: usize) {
    let entries = |key, value| json!({"entries": [{"key": key, "value": value}]});
    let check = json!({"domain": "api", "descriptors": [entries(key, "a\nb"), entries("tenant", key)]});
    for _ in 0..times {
        server.http("POST", "/json", check.to_string().as_bytes());
    }
}

fn denials(server: &TestServer) -> Vec<Value> {
    let lines = server.log().into_iter().map(|line| serde_json::from_str::<Value>(&line).unwrap());
    lines.filter(|line| line["target"] == "tidegate::denials").collect()
}

#[test]
fn every_denial_is_a_line_that_says_who_and_why() {
    let server = TestServer::start(CONFIG, &["--denial-log", "all", "--log-format", "json"]);
    ask(&server, "key", 5);
    ask(&server, "shadow", 1);
    until("three lines", || denials(&server).len() >= 3);
    let reported = denials(&server);
    assert_eq!(reported.len(), 3, "{reported:?}");
    let line = &reported[0];
    for (field, expected) in [
        ("level", json!("INFO")),
        ("message", json!("denied")),
        ("domain", json!("api")),
        ("rule", json!("api.key")),
        ("descriptors", json!(r"key=a\nb; tenant=key")),
        ("hits", json!(1)),
        ("limit", json!(3)),
        ("period", json!("1day")),
        ("reason", json!("over_limit")),
        ("shadow", json!(false)),
        ("left_out", json!(0)),
    ] {
        assert_eq!(line[field], expected, "{field} of {line}");
    }
    assert!(line["retry_after_ms"].as_u64().is_some_and(|ms| ms <= 86_400_000), "{line}");
    assert_eq!(line["also_denied"], Value::Null);
    // Two limits denied the next check: it is one line, of the one to wait for longest.
    let (line, others) = (&reported[1], reported[1]["also_denied"].as_str().unwrap_or_default());
    assert_eq!((&line["rule"], &line["limit"]), (&json!("api.tenant"), &json!(4)));
    assert!(others.starts_with("api.key 3/1day over_limit ") && others.ends_with("ms"), "{line}");
    assert_eq!((&reported[2]["rule"], &reported[2]["shadow"]), (&json!("api.shadow"), &json!(true)));
}

#[test]
fn it_is_off_unless_it_is_asked_for() {
    let mut server = TestServer::start(CONFIG, &["--log-format", "json", "--drain", "0s"]);
    ask(&server, "key", 5);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert_eq!(denials(&server), [Value::Null; 0]);
}
