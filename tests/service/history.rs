//! `--data-dir`: what outlives the process, and what does not stop it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{fs, thread};

use prost_types::Timestamp;
use rusqlite::{Connection, OpenFlags};
use tonic::Code;
use tonic::transport::Channel;

use tidegate::api::proto::tidegate::v1::query_usage_request::GroupBy;
use tidegate::api::proto::tidegate::v1::usage_service_client::UsageServiceClient;
use tidegate::api::proto::tidegate::v1::{EntryFilter, QueryUsageRequest, QueryUsageResponse, UsageFilter, UsageRow};

use crate::TestServer;
use crate::server::{DEADLINE, THREE_A_MINUTE, command, connect, eventually_async, rules_in};
use crate::small_disk::SmallDisk;

const CHECK: &[u8] = br#"{"domain": "api", "descriptors": [{"entries": [{"key": "key", "value": "v"}]}]}"#;

fn check(server: &TestServer, times: u32) {
    for _ in 0..times {
        server.http("POST", "/json", CHECK);
    }
}

/// Checks in the history, as any program reads them.
fn checks(data: &Path, view: &str) -> u64 {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = Connection::open_with_flags(data.join("usage.sqlite"), flags).unwrap();
    connection.busy_timeout(DEADLINE).unwrap();
    let sql = format!("SELECT coalesce(sum(checks), 0) FROM {view}");
    connection.query_row(&sql, (), |row| row.get::<_, i64>(0)).unwrap().cast_unsigned()
}

/// Looks again and again until it is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..600 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("never: {what}");
}

#[test]
fn a_kill_loses_at_most_the_last_flush_and_an_orderly_stop_nothing() {
    let data = tempfile::tempdir().unwrap();
    let flags = ["--data-dir", data.path().to_str().unwrap(), "--history-flush", "500ms", "--drain", "0s"];
    let mut server = TestServer::start(THREE_A_MINUTE, &flags);
    check(&server, 20);
    until("20 checks are flushed", || checks(data.path(), "usage_by_minute") == 20);
    check(&server, 7);
    server.signal("KILL");
    server.wait();
    let kept = checks(data.path(), "usage_by_minute");
    assert!((20..=27).contains(&kept), "{kept}");

    let mut server = TestServer::start(THREE_A_MINUTE, &flags);
    check(&server, 5);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    for view in ["usage_by_minute", "usage_by_hour", "usage_by_day", "totals_by_day"] {
        assert_eq!(checks(data.path(), view), kept + 5, "{view}");
    }
}

#[test]
fn a_second_process_and_an_unusable_directory_are_reported_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (data, file) = (dir.path().join("new/data"), dir.path().join("file"));
    fs::write(&file, "").unwrap();
    let _server = TestServer::start(THREE_A_MINUTE, &["--data-dir", data.to_str().unwrap()]);
    let config = rules_in(&dir, THREE_A_MINUTE);
    for (path, word) in [(&data, "another tidegate process"), (&file, "cannot use --data-dir")] {
        let output = command(&config, &["--data-dir", path.to_str().unwrap()]).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(word) && stderr.lines().count() == 1, "{stderr}");
    }
}

