//! Counters and bans go on after an orderly stop, with `--data-dir`.

use std::fs;
use std::time::Duration;

use serde_json::json;

use crate::TestServer;
use crate::server::{http, run};

const CONFIG: &str = "domain: api
descriptors:
- {key: fixed, rate_limit: {unit: day, requests_per_unit: 3}}
- {key: log, rate_limit: {unit: day, requests_per_unit: 3, algorithm: sliding_log}}
- {key: bucket, rate_limit: {unit: day, requests_per_unit: 3, algorithm: token_bucket}}
- {key: banned, rate_limit: {unit: second, requests_per_unit: 100}}
";

const STOP: Duration = Duration::from_secs(10);

/// Whether a check of that key is admitted.
fn admits(server: &TestServer, key: &str) -> bool {
    let check = json!({"domain": "api", "descriptors": [{"entries": [{"key": key, "value": "v"}]}]});
    match server.http("POST", "/json", check.to_string().as_bytes()).0 {
        200 => true,
        429 => false,
        other => panic!("{other}"),
    }
}

fn stop(server: &mut TestServer) {
    server.signal("TERM");
    assert!(server.ended(STOP).success());
}

#[test]
fn an_orderly_stop_keeps_counters_and_bans() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().to_string_lossy().into_owned();
    let mut server = TestServer::start(CONFIG, &["--data-dir", &path, "--drain", "0s"]);
    for key in ["fixed", "log", "bucket"] {
        assert_eq!([(); 2].map(|()| admits(&server, key)), [true; 2], "{key}");
    }
    let address = format!("http://{}", server.admin);
    let ban =
        ["counters", "ban", "--rule", "api.banned", "--entry", "banned=v", "--for", "1h", "--admin-addr", &address];
    assert_eq!(run(&ban, "").0, Some(0));
    stop(&mut server);
    server.restart();
    for key in ["fixed", "log", "bucket"] {
        assert_eq!([(); 2].map(|()| admits(&server, key)), [true, false], "{key}: one of three was left");
    }
    assert!(!admits(&server, "banned"));

    stop(&mut server);
    fs::write(data.path().join("counters.state"), "damaged").unwrap();
    server.restart();
    assert!(admits(&server, "fixed"), "the service starts without what it cannot read");
    assert!(
        http(&server.admin, "GET", "/readyz", b"").1.contains("counters: those of the last run are not complete: ")
    );
}
