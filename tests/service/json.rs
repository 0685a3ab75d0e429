//! `/json`: codes and bodies as envoyproxy/ratelimit gives them.

use crate::TestServer;
use crate::server::THREE_A_MINUTE;

#[test]
fn what_is_no_check_is_a_bad_request_that_says_why() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    let too_long = vec![b' '; (4 << 20) + 1];
    let cases: [(&[u8], &str); 9] = [
        (b"", "EOF while parsing a value"),
        (b"{", "EOF while parsing an object"),
        (b"[]", "invalid type: sequence, expected an object, a RateLimitRequest"),
        (b"{\"domian\": \"api\"}", "unknown field \"domian\""),
        (b"{\"domain\": \"\"}", "rate limit domain must not be empty"),
        (b"{\"domain\": \"api\"}", "rate limit descriptor list must not be empty"),
        (b"{\"hitsAddend\": \"03\"}", "hitsAddend: \"03\" is not a whole number from 0 to 4294967295"),
        (b"{\"a\\n\\u001b[31mb\": 1}", r#"unknown field "a\n\u{1b}[31mb""#),
        (&too_long, "length limit exceeded"),
    ];
    for (body, reason) in cases {
        let start = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        let (status, answer) = server.http("POST", "/json", body);
        assert!(status == 400 && answer.starts_with(&format!("Bad Request\n{reason}")), "{start:?}: {answer}");
        assert_eq!(answer.lines().count(), 2, "{answer}");
    }
    assert_eq!(server.http("GET", "/healthcheck", b"").0, 200);
}

#[test]
fn hits_in_any_notation_are_charged() {
    let server =
        TestServer::start("domain: d\ndescriptors: [{key: k, rate_limit: {unit: year, requests_per_unit: 99}}]", &[]);
    let mut left = 99;
    for (hits, cost) in [("2", 2), ("2.0", 2), ("\"3.0\"", 3), ("1e1", 10), ("\"1.5e1\"", 15), ("-0", 0)] {
        left -= cost;
        let body = format!(r#"{{"domain":"d","descriptors":[{{"entries":[{{"key":"k"}}],"hitsAddend":{hits}}}]}}"#);
        let (status, answer) = server.http("POST", "/json", body.as_bytes());
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!((status, answer["statuses"][0]["limitRemaining"].as_u64()), (200, Some(left)), "{hits}: {answer}");
    }
}

#[test]
fn three_calls_pass_with_any_method_and_the_fourth_is_429() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    let body = br#"{"domain": "api", "descriptors": [{"entries": [{"key": "key", "value": "v"}]}]}"#;
    let cases = [
        ("POST", 200, "OK", Some(2)),
        ("GET", 200, "OK", Some(1)),
        ("PUT", 200, "OK", None),
        ("POST", 429, "OVER_LIMIT", None),
    ];
    for (index, (method, status, code, remaining)) in cases.into_iter().enumerate() {
        let (got, answer) = server.http(method, "/json", body);
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!((got, answer["overallCode"].as_str()), (status, Some(code)), "call {index}: {answer}");
        let descriptor = &answer["statuses"][0];
        assert_eq!(descriptor["limitRemaining"].as_u64(), remaining, "call {index}: {answer}");
        assert_eq!(descriptor["currentLimit"]["unit"], "MINUTE", "call {index}: {answer}");
    }
}
