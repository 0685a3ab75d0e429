//! `tidegate ask`.

use crate::TestServer;
use crate::server::{ReservedPort, THREE_A_MINUTE, run};

/// The exit status, standard output and standard error.
fn ask(addr: &str, flags: &[&str]) -> (Option<i32>, String, String) {
    run(&[&["ask", "--addr", addr, "--domain", "api"], flags].concat(), "")
}

#[test]
fn without_an_answer_the_exit_status_is_2() {
    let free = ReservedPort::new();
    let nobody = format!("127.0.0.1:{}", free.port);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_addr = silent.local_addr().unwrap().to_string();
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    let (http1, closing) = (answering(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"), answering(b""));
    let asked: &[&str] = &["--descriptor", "key=v"];
    let cases: [(&str, &[&str], &str); 14] = [
        (&nobody, asked, "refused (os error 111); is the service running, and does --addr name its gRPC port?"),
        (&format!("http://{nobody}/"), asked, "cannot connect: Connection refused"),
        (&http1, asked, "does --addr name the gRPC port, and is it without TLS?"),
        (&closing, &["--descriptor", "key=v", "--timeout", "20s"], "; "),
        (&server.http, asked, "does --addr name the gRPC port"),
        (&server.admin, asked, "does --addr name the gRPC port"),
        (&format!("https://{}", server.grpc), asked, "for a port without TLS use http://"),
        (&server.grpc, &["--descriptor", "ua=Mozilla/5.0 (X11, Linux)"], "write KEY=VALUE"),
        (&server.grpc, &["--descriptor", "key"], "'key' has no '='"),
        (&silent_addr, &["--descriptor", "key=v", "--timeout", "100ms"], "no answer within 100ms"),
        ("unix:/nonexistent/t.sock", &["--descriptor", "key=v"], "No such file"),
        (&nobody, &["--descriptor", "=v"], "has no key"),
        (&nobody, &[], "--descriptor"),
        (&nobody, &["--descriptor", "key=v", "--hits", "-1"], "-1 is not in 0..=4294967295"),
    ];
    for (addr, flags, word) in cases {
        let (code, stdout, stderr) = ask(addr, flags);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{flags:?}: {stderr}");
        assert!(stderr.contains(word), "{addr} {flags:?}: {stderr}");
    }
}

/// A server that answers every connection with these bytes, and closes it.
fn answering(bytes: &'static [u8]) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut connection in listener.incoming().map_while(Result::ok) {
            let _gone = std::io::Write::write_all(&mut connection, bytes);
            // Closed with something unread it would be reset, and the answer lost now and then.
            let _done = connection.shutdown(std::net::Shutdown::Write);
            let _timeout = connection.set_read_timeout(Some(std::time::Duration::from_secs(20)));
            let _read = std::io::copy(&mut connection, &mut std::io::sink());
        }
    });
    addr
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
    assert!(
        stdout.starts_with(wanted) && stdout.ends_with("descriptor 2: OK, no limit: no rule applies\n"),
        "{stdout}"
    );
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
        ("none=v", "OK, no limit: no rule applies"),
        ("two=a,deep=b", "OK, limit 7 per year, remaining 5, reset in "),
        ("two=", "OK, no limit: no rule applies"),
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
fn a_value_may_hold_commas_and_no_hits_are_a_look() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    let asked = [(r"key=X11\, Linux", "0", 3), (r#"key="X11, Linux""#, "2", 1), (r"key=X11\, Linux", "0", 1)];
    for (descriptor, hits, remaining) in asked {
        let (code, stdout, stderr) = ask(&server.grpc, &["--descriptor", descriptor, "--hits", hits]);
        let wanted = format!("OK\n  descriptor 1: OK, limit 3 per minute, remaining {remaining}, reset in ");
        assert!(code == Some(0) && stdout.starts_with(&wanted), "{descriptor} {hits}: {stdout} {stderr}");
    }
    let (code, _, stderr) = ask(&server.grpc, &["--descriptor", "key=v", "--hits", "-1"]);
    assert!(code == Some(2) && stderr.contains("invalid value '-1' for '--hits <COUNT>'"), "{stderr}");
}

#[test]
fn a_check_that_nothing_limits_says_so() {
    let server = TestServer::start(MANY, &[]);
    let note = |domain| {
        format!("nothing limits this check: the service has no domain \"{domain}\", none of its rules matches")
    };
    for (domain, descriptor, noted) in
        [("api", "none=v", true), ("nope", "year=v", true), ("api", "free=v", false), ("api", "year=v", false)]
    {
        let flags = ["ask", "--addr", &server.grpc, "--domain", domain, "--descriptor", descriptor, "--hits", "0"];
        let (code, stdout, stderr) = run(&flags, "");
        assert_eq!((code, stdout.contains(&note(domain)), stderr.as_str()), (Some(0), noted, ""), "{domain}: {stdout}");
        let (code, stdout, stderr) = run(&[&flags[..], &["--json"]].concat(), "");
        assert_eq!((code, stderr.contains(&note(domain))), (Some(0), noted), "{domain}: {stderr}");
        assert!(serde_json::from_str::<serde_json::Value>(&stdout).is_ok(), "{stdout}");
    }
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
fn an_error_is_reported_with_its_status() {
    let server = TestServer::start(MANY, &[]);
    let (code, _, stderr) = run(&["ask", "--addr", &server.grpc, "--domain", "", "--descriptor", "k=v"], "");
    assert_eq!(code, Some(2));
    assert!(stderr.contains("InvalidArgument: rate limit domain must not be empty"), "{stderr}");
}
