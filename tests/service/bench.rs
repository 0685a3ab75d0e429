//! `tidegate bench` against the real server, and against ones that are none.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::Value;

use super::tls::certificates;
use crate::TestServer;
use crate::server::{ReservedPort, THREE_A_MINUTE, eventually, run, send_signal};

const REQUESTS: &str = r#"ratelimit_service_total_requests{grpc_method="ShouldRateLimit"}"#;

fn bench(flags: &[&str]) -> (Option<i32>, String, String) {
    run(&[&["bench"], flags].concat(), "")
}

/// The runs of a bench that reports as JSON, and what it warned of.
pub(crate) fn runs(server: &TestServer, flags: &[&str]) -> (Vec<Value>, String) {
    let (code, stdout, stderr) = bench(&[&["--addr", &server.grpc, "--json", "--warmup", "0s"], flags].concat());
    let report: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout} {stderr}"));
    assert_eq!((code, &report["target"]), (Some(0), &Value::from(server.grpc.as_str())), "{stderr}");
    (report["runs"].as_array().unwrap().clone(), stderr)
}

pub(crate) fn rules(flags: &[&str]) -> String {
    let (code, stdout, _) = bench(&[&["--print-rules"], flags].concat());
    assert_eq!(code, Some(0));
    stdout
}

pub(crate) fn number(run: &Value, name: &str) -> u64 {
    run[name].as_u64().unwrap_or_else(|| panic!("{name} of {run}"))
}

/// Mutual TLS, in a closed and an open loop; without a certificate, or from another CA, nothing is measured.
#[test]
fn checks_are_sent_over_tls() {
    let dir = certificates();
    let file = |name: &str| dir.path().join(name).display().to_string();
    let (cert, key, ca) = (file("server.pem"), file("server.key"), file("ours.pem"));
    let flags = ["--grpc-tls-cert", &cert, "--grpc-tls-key", &key, "--grpc-tls-client-ca", &ca];
    let server = TestServer::start(&rules(&[]), &flags);
    let addr = format!("https://{}", server.grpc);
    let (own_cert, own_key) = (file("client.pem"), file("client.key"));
    let identity = ["--tls-ca", &ca, "--tls-cert", &own_cert, "--tls-key", &own_key];
    let flags = ["--addr", &addr, "--json", "--warmup", "0s", "--duration", "300ms", "--keys", "50"];
    let mut sent = 0;
    for more in [&["--connections", "3", "--streams", "5", "--threads", "2"][..], &["--rate", "2000"]] {
        let (code, stdout, stderr) = bench(&[&flags[..], &identity, more].concat());
        let report: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout} {stderr}"));
        assert_eq!((code, &report["target"]), (Some(0), &Value::from(addr.as_str())), "{stderr}");
        let run = &report["runs"][0];
        assert!(number(run, "ok") > 20 && number(run, "errors") == 0, "{run}");
        sent += number(run, "checks") + 1;
        assert_eq!(server.metric(REQUESTS), sent, "{more:?}");
    }
    let (code, _, stderr) = bench(&[&flags[..], &["--tls-ca", &ca]].concat());
    assert!(code == Some(1) && stderr.contains("TLS"), "{stderr}");
    let strange = file("theirs.pem");
    let (code, _, stderr) = bench(&[&flags[..], &identity[2..], &["--tls-ca", &strange]].concat());
    assert!(code == Some(1) && stderr.contains("signed by no trusted CA"), "{stderr}");
}

#[test]
#[allow(clippy::cast_precision_loss)] // Thousands.
fn what_it_counts_is_what_the_server_counts() {
    let dir = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", dir.path().join("grpc.sock").display());
    let cases: [(&[&str], &[&str]); 4] = [
        (&[], &["--connections", "3", "--streams", "5", "--threads", "2"]),
        (&["--grpc-addr", &socket], &["--connections", "2", "--distribution", "zipf", "--exponent", "1.2"]),
        (&[], &["--rate", "500,2000", "--arrivals", "poisson"]),
        (&[], &["--descriptors", "4", "--entries", "1", "--streams", "1"]),
    ];
    for (server_flags, flags) in cases {
        let shape: &[&str] = if flags.contains(&"--entries") { &["--entries", "1"] } else { &[] };
        let server = TestServer::start(&rules(shape), server_flags);
        let flags = [&["--duration", "300ms", "--over-limit", "0.3", "--keys", "50"], flags].concat();
        let (runs, warnings) = runs(&server, &flags);
        assert_eq!(warnings, "", "{flags:?}");
        let sum = |name| runs.iter().map(|run| number(run, name)).sum::<u64>();
        let (checks, denied) = (sum("checks"), sum("over_limit"));
        assert!(checks > 20, "{flags:?}: {checks}");
        // One check before all others asks whether the rules are there.
        assert_eq!(server.metric(REQUESTS), checks + 1, "{flags:?}");
        assert_eq!((sum("errors"), sum("ok") + denied), (0, checks), "{flags:?}");
        let (checks, denied) = (checks as f64, denied as f64);
        let five_deviations = 5.0 * (0.3 * 0.7 / checks).sqrt();
        assert!((denied / checks - 0.3).abs() < five_deviations, "{flags:?}: {denied} of {checks}");
    }
}

