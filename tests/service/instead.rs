//! What those need who come from envoyproxy/ratelimit: its debug port, its headers, its counting, and the age of connections.

use std::time::Duration;

use serde_json::{Value, json};

use crate::TestServer;
use crate::server::{DEADLINE, THREE_A_MINUTE, http, next_minute_if_late, run};
use crate::tls::{certificates, flags};

/// The address of a port in the line that says where the server listens.
fn port(server: &TestServer, name: &str) -> String {
    let line = server.log().into_iter().find(|line| line.contains("listening grpc=")).unwrap();
    line.split_whitespace().find_map(|word| word.strip_prefix(&format!("{name}="))).unwrap().to_owned()
}

/// The status of a check of `key=v` over `/json`, and the headers for the caller.
fn check(server: &TestServer, hits: u32) -> (u16, Vec<(String, String)>) {
    let descriptor = json!({"entries": [{"key": "key", "value": "v"}]});
    let body = json!({"domain": "api", "descriptors": [descriptor], "hitsAddend": hits});
    let (status, text) = server.http("POST", "/json", body.to_string().as_bytes());
    let answer: Value = serde_json::from_str(&text).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let headers = answer["responseHeadersToAdd"].as_array().cloned().unwrap_or_default();
    (status, headers.iter().map(|header| (text(&header["key"]), text(&header["value"]))).collect())
}

#[test]
fn the_debug_port_shows_and_does_nothing_else() {
    let server = TestServer::start(THREE_A_MINUTE, &["--debug-addr", "127.0.0.1:0", "--admin-open"]);
    check(&server, 5);
    let debug = port(&server, "debug");
    let page = |path: &str| http(&debug, "GET", path, b"");
    assert!(page("/rlconfig").1.contains("api.key: unit=MINUTE requests_per_unit=3"), "{}", page("/rlconfig").1);
    assert!(page("/stats").1.contains("ratelimit.service.rate_limit.api.key.over_limit: 2"), "{}", page("/stats").1);
    assert!(page("/").1.contains("/stats"));
    for path in ["/metrics", "/limits", "/json", "/api/v1/status", "/tidegate.v1.AdminService/SetSetting"] {
        assert_eq!(page(path).0, 404, "{path}");
    }
    assert_eq!(http(&debug, "POST", "/rlconfig", b"").0, 405);
}

#[test]
fn a_debug_port_that_is_taken_is_left_out() {
    let first = TestServer::start(THREE_A_MINUTE, &["--debug-addr", "127.0.0.1:0"]);
    let second = TestServer::start(THREE_A_MINUTE, &["--debug-addr", &port(&first, "debug")]);
    second.log_until("running without this port");
    assert_eq!(check(&second, 1).0, 200);
}

#[test]
fn metrics_have_a_path_and_labels_of_ones_own() {
    let flags =
        ["--metrics-addr", "127.0.0.1:0", "--metrics-path", "/stats/prometheus", "--metrics-label", "zone=a,tier=b\"c"];
    let server = TestServer::start(THREE_A_MINUTE, &flags);
    let (status, text) = http(&port(&server, "metrics"), "GET", "/stats/prometheus", b"");
    assert_eq!(status, 200);
    let series: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(!series.is_empty() && series.iter().all(|line| line.contains(r#"zone="a",tier="b\"c""#)), "{text}");
    assert_eq!(http(&port(&server, "metrics"), "GET", "/metrics", b"").0, 404);
    for wrong in [["--metrics-label", "1=a"], ["--metrics-label", "a"], ["--metrics-path", "metrics"]] {
        let line = [&["serve", "x.yaml", "--metrics-addr", "127.0.0.1:0"], &wrong[..]].concat();
        assert_eq!(run(&line, "").0, Some(2), "{wrong:?}");
    }
}

#[test]
fn domains_that_name_no_headers_have_those_of_the_process() {
    let names = ["--header-names", "X-Limit,X-Left,X-Reset"];
    let server = TestServer::start(THREE_A_MINUTE, &[&["--headers", "draft-03"], &names[..]].concat());
    let (_, headers) = check(&server, 1);
    let shown: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((shown, headers[1].1.as_str()), (vec!["X-Limit", "X-Left", "X-Reset"], "2"));

    let own = format!("{THREE_A_MINUTE}response: {{headers: [x_ratelimit]}}\n");
    let server = TestServer::start(&own, &["--headers", "draft-03,retry-after"]);
    let (_, headers) = check(&server, 1);
    assert!(headers.len() == 3 && headers.iter().all(|(name, _)| name.starts_with("X-RateLimit-")), "{headers:?}");

    let server = TestServer::start(THREE_A_MINUTE, &["--headers", "draft-03,retry-after"]);
    let (status, headers) = check(&server, 4);
    let shown: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        (status, shown),
        (429, vec!["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After"])
    );
}

#[test]
fn denied_hits_need_not_count() {
    for (flags, expected) in [(&[][..], 429), (&["--count-no-denied"], 200)] {
        let server = TestServer::start(THREE_A_MINUTE, flags);
        next_minute_if_late();
        assert_eq!((check(&server, 4).0, check(&server, 3).0), (429, expected), "{flags:?}");
    }
}

#[test]
fn near_the_limit_begins_where_it_is_set() {
    for (flags, expected) in [(&[][..], 1), (&["--near-limit-ratio", "0.4"], 2), (&["--near-limit-ratio", "1"], 0)] {
        let server = TestServer::start(THREE_A_MINUTE, flags);
        next_minute_if_late();
        check(&server, 3);
        let series = r#"ratelimit_service_rate_limit_near_limit{domain="api",rule="api.key",key1="key"}"#;
        assert_eq!(server.metric(series), expected, "{flags:?}");
    }
}

#[tokio::test]
async fn a_connection_ends_at_an_age() {
    let flags = ["--max-connection-age", "100ms", "--max-connection-age-grace", "30s"];
    let server = TestServer::start(THREE_A_MINUTE, &flags);
    let stream = tokio::net::TcpStream::connect(server.grpc_addr()).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    // An idle connection has nothing to wait for.
    let ended = tokio::time::timeout(DEADLINE, connection).await.expect("it ends");
    assert!(ended.is_ok(), "with GOAWAY and NO_ERROR: {ended:?}");
    drop(client);
}

#[tokio::test]
async fn without_an_age_a_connection_stays() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    let stream = tokio::net::TcpStream::connect(server.grpc_addr()).await.unwrap();
    let (_client, connection) = h2::client::handshake(stream).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(500), connection).await.is_err());
}

#[test]
fn clients_may_need_a_name() {
    let dir = certificates();
    let file = |name: &str| dir.path().join(name).display().to_string();
    let (cert, key, ca) = (file("server.pem"), file("server.key"), file("ours.pem"));
    let tls = ["--grpc-tls-cert", &cert, "--grpc-tls-key", &key, "--grpc-tls-client-ca", &ca];
    for (name, expected) in [("client.example.org", 0), ("other.example.org", 2)] {
        let server = TestServer::start(THREE_A_MINUTE, &[&tls[..], &["--grpc-tls-client-san", name]].concat());
        let addr = format!("https://{}", server.grpc);
        let own = flags(dir.path(), "ours", Some(("client", "client")));
        let own: Vec<_> = own.iter().map(String::as_str).collect();
        let line = [&["ask", "--addr", &addr, "--domain", "api", "--descriptor", "key=v"], &own[..]].concat();
        let (code, stdout, stderr) = run(&line, "");
        assert_eq!(code, Some(expected), "{name}: {stdout}{stderr}");
    }
}
