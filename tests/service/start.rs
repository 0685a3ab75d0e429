//! Starting: what is wrong is told in one line, and the exit status is not 0.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::TestServer;
use crate::server::{THREE_A_MINUTE, command, rules_in, run};

/// Runs to the end, which must come by itself; the exit status and standard error.
fn fail(config: &str, flags: &[&str]) -> (Option<i32>, String) {
    let output = command(config, flags).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_taken_port_is_told_with_its_flag() {
    let dir = tempfile::tempdir().unwrap();
    let config = rules_in(&dir, THREE_A_MINUTE);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = TestServer::start(THREE_A_MINUTE, &["--workers", "2"]);
    for address in [taken.local_addr().unwrap().to_string(), other.grpc.clone()] {
        for flag in ["--grpc-addr", "--http-addr", "--admin-addr"] {
            let (code, stderr) = fail(&config, &[flag, &address, "--workers", "2"]);
            assert_eq!(code, Some(1), "{flag}: {stderr}");
            let start = format!("error: cannot listen on {address} ({flag}): ");
            assert!(stderr.starts_with(&start) && stderr.lines().count() == 1, "{flag}: {stderr}");
        }
    }
}

#[test]
fn a_missing_configuration_is_told_in_one_line() {
    let (code, _, stderr) = run(&["serve", "/nonexistent/rules.yaml"], "");
    assert!(code == Some(1) && stderr.starts_with("error: /nonexistent/rules.yaml: "), "{stderr}");
    let (code, _, stderr) = run(&["serve"], "");
    assert!(code == Some(2) && stderr.contains("<PATH>"), "{stderr}");
    let (code, stderr) = fail("/nonexistent/rules.yaml", &[]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.starts_with("error: /nonexistent/rules.yaml: ") && stderr.lines().count() == 1, "{stderr}");
}

#[test]
fn a_bad_configuration_lists_every_error() {
    let dir = tempfile::tempdir().unwrap();
    let config = rules_in(&dir, "domain: api\ndescriptors:\n  - key: ''\n  - key: a\n    rate_limit: {unit: eon}\n");
    let (code, stderr) = fail(&config, &[]);
    assert_eq!(code, Some(1), "{stderr}");
    for error in [":3: descriptor has empty key", ":5: invalid rate limit unit 'eon'"] {
        assert!(stderr.contains(error), "no {error} in {stderr}");
    }
}

#[test]
fn bad_flags_are_told() {
    let cases: [(&[&str], &str); 4] = [
        (&["--drain", "soon"], "--drain"),
        (&["--log-level", "=="], "--log-level"),
        (&["--grpc-addr", "8081"], "HOST:PORT"),
        (&["--counter-memory", "1GIG"], "use KiB, MiB or GiB"),
    ];
    for (flags, word) in cases {
        let (code, stderr) = fail("/nonexistent", flags);
        assert!(code != Some(0) && stderr.contains(word), "{flags:?}: {code:?} {stderr}");
    }
}

#[test]
fn switches_take_the_words_that_people_write_into_an_environment() {
    let dir = tempfile::tempdir().unwrap();
    let config = rules_in(&dir, THREE_A_MINUTE);
    for (word, quiet) in
        [("true", true), ("1", true), ("yes", true), ("on", true), ("false", false), ("0", false), ("no", false)]
    {
        let mut check = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"));
        let told = check.args(["check", &config]).env("TIDEGATE_QUIET", word).output().unwrap();
        assert_eq!((told.status.code(), told.stdout.is_empty()), (Some(0), quiet), "{word}: {told:?}");
    }
}

#[test]
fn the_addresses_are_in_the_json_log_too() {
    let server = TestServer::start(THREE_A_MINUTE, &["--log-format", "json"]);
    let line: serde_json::Value =
        serde_json::from_str(server.log().iter().find(|line| line.contains("listening")).unwrap()).unwrap();
    let want = format!("listening grpc={} http={} admin={}", server.grpc, server.http, server.admin);
    assert_eq!(line["message"], want.as_str());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_replaces_a_stale_one_and_goes_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("grpc.sock");
    drop(UnixListener::bind(&path).unwrap());
    let address = format!("unix:{}", path.display());
    let mut server = TestServer::start(THREE_A_MINUTE, &["--grpc-addr", &address, "--drain", "0s"]);
    assert_eq!(server.grpc, address);
    let mut health = HealthClient::new(server.channel().await);
    health.check(HealthCheckRequest::default()).await.unwrap();
    let config = server.dir.path().join("rules.yaml");
    let (code, stderr) = fail(&config.to_string_lossy(), &["--grpc-addr", &address]);
    assert_eq!(code, Some(1), "a socket that is served is refused: {stderr}");
    health.check(HealthCheckRequest::default()).await.unwrap();
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert!(!path.exists());
}

#[test]
fn sighup_reads_the_configuration_again_and_a_lost_file_keeps_the_old_one() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    let config = server.dir.path().join("rules.yaml");
    std::fs::remove_file(&config).unwrap();
    server.signal("HUP");
    let mut detail = String::new();
    while !detail.contains("last reload failed") {
        detail = server.http("GET", "/readyz", b"").1;
    }
    assert!(detail.starts_with("serving: serving\nconfiguration: generation 1\n"), "{detail}");
    std::fs::write(&config, THREE_A_MINUTE).unwrap();
    server.signal("HUP");
    while server.http("GET", "/readyz", b"").1.contains("failed") {}
    assert_eq!(server.http("GET", "/healthcheck", b"").0, 200);
}
