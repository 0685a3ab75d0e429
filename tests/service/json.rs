//! `/json`: codes and bodies as envoyproxy/ratelimit gives them.

use crate::TestServer;
use crate::server::THREE_A_MINUTE;

#[test]
fn what_is_no_check_is_a_bad_request() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    let too_long = vec![b' '; (4 << 20) + 1];
    let cases: [&[u8]; 7] =
        [b"", b"{", b"[]", b"{\"domian\": \"api\"}", b"{\"domain\": \"\"}", b"{\"domain\": \"api\"}", &too_long];
    for body in cases {
        let start = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        assert_eq!(server.http("POST", "/json", body), (400, "Bad Request\n".to_owned()), "{start:?}");
    }
    assert_eq!(server.http("GET", "/healthcheck", b"").0, 200);
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