#[test]
fn the_report_has_what_programs_read() {
    let server = TestServer::start(&rules(&[]), &[]);
    let pid = server.pid().to_string();
    let (runs, _) = runs(&server, &["--duration", "300ms", "--rate", "1000", "--server-pid", &pid]);
    let run = &runs[0];
    assert_eq!((&run["mode"], &run["rate"]), (&Value::from("open"), &Value::from(1_000.0)));
    assert_eq!((number(run, "connections"), number(run, "streams"), number(run, "checks")), (4, 32, 300));
    assert_eq!(run["seconds"].as_f64(), Some(0.3));
    let in_time = run["checks_per_second"].as_f64().unwrap();
    assert!(in_time > 0.0 && in_time <= 1_000.1, "{run}");
    let latency: Vec<f64> =
        ["p50", "p90", "p99", "p999", "max"].iter().map(|name| run["latency_us"][name].as_f64().unwrap()).collect();
    assert!(latency.is_sorted() && latency[0] > 0.0 && run["latency_us"]["mean"].as_f64().unwrap() > 0.0, "{run}");
    assert!(run["server"]["cpu_us_per_check"].as_f64().unwrap() > 0.0, "{run}");
    assert!(number(&run["server"], "resident_bytes") > 1_000_000, "{run}");
    assert!(run["generator"]["cpu_us_per_check"].as_f64().unwrap() > 0.0, "{run}");
}

#[test]
fn people_get_a_table_and_a_chart() {
    let server = TestServer::start(&rules(&[]), &[]);
    let chart = server.dir.path().join("latency.svg");
    let chart = chart.to_str().unwrap();
    let flags = ["--addr", &server.grpc, "--duration", "50ms", "--warmup", "10ms", "--seed", "7", "--chart", chart];
    let (code, stdout, stderr) = bench(&flags);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("100,000 keys (uniform), seed 7\n") && stdout.contains("closed"), "{stdout}");
    assert_eq!(
        stdout.lines().filter(|line| line.split_whitespace().next().is_some_and(|load| load.ends_with("/s"))).count(),
        9,
        "{stdout}"
    );
    let svg = std::fs::read_to_string(chart).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("p99.9") && svg.contains(&server.grpc), "{svg}");
}

#[test]
fn a_server_with_other_rules_is_reported_of() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    let (runs, warnings) = runs(&server, &["--duration", "20ms"]);
    assert_eq!(number(&runs[0], "errors"), 0);
    assert!(warnings.contains("admits what the rules of --print-rules deny"), "{warnings}");
}

#[test]
fn errors_are_counted_by_kind_and_told() {
    let server = TestServer::start(&rules(&[]), &[]);
    let flags = ["--addr", &server.grpc, "--duration", "50ms", "--warmup", "0s", "--json", "--domain", ""];
    let (code, stdout, stderr) = bench(&flags);
    let report: Value = serde_json::from_str(&stdout).unwrap();
    let run = &report["runs"][0];
    assert_eq!((code, number(run, "ok"), number(run, "over_limit")), (Some(1), 0, 0), "{stderr}");
    assert_eq!(number(&run["errors_by_kind"]["gRPC INVALID_ARGUMENT"], "count"), number(run, "errors"));
    assert_eq!(server.metric(REQUESTS), number(run, "errors") + 1);
    let said = "gRPC INVALID_ARGUMENT (rate limit domain must not be empty)";
    assert!(stderr.contains("NO CHECK WAS ANSWERED") && stderr.contains(said), "{stderr}");
}

#[test]
fn another_grpc_service_is_reported_from_a_rate_limit_service() {
    // The admin port speaks gRPC, and knows no checks.
    let server = TestServer::start(&rules(&[]), &[]);
    let (code, _, stderr) = bench(&["--addr", &server.admin, "--duration", "20ms", "--warmup", "0s"]);
    assert_eq!(code, Some(1), "{stderr}");
    let words = ["NO CHECK WAS ANSWERED", "gRPC UNIMPLEMENTED", "this is not a rate limit service"];
    assert!(words.iter().all(|word| stderr.contains(word)), "{stderr}");
}

