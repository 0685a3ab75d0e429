//! Alerts of the real binary, as a webhook receives them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use serde_json::{Value, json};

use crate::TestServer;
use crate::server::{DEADLINE, eventually, http};

/// A webhook: its URL, and the requests that it gets, each as its head and its body.
fn webhook() -> (String, Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook?token=hunter2", listener.local_addr().unwrap());
    let (sent, received) = sync_channel(10);
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
            }
            let head = head.to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
            let mut body = vec![0; length.parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            stream.write_all(b"HTTP/1.1 204 ok\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
            let _gone = sent.send((head, serde_json::from_slice(&body).unwrap()));
        }
    });
    (url, received)
}

const CONFIG: &str = "
domain: api
descriptors:
- {key: key, rate_limit: {unit: day, requests_per_unit: 3}}
alerts:
- name: denied
  rule: key
  denials: 5
  window: 1h
  webhook: {url_env: TIDEGATE_ALERT_URL, headers_env: {Authorization: TIDEGATE_ALERT_TOKEN}}
- {name: partner, per: {entry: key}, denials: 5, window: 1h}
";

#[test]
fn a_webhook_is_reported_with_headers_from_variables_and_no_log_has_a_secret() {
    let (url, received) = webhook();
    let variables = [
        ("TIDEGATE_ALERT_URL", &*url),
        ("TIDEGATE_ALERT_TOKEN", "Bearer hunter2"),
        ("TIDEGATE_ALERT_WEBHOOK", &url),
        ("TIDEGATE_SMTP_URL", "smtp://ops:hunter2@127.0.0.1:1"),
    ];
    let server = TestServer::start_with_variables(CONFIG, &["--log-level", "trace"], &variables);
    let check = json!({"domain": "api", "descriptors": [{"entries": [{"key": "key", "value": "v"}]}]});
    for _ in 0..8 {
        server.http("POST", "/json", check.to_string().as_bytes());
    }
    let mut reported: Vec<_> = (0..2).map(|_| received.recv_timeout(DEADLINE).unwrap()).collect();
    reported.sort_by_key(|(_, body)| body["alert"].to_string());
    let [(head, denied), (plain, partner)] = reported.try_into().unwrap();
    assert_eq!((&denied["rule"], &denied["denials"]), (&json!("api.key"), &json!(5)), "{denied}");
    assert_eq!(
        (&partner["entry"], &partner["denials"]),
        (&json!({"key": "key", "value": "v"}), &json!(5)),
        "{partner}"
    );
    let instance = &denied["instance"];
    assert!(!instance["host"].as_str().unwrap().is_empty() && instance["id"].as_str().unwrap().len() == 16, "{denied}");
    assert_eq!(instance, &partner["instance"]);
    assert!(head.starts_with("post /hook?token=hunter2 http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nauthorization: bearer hunter2\r\n"), "{head}");
    assert!(!plain.contains("authorization") && plain.contains("\r\nuser-agent: tidegate/"), "{plain}");

    let counted = [
        "tidegate_alerts_fired_total 2",
        "tidegate_alert_deliveries_total{result=\"delivered\"} 2",
        "tidegate_denials_dropped_total{consumer=\"alerts\"} 0",
    ];
    // The answer is there before it is counted.
    let is_counted = |line: &&str| http(&server.admin, "GET", "/metrics", b"").1.contains(line);
    eventually("the counts of two messages", || counted.iter().all(is_counted));

    let log = server.log().join("\n");
    assert!(log.contains("denied") && !log.contains("hunter2"), "{log}");
}
