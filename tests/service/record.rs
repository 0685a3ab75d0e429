//! `tidegate record`: a trace of live checks that `simulate` decides as the server did; who may record, and what ends it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tonic::Request;
use tonic::transport::Channel;

use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::{Entry, RateLimitOverride};
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_response::Code;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use tidegate::api::proto::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use tidegate::api::proto::tidegate::v1::admin_service_client::AdminServiceClient;
use tidegate::api::proto::tidegate::v1::{ListAuditRequest, RecordChecksRequest};

use crate::server::{TestServer, binary, connect, eventually, rules_in, run, send_signal, wait_for};
use crate::small_disk::SmallDisk;

/// A rule for each algorithm, and for what else decides.
pub(super) const RULES: &str = "domain: api
descriptors:
- {key: fixed, rate_limit: {unit: minute, requests_per_unit: 5}}
- {key: fixed, value: free}
- {key: first, rate_limit: {unit: minute, requests_per_unit: 4, starts: first_request}}
- {key: sliding, rate_limit: {period: 2s, requests_per_unit: 6, algorithm: sliding_window}}
- {key: log, rate_limit: {period: 1s, requests_per_unit: 5, algorithm: sliding_log}}
- {key: bucket, rate_limit: {unit: second, requests_per_unit: 20, burst: 4, algorithm: token_bucket}}
- {key: queue, rate_limit: {unit: hour, requests_per_unit: 6, queue: 3, algorithm: token_bucket}}
- {key: ban, rate_limit: {unit: minute, requests_per_unit: 3, ban: 1s}}
- {key: path, value: /pay/*, rate_limit: {unit: minute, requests_per_unit: 7}}
";

/// The admin port has the lowest priority: on a busy machine it takes its time.
const BEGINS_WITHIN: Duration = Duration::from_mins(2);

/// A running `tidegate record`.
pub(super) struct Recording {
    child: Child,
    pub(super) trace: PathBuf,
}

impl Recording {
    /// Begins to record into `trace.jsonl` in this directory, and waits until the server does.
    pub(super) fn start(server: &TestServer, dir: &Path, flags: &[&str]) -> Self {
        let trace = dir.join("trace.jsonl");
        let admin = format!("http://{}", server.admin);
        let mut command = Command::new(binary());
        let timeout = format!("{}s", BEGINS_WITHIN.as_secs());
        command.args(["record", "--admin-addr", &admin, "--out", trace.to_str().unwrap(), "--timeout", &timeout]);
        command.args(flags);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let begun = || server.metric("tidegate_recordings") == 1 && trace.exists();
        wait_for("the recording", BEGINS_WITHIN, || begun().then_some(()));
        Self { child, trace }
    }

    pub(super) fn wait(self) -> (Option<i32>, String, String) {
        let Output { status, stdout, stderr } = self.child.wait_with_output().unwrap();
        (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }
}

/// A random check of one or two descriptors, and how long its caller waits.
fn random_check(random: &mut SmallRng) -> (RateLimitRequest, Option<Duration>) {
    let keys = ["fixed", "first", "sliding", "log", "bucket", "queue", "ban", "path", "none"];
    let mut timeout = random.random_bool(0.5).then(|| Duration::from_secs(5));
    let descriptors = (0..random.random_range(1..=2)).map(|_| {
        let key = keys[random.random_range(0..keys.len())];
        let value = match (key, random.random_range(0..4)) {
            ("path", n) => format!("/pay/{n}"),
            (_, 0) => "free".to_owned(),
            (_, n) => format!("user-{n}"),
        };
        if key == "queue" {
            // With it, a check that would have to wait is denied.
            timeout = Some(Duration::from_secs(1));
        }
        let limit = random.random_bool(0.1).then_some(RateLimitOverride {
            requests_per_unit: 2,
            unit: 2,
            unit_multiplier: Some(3),
        });
        RateLimitDescriptor {
            entries: vec![Entry { key: key.to_owned(), value }],
            limit: limit.filter(|_| key != "queue"),
            hits_addend: random.random_bool(0.3).then(|| random.random_range(0..4)),
            is_negative_hits: random.random_bool(0.05),
        }
    });
    let descriptors = descriptors.collect();
    let hits_addend = random.random_range(0..3);
    (RateLimitRequest { domain: "api".to_owned(), descriptors, hits_addend }, timeout)
}

async fn ask(
    client: &mut RateLimitServiceClient<Channel>,
    check: RateLimitRequest,
    timeout: Option<Duration>,
) -> RateLimitResponse {
    let mut request = Request::new(check);
    if let Some(timeout) = timeout {
        request.set_timeout(timeout);
    }
    client.should_rate_limit(request).await.unwrap().into_inner()
}

/// The code of a check and, of each descriptor, the code and what remains; as `simulate` prints them.
fn decided(answer: &RateLimitResponse) -> (String, Vec<(String, Option<u64>)>) {
    let name = |code: Code| code.as_str_name().to_owned();
    let statuses = answer.statuses.iter().map(|status| {
        let remaining = status.current_limit.is_some().then(|| u64::from(status.limit_remaining));
        (name(status.code()), remaining)
    });
    (name(answer.overall_code()), statuses.collect())
}

fn simulated(line: &str) -> (String, Vec<(String, Option<u64>)>) {
    let line: Value = serde_json::from_str(line).unwrap();
    let code = |of: &Value| of["code"].as_str().unwrap().to_owned();
    let statuses = line["statuses"].as_array().unwrap().iter();
    let statuses =
        statuses.map(|status| (code(status), status["remaining"].as_u64().filter(|_| status.get("limit").is_some())));
    (code(&line), statuses.collect())
}

/// The decisions of `simulate`, line by line.
pub(super) fn replay(rules: &str, trace: &Path) -> Vec<String> {
    let (code, out, error) = run(&["simulate", rules, "--trace", trace.to_str().unwrap()], "");
    assert_eq!(code, Some(0), "{error}");
    out.lines().map(str::to_owned).collect()
}

async fn records_what_it_decides(flags: &[&str]) -> (TestServer, PathBuf, tempfile::TempDir) {
    let seed: u64 = rand::random();
    let mut random = SmallRng::seed_from_u64(seed);
    let server = TestServer::start(RULES, &["--workers", "2"]);
    let dir = tempfile::tempdir().unwrap();
    let flags = [&["--max-checks", "600", "--duration", "5m"], flags].concat();
    let recording = tokio::task::block_in_place(|| Recording::start(&server, dir.path(), &flags));
    let mut client = RateLimitServiceClient::new(server.channel().await);
    let mut expected = Vec::new();
    for number in 0..600 {
        let (check, timeout) = random_check(&mut random);
        expected.push(decided(&ask(&mut client, check, timeout).await));
        if number % 100 == 99 {
            // So that buckets fill, windows end and bans end, too.
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
    }
    let trace = recording.trace.clone();
    let (code, out, error) = tokio::task::block_in_place(|| recording.wait());
    assert_eq!((code, &*error), (Some(0), ""), "{out}");
    assert_eq!(out, format!("600 checks recorded in {}\n", trace.display()));
    let rules = rules_in(&dir, RULES);
    let got: Vec<_> = replay(&rules, &trace).iter().map(|line| simulated(line)).collect();
    assert_eq!(got.len(), 600);
    for (number, (got, expected)) in got.iter().zip(&expected).enumerate() {
        assert_eq!(got, expected, "check {number}, seed {seed}: {}", lines(&trace)[number + 1]);
    }
    let codes = |code: &str| expected.iter().filter(|(overall, _)| overall == code).count();
    assert!(codes("OK") > 50 && codes("OVER_LIMIT") > 50, "seed {seed}: {} {}", codes("OK"), codes("OVER_LIMIT"));
    (server, trace, dir)
}

fn lines(trace: &Path) -> Vec<String> {
    fs::read_to_string(trace).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_decides_as_the_server_did() {
    let (server, trace, _dir) = records_what_it_decides(&["--reason", "test"]).await;
    assert_eq!(fs::metadata(&trace).unwrap().permissions().mode() & 0o777, 0o600);
    let lines = lines(&trace);
    assert!(lines[0].starts_with("{\"recording\":{\"began\":\"20"), "{}", lines[0]);
    assert_eq!(lines[601], "{\"recording\":{\"ended\":\"finished\",\"checks\":600}}");
    assert!(server.metric("tidegate_recorded_checks_total") >= 600);
    assert_eq!(server.metric("tidegate_recording_lost_total"), 0);
    let mut admin = AdminServiceClient::new(connect(&server.admin).await);
    let audit = tokio::task::block_in_place(|| {
        let handle = tokio::runtime::Handle::current();
        let mut found = Vec::new();
        eventually("both lines of the audit log", || {
            let answer = handle.block_on(admin.list_audit(ListAuditRequest::default()));
            found = answer.unwrap().into_inner().entries;
            found.len() == 2
        });
        found
    });
    let seen: Vec<_> = audit.iter().map(|entry| (&*entry.action, &*entry.scope, &*entry.new, &*entry.reason)).collect();
    let what = "one in 1, values as they are, at most 600 checks in 5m";
    assert_eq!(
        seen,
        [("recording_stop", "everything", "600 checks", "test"), ("recording_start", "everything", what, "test")]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hashed_values_decide_the_same_and_are_not_in_the_trace() {
    let (_server, trace, _dir) = records_what_it_decides(&["--hash-values"]).await;
    let text = fs::read_to_string(&trace).unwrap();
    assert!(!text.contains("user-") && text.contains("\"free\"") && text.contains("/pay/~"), "{}", lines(&trace)[1]);
    assert!(lines(&trace)[0].contains("\"hashed\":true"));
}

/// Sends checks of a user over `/json`, which are recorded, too.
fn send(server: &TestServer, user: &str, times: usize) {
    let body =
        format!(r#"{{"domain": "api", "descriptors": [{{"entries": [{{"key": "fixed", "value": "{user}"}}]}}]}}"#);
    (0..times).for_each(|_| drop(server.http("POST", "/json", body.as_bytes())));
}

#[test]
fn whatever_ends_a_recording_leaves_a_trace() {
    let mut server = TestServer::start(RULES, &[]);
    let dir = tempfile::tempdir().unwrap();
    let rules = rules_in(&dir, RULES);
    let recorded = |trace: &Path| lines(trace).iter().filter(|line| line.starts_with("{\"at\":")).count();
    let recording = Recording::start(&server, dir.path(), &[]);
    let trace = recording.trace.clone();
    send(&server, "ann", 8);
    eventually("the checks in the trace", || recorded(&trace) == 8);
    send_signal(&recording.child, "INT");
    let (code, out, error) = recording.wait();
    assert_eq!((code, &*error), (Some(0), ""), "{out}");
    assert_eq!(lines(&trace)[9], "{\"recording\":{\"ended\":\"stopped by a signal\",\"checks\":8}}");
    assert_eq!(replay(&rules, &trace).len(), 8);
    eventually("the end of the recording", || server.metric("tidegate_recordings") == 0);

    let admin = format!("http://{}", server.admin);
    let again = ["record", "--admin-addr", &admin, "--out", trace.to_str().unwrap()];
    let (code, _, error) = run(&again, "");
    assert!(
        code == Some(2) && error.contains("the file exists; choose another name, or replace it with --force"),
        "{error}"
    );
    assert_eq!(recorded(&trace), 8);

    fs::set_permissions(&trace, fs::Permissions::from_mode(0o644)).unwrap();
    let recording = Recording::start(&server, dir.path(), &["--force"]);
    eventually("the new file", || recorded(&trace) == 0);
    send(&server, "bob", 3);
    eventually("the checks in the trace", || recorded(&trace) == 3);
    server.crash();
    let (code, out, error) = recording.wait();
    assert_eq!(code, Some(1), "{out}{error}");
    assert!(error.starts_with("error: ") && out.starts_with("3 checks recorded in "), "{out}{error}");
    assert_eq!(replay(&rules, &trace).len(), 3);
    assert_eq!(fs::metadata(&trace).unwrap().permissions().mode() & 0o777, 0o600, "that of the file before is gone");
}

#[test]
fn a_full_disk_ends_a_recording_and_leaves_whole_lines() {
    let Some(disk) = SmallDisk::mount(64, "a_full_disk_ends_a_recording_and_leaves_whole_lines") else { return };
    let server = TestServer::start(RULES, &[]);
    let recording = Recording::start(&server, disk.path(), &[]);
    let trace = recording.trace.clone();
    // More than the disk holds.
    send(&server, &"x".repeat(500), 200);
    let (code, out, error) = recording.wait();
    assert!(code == Some(1) && error.contains("cannot write the trace: "), "{out}{error}");
    let dir = tempfile::tempdir().unwrap();
    let decided = replay(&rules_in(&dir, RULES), &trace).len();
    assert!((1..200).contains(&decided), "{decided}");
    eventually("the end of the recording", || server.metric("tidegate_recordings") == 0);
}

#[test]
fn samples_and_domains() {
    let server = TestServer::start(RULES, &[]);
    let dir = tempfile::tempdir().unwrap();
    let flags =
        ["--domain", "other", "--domain", "api", "--sample", "1/2", "--sample-by", "fixed", "--max-checks", "1000"];
    let recording = Recording::start(&server, dir.path(), &flags);
    let trace = recording.trace.clone();
    let users: Vec<_> = (0..40).map(|user| format!("user-{user}")).collect();
    for user in &users {
        send(&server, user, 2);
    }
    let per_user = |user: &String| lines(&trace).iter().filter(|line| line.contains(&format!("\"{user}\""))).count();
    eventually("whole users", || {
        let counts: Vec<_> = users.iter().map(per_user).collect();
        let chosen = counts.iter().filter(|count| **count == 2).count();
        (5..36).contains(&chosen) && counts.iter().all(|count| [0, 2].contains(count))
    });
    send_signal(&recording.child, "TERM");
    assert_eq!(recording.wait().0, Some(0));
    let head = "\"domains\":[\"other\",\"api\"],\"one_in\":2,\"sample_by\":\"fixed\"";
    assert!(lines(&trace)[0].contains(head), "{}", lines(&trace)[0]);
}

#[tokio::test]
async fn what_cannot_be_recorded_is_rejected() {
    let server = TestServer::start(RULES, &[]);
    let mut admin = AdminServiceClient::new(connect(&server.admin).await);
    let request = RecordChecksRequest::default;
    let length = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let cases = [
        (RecordChecksRequest { duration: length(0), ..request() }, "duration"),
        (RecordChecksRequest { duration: length(86_401), ..request() }, "duration"),
        (RecordChecksRequest { duration: length(-1), ..request() }, "duration"),
        (RecordChecksRequest { max_checks: 10_000_001, ..request() }, "max_checks"),
        (RecordChecksRequest { domains: vec![String::new(); 101], ..request() }, "100 domains"),
        (RecordChecksRequest { sample_by: "x".repeat(201), ..request() }, "sample_by"),
        (RecordChecksRequest { reason: "x".repeat(501), ..request() }, "reason"),
    ];
    for (request, expected) in cases {
        let status = admin.record_checks(request).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument, "{expected}");
        assert!(status.message().contains(expected), "{status}");
    }
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(admin.record_checks(request()).await.unwrap());
    }
    let status = admin.record_checks(request()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status}");
}

#[test]
fn serve_records_from_the_start_until_it_stops() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace.jsonl");
    let flags = ["--record", trace.to_str().unwrap(), "--record-hash-values", "--drain", "0s"];
    let mut server = TestServer::start(RULES, &flags);
    send(&server, "ann", 7);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    let text = fs::read_to_string(&trace).unwrap();
    assert!(!text.contains("ann"), "{text}");
    assert_eq!(lines(&trace)[8], "{\"recording\":{\"ended\":\"stopped with the server\",\"checks\":7}}");
    let decided = replay(&rules_in(&dir, RULES), &trace);
    assert_eq!(decided.iter().filter(|line| simulated(line).0 == "OVER_LIMIT").count(), 2);

    // The file is kept: the server runs without a recording.
    let server = TestServer::start(RULES, &flags);
    server.log_until("the file exists: nothing is recorded");
    send(&server, "ann", 1);
    assert_eq!((server.metric("tidegate_recordings"), lines(&trace).len()), (0, 9));
}