#[test]
fn what_cannot_be_measured_is_reported_at_once() {
    let free = ReservedPort::new();
    let nobody = format!("127.0.0.1:{}", free.port);
    let server = TestServer::start(&rules(&[]), &[]);
    let http1 = TcpListener::bind("127.0.0.1:0").unwrap();
    let http1_addr = http1.local_addr().unwrap().to_string();
    let answering = thread::spawn(move || {
        let (mut stream, _) = http1.accept().unwrap();
        let _greeting = stream.read(&mut [0; 1_024]);
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    let cases: [(&[&str], i32, &str); 13] = [
        (&["--addr", &nobody], 1, "is the service running"),
        (&["--addr", "unix:/nonexistent/t.sock"], 1, "No such file"),
        (&["--addr", &http1_addr], 1, "not HTTP/2"),
        (&["--addr", "https://127.0.0.1:1", "--tls-ca", "/nonexistent.pem"], 2, "/nonexistent.pem"),
        (&["--addr", &nobody, "--tls-ca", "/nonexistent.pem"], 2, "apply only to https://"),
        (&["--addr", "localhost"], 2, "expected HOST:PORT"),
        (&["--addr", &server.grpc, "--server-pid", "4194305"], 2, "no such process"),
        (&["--threads", "5"], 2, "each thread needs a connection"),
        (&["--exponent", "2"], 2, "applies only to --distribution zipf"),
        (&["--arrivals", "poisson"], 2, "add --rate"),
        (&["--rate", "0"], 2, "checks a second"),
        (&["--rate", "5", "--chart", "x.svg"], 2, "several rates"),
        (&["--over-limit", "1.5"], 2, "share from 0 to 1"),
    ];
    for (flags, expected, word) in cases {
        let (code, stdout, stderr) = bench(flags);
        assert_eq!((code, stdout.as_str()), (Some(expected), ""), "{flags:?}: {stderr}");
        assert!(stderr.contains(word), "{flags:?}: {stderr}");
    }
    answering.join().unwrap();
}

#[test]
fn a_server_that_cannot_keep_up_is_reported_of() {
    let server = TestServer::start(&rules(&[]), &["--workers", "1"]);
    let (runs, warnings) = runs(&server, &["--rate", "1000000", "--duration", "100ms"]);
    let run = &runs[0];
    assert_eq!(number(run, "checks"), 100_000);
    assert!(number(run, "backlog") > 1_000, "{run}");
    assert!(warnings.contains("too slow for this rate"), "{warnings}");
    // The last ones were due at the end, and waited for all others.
    assert!(run["latency_us"]["max"].as_f64().unwrap() > 1_000.0, "{run}");
}

#[test]
fn it_goes_on_with_a_server_that_comes_back_and_ends_at_ctrl_c() {
    let dir = tempfile::tempdir().unwrap();
    let address = format!("unix:{}", dir.path().join("grpc.sock").display());
    let flags = ["--grpc-addr", &address, "--drain", "0s"];
    let mut first = TestServer::start(&rules(&[]), &flags);
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(["bench", "--addr", &address, "--duration", "1h", "--warmup", "0s", "--json"]);
    let bench = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("100 checks", || first.metric(REQUESTS) >= 100);
    first.signal("TERM");
    assert!(first.wait().success());
    let second = TestServer::start(&rules(&[]), &flags);
    eventually("100 checks of the second server", || second.metric(REQUESTS) >= 100);
    // Besides the one that asks; on a busy machine they come back one after the other.
    eventually("all four connections", || second.metric("tidegate_connections") > 4);
    let so_far = second.metric(REQUESTS);
    eventually("checks on all of them", || second.metric(REQUESTS) >= so_far + 1_000);
    send_signal(&bench, "INT");
    let output = bench.wait_with_output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    let run = &report["runs"][0];
    // One may have come back too early, to the server that was going away.
    assert!(number(run, "reconnects") >= 4, "{run}");
    assert!(stderr.contains("connections were lost and reopened"), "{stderr}");
    let seconds = run["seconds"].as_f64().unwrap();
    assert!(seconds > 0.0 && seconds < 3_600.0, "{run}");
    assert_eq!(number(run, "ok") + number(run, "errors"), number(run, "checks"));
    assert!(number(run, "ok") >= 200, "{run}");
}
