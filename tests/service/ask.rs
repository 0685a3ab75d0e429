//! `tidegate ask`.

use crate::TestServer;
use crate::server::{THREE_A_MINUTE, run};

/// The exit status, standard output and standard error.
fn ask(addr: &str, flags: &[&str]) -> (Option<i32>, String, String) {
    run(&[&["ask", "--addr", addr, "--domain", "api"], flags].concat(), "")
}

#[test]
fn without_an_answer_the_exit_status_is_2() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_addr = silent.local_addr().unwrap().to_string();
    let cases: [(&str, &[&str], &str); 5] = [
        (&nobody, &["--descriptor", "key=v"], "refused"),
        (&silent_addr, &["--descriptor", "key=v", "--timeout", "100ms"], "no answer within 100ms"),
        ("unix:/nonexistent/t.sock", &["--descriptor", "key=v"], "No such file"),
        (&nobody, &["--descriptor", "=v"], "has no key"),
        (&nobody, &[], "--descriptor"),
    ];
    for (addr, flags, word) in cases {
        let (code, stdout, stderr) = ask(addr, flags);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{flags:?}: {stderr}");
        assert!(stderr.contains(word), "{flags:?}: {stderr}");
    }
}

#[test]
fn three_calls_are_ok_and_the_fourth_is_over_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let address = format!("unix:{}", dir.path().join("grpc.sock").display());
    let server = TestServer::start(THREE_A_MINUTE, &["--grpc-addr", &address]);
    let flags = ["--descriptor", "key=v", "--descriptor", "other=v"];
    let (code, stdout, _) = ask(&server.grpc, &flags);
    assert_eq!(code, Some(0), "{stdout}");
    let wanted = "OK\n  descriptor 1: OK, limit 3 per minute, remaining 2, reset in ";
    assert!(stdout.starts_with(wanted) && stdout.ends_with("descriptor 2: OK, no limit\n"), "{stdout}");
    assert_eq!(ask(&server.grpc, &["--descriptor", "key=v", "--hits", "2"]).0, Some(0));
    let (code, stdout, _) = ask(&server.grpc, &["--descriptor", "key=v", "--json"]);
    assert_eq!(code, Some(1), "{stdout}");
    let answer: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(answer["overallCode"], "OVER_LIMIT", "{answer}");
}

const MANY: &str = "domain: api
descriptors:
- {key: year, rate_limit: {unit: year, requests_per_unit: 7, name: yearly}}
- {key: period, rate_limit: {period: 3h, requests_per_unit: 7}}
- {key: free, rate_limit: {unlimited: true}}
- {key: zero, rate_limit: {unit: year, requests_per_unit: 0}}
- {key: two, descriptors: [{key: deep, rate_limit: {unit: year, requests_per_unit: 7}}]}
";

#[test]
fn every_status_is_shown_in_words() {
    let server = TestServer::start(MANY, &[]);
    let cases = [
        ("year=v", "OK, limit 7 per year (yearly), remaining 5, reset in "),
        ("period=v", "OK, limit 7 per 3 hours, remaining 5, reset in "),
        ("free=v", "OK, unlimited"),
        ("none=v", "OK, no limit"),
        ("two=a,deep=b", "OK, limit 7 per year, remaining 5, reset in "),
        ("two", "OK, no limit"),
        ("zero=v", "OVER_LIMIT, limit 0 per year, remaining 0, reset in "),
    ];
    let flags: Vec<_> = cases.iter().flat_map(|(descriptor, _)| ["--descriptor", descriptor]).collect();
    let (code, stdout, stderr) = ask(&server.grpc, &[&flags[..], &["--hits", "2"]].concat());
    assert_eq!((code, stderr.as_str()), (Some(1), ""), "{stdout}");
    let mut lines = stdout.lines();
    assert_eq!(lines.next(), Some("OVER_LIMIT"));
    for (index, (descriptor, expected)) in cases.iter().enumerate() {
        let line = lines.next().unwrap();
        assert!(line.starts_with(&format!("  descriptor {}: {expected}", index + 1)), "{descriptor}: {line}");
    }
    assert_eq!(lines.next(), None);
}

#[test]
fn json_shows_the_whole_answer() {
    let server = TestServer::start(MANY, &[]);
    let flags = ["--descriptor", "year=v", "--descriptor", "none=v", "--descriptor", "free=v", "--json"];
    let (code, stdout, _) = ask(&server.grpc, &flags);
    let mut answer: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let reset = answer["statuses"][0].as_object_mut().unwrap().remove("durationUntilReset").unwrap();
    assert!(reset.as_str().unwrap().ends_with('s'), "{reset}");
    let expected = serde_json::json!({"overallCode": "OK", "statuses": [
        {"code": "OK", "currentLimit": {"requestsPerUnit": 7, "unit": "YEAR", "name": "yearly"}, "limitRemaining": 6},
        {"code": "OK"},
        {"code": "OK", "limitRemaining": u32::MAX},
    ]});
    assert_eq!((code, answer), (Some(0), expected));
}

#[test]
fn a_refusal_is_told_with_its_status() {
    let server = TestServer::start(MANY, &[]);
    let (code, _, stderr) = run(&["ask", "--addr", &server.grpc, "--domain", "", "--descriptor", "k=v"], "");
    assert_eq!(code, Some(2));
    assert!(stderr.contains("InvalidArgument: rate limit domain must not be empty"), "{stderr}");
}