#[test]
fn a_history_that_cannot_be_written_shows_and_stops_no_decision() {
    let data = tempfile::tempdir().unwrap();
    let usage = data.path().join("usage.sqlite");
    fs::create_dir(&usage).unwrap();
    let flags = ["--data-dir", data.path().to_str().unwrap(), "--history-flush", "100ms"];
    let server = TestServer::start(THREE_A_MINUTE, &flags);
    let metric = |name: &str| {
        let (_, metrics) = server.http("GET", "/metrics", b"");
        let line = metrics.lines().find(|line| line.starts_with(&format!("{name} "))).map(str::to_owned);
        line.unwrap_or_else(|| panic!("no {name} in {metrics}")).rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    until("a failure is counted", || metric("tidegate_history_flush_failures_total") > 0.0);
    let (status, detail) = server.http("GET", "/readyz", b"");
    assert!(status == 200 && detail.contains("\nhistory: not written (decisions are not affected): "), "{detail}");
    check(&server, 4);
    assert_eq!(server.http("POST", "/json", CHECK).0, 429);

    fs::remove_dir(&usage).unwrap();
    until("it is written again", || metric("tidegate_history_flushes_total") > 0.0);
    assert!(server.http("GET", "/readyz", b"").1.contains("\nhistory: on disk\n"));
    until("nothing is lost", || checks(data.path(), "usage_by_minute") == 5);
    assert!(metric("tidegate_history_rows") >= 3.0 && metric("tidegate_history_bytes") > 0.0);
}

#[test]
fn a_full_disk_stops_the_history_only() {
    let Some(disk) = SmallDisk::mount(256, "a_full_disk_stops_the_history_only") else { return };
    let flags = ["--data-dir", disk.path().to_str().unwrap(), "--history-flush", "100ms"];
    let server = TestServer::start(THREE_A_MINUTE, &flags);
    let filler = disk.fill(512);
    check(&server, 9);
    until("the failure shows", || server.http("GET", "/readyz", b"").1.contains("history: not written"));
    assert_eq!(server.http("POST", "/json", CHECK).0, 429);
    fs::remove_file(&filler).unwrap();
    until("it is written again", || server.http("GET", "/readyz", b"").1.contains("history: on disk"));
    until("nothing is lost", || checks(disk.path(), "usage_by_minute") == 10);
    drop(server);
}

#[test]
fn any_sqlite_tool_reads_the_views() {
    let data = tempfile::tempdir().unwrap();
    let flags = ["--data-dir", data.path().to_str().unwrap(), "--history-flush", "100ms"];
    let server = TestServer::start(THREE_A_MINUTE, &flags);
    check(&server, 5);
    until("5 checks are flushed", || checks(data.path(), "usage_by_minute") == 5);
    let script = "import sqlite3, sys\n\
                  db = sqlite3.connect('file:' + sys.argv[1] + '?mode=ro', uri=True)\n\
                  print(db.execute('SELECT domain, rule, sum(checks), sum(denied) FROM denials_by_rule_and_day').fetchone())";
    let python = Command::new("python3").args(["-c", script]).arg(data.path().join("usage.sqlite")).output();
    let Ok(output) = python else { return eprintln!("skipped: no python3") };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(text.trim(), "('api', 'api.key', 5, 2)", "{}", String::from_utf8_lossy(&output.stderr));
}

async fn ask(service: &mut UsageServiceClient<Channel>, request: QueryUsageRequest) -> QueryUsageResponse {
    service.query_usage(request).await.unwrap().into_inner()
}

fn of_value(server: &TestServer, value: &str, times: u32) {
    let body = String::from_utf8_lossy(CHECK).replace("\"v\"", &format!("\"{value}\""));
    for _ in 0..times {
        server.http("POST", "/json", body.as_bytes());
    }
}

/// A row's rule, value, checks and denied checks.
type Reported<'a> = (&'a str, &'a str, u64, u64);

fn rows(answer: &QueryUsageResponse) -> Vec<Reported<'_>> {
    let counts = |row: &UsageRow| row.counts.map(|counts| (counts.num_requests, counts.num_requests_denied)).unwrap();
    answer.rows.iter().map(|row| (&*row.rule, &*row.entry_value, counts(row).0, counts(row).1)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_group_filter_and_page() {
    let server = TestServer::start(THREE_A_MINUTE, &["--history-flush", "100ms"]);
    let mut service = UsageServiceClient::new(connect(&server.admin).await);
    for (value, times) in [("ann", 5), ("bob", 2), ("cy", 1)] {
        of_value(&server, value, times);
    }
    let all = QueryUsageRequest::default;
    eventually_async("the flush of all rows", async || rows(&ask(&mut service, all()).await) == [("", "", 8, 2)]).await;
    let by = |groups: &[GroupBy]| groups.iter().map(|group| *group as i32).collect::<Vec<_>>();
    let by_value = QueryUsageRequest { group_by: by(&[GroupBy::Entry]), entry_key: "key".into(), ..all() };
    let bob = EntryFilter { key: "key".into(), value: "bob".into() };
    let bob = UsageFilter { entries: vec![bob], ..UsageFilter::default() };
    let denied = UsageFilter { only_denied: true, ..UsageFilter::default() };
    let cases: [(&str, QueryUsageRequest, &[Reported]); 5] = [
        ("rules", QueryUsageRequest { group_by: by(&[GroupBy::Rule]), ..all() }, &[("api.key", "", 8, 2)]),
        ("values", by_value.clone(), &[("", "ann", 5, 2), ("", "bob", 2, 0), ("", "cy", 1, 0)]),
        ("one value", QueryUsageRequest { filter: Some(bob), ..all() }, &[("", "", 2, 0)]),
        ("denied", QueryUsageRequest { filter: Some(denied), ..by_value.clone() }, &[("", "ann", 5, 2)]),
        ("the past", QueryUsageRequest { to: Some(Timestamp { seconds: 60, nanos: 0 }), ..by_value.clone() }, &[]),
    ];
    for (name, request, want) in cases {
        assert_eq!(rows(&ask(&mut service, request).await), want, "{name}");
    }
    let first = ask(&mut service, QueryUsageRequest { page_size: 2, ..by_value.clone() }).await;
    assert!(first.in_memory && first.history_from.is_some());
    let next = QueryUsageRequest { page_token: first.next_page_token, ..by_value };
    let second = ask(&mut service, next).await;
    assert_eq!((first.rows.len(), rows(&second)), (2, vec![("", "cy", 1, 0)]));
    assert_eq!(second.next_page_token, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_asked_is_an_invalid_argument() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    let mut service = UsageServiceClient::new(connect(&server.admin).await);
    let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
    let named = |domain: &str, rule: &str| {
        Some(UsageFilter { domain: domain.into(), rule: rule.into(), ..UsageFilter::default() })
    };
    let all = QueryUsageRequest::default;
    let bad = [
        ("inverted", QueryUsageRequest { from: at(9), to: at(8), ..all() }, "from must be before to"),
        ("empty", QueryUsageRequest { from: at(9), to: at(9), ..all() }, "from must be before to"),
        ("from the future", QueryUsageRequest { from: at(1 << 33), ..all() }, "from must be before to"),
        ("unknown rule", QueryUsageRequest { filter: named("", "api.nope"), ..all() }, "rule \"api.nope\""),
        ("unknown domain", QueryUsageRequest { filter: named("nope", ""), ..all() }, "domain \"nope\""),
        ("not in it", QueryUsageRequest { filter: named("nope", "api.key"), ..all() }, "in the domain \"nope\""),
        ("foreign token", QueryUsageRequest { page_token: "abcd".into(), ..all() }, "page_token"),
        ("no group", QueryUsageRequest { group_by: vec![7], ..all() }, "group_by"),
    ];
    for (name, request, message) in bad {
        let rejected = service.query_usage(request).await.unwrap_err();
        assert_eq!(rejected.code(), Code::InvalidArgument, "{name}: {rejected:?}");
        assert!(rejected.message().contains(message), "{name}: {}", rejected.message());
    }
    for filter in [named("api", "api.key"), named("", "api.key"), named("api", ""), named("api", "api.(override)")] {
        let answer = ask(&mut service, QueryUsageRequest { filter: filter.clone(), ..all() }).await;
        assert_eq!(rows(&answer), [("", "", 0, 0)], "{filter:?}");
    }
}
