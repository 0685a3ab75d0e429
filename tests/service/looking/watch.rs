//! `tidegate watch`.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{RULES, Running, ask, check, send, shown, start_again};
use crate::TestServer;
use crate::server::{ReservedPort, binary, eventually, run};

use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;

/// The lines without the time at their beginning.
fn untimed(text: &str) -> Vec<&str> {
    text.lines().map(|line| line.split_once("Z ").unwrap_or_else(|| panic!("no time: {line}")).1).collect()
}

/// The words of the last line about something, without rates.
fn last(text: &str, of: &str) -> String {
    let lines = untimed(text);
    let line = lines.into_iter().rev().find(|line| line.starts_with(of));
    let words = line.unwrap_or_default().split(' ').filter(|word| !word.contains("rate="));
    words.collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_report_has_the_totals_of_what_was_sent_and_filters_select() {
    let server = TestServer::start(RULES, &[]);
    send(&server, "ann", 5).await;
    send(&server, "bob", 2).await;
    let mut service = RateLimitServiceClient::new(server.channel().await);
    service.should_rate_limit(check(&[&[("path", "/x")], &[("nobody", "x")]])).await.unwrap();
    let (total, path, user) = (
        "total requests=8 denied=2 near=1 unmatched=1",
        "rule=api.path requests=1 denied=0 limit=100/year",
        "rule=api.user requests=7 denied=2 limit=3/year near=1",
    );
    let of_rule = "total requests=7 denied=2 near=1";
    let cases: [(&[&str], &[&str]); 9] = [
        (&[], &[total, path, user]),
        (&["--rule", "api.user"], &[of_rule, user]),
        (&["--domain", "api"], &["total requests=8 denied=2 near=1", path, user]),
        (&["--denied"], &[of_rule, user]),
        (&["--entry", "user=ann"], &["total requests=5 denied=2", "rule=api.user requests=5 denied=2 limit=3/year"]),
        (&["--entry", "user=nobody"], &["total requests=0 denied=0"]),
        (
            &["--rule", "api.user", "--counters", "--top", "1"],
            &[of_rule, user, r#"counter="api.user user=ann" requests=5 denied=2"#],
        ),
        (&["--by", "user", "--denied"], &[of_rule, user, "requests_of=user=ann requests=5 denied=2"]),
        (
            &["--domain", "api", "--by", "user"],
            &[
                "total requests=8 denied=2 near=1",
                path,
                user,
                "requests_of=user=ann requests=5 denied=2",
                "requests_of=user=bob requests=2 denied=0",
            ],
        ),
    ];
    for (flags, expected) in cases {
        let text = shown(&server, &[&["watch", "--once"], flags].concat());
        assert_eq!(untimed(&text), expected, "{flags:?}");
    }
    let json = shown(&server, &["watch", "--once", "--json"]);
    assert_eq!(json.lines().count(), 1, "{json}");
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["total"]["numRequests"], "8");
    assert_eq!(report["total"]["numRequestsDenied"], "2");
    assert_eq!(report["rules"][1]["limits"][0]["requestsPerUnit"], 3);
    assert_eq!(report["counters"], Value::Array(Vec::new()), "they were not asked for");
    let json = shown(&server, &["watch", "--once", "--json", "--counters"]);
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["counters"].as_array().map(Vec::len), Some(3), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totals_are_exact_over_a_restart_of_the_server_which_is_noticed() {
    let data = tempfile::tempdir().unwrap();
    let flags = ["--data-dir", data.path().to_str().unwrap(), "--drain", "0s"];
    let mut server = TestServer::start(RULES, &flags);
    send(&server, "ann", 5).await;
    let args = ["watch", "--interval", "100ms", "--rule", "api.user"];
    let (lines, json) = (Running::start(&server, &args), Running::start(&server, &[&args[..], &["--json"]].concat()));
    let is = |text: &str, line: &str| last(text, "rule=").starts_with(&format!("rule=api.user {line} limit=3/year"));
    lines.stdout_until("five requests", |text| is(text, "requests=5 denied=2"));
    send(&server, "bob", 4).await;
    lines.stdout_until("nine requests", |text| is(text, "requests=9 denied=3"));
    json.stdout_until("nine requests", |text| text.contains(r#""numRequests":"9""#));
    assert_eq!((lines.stderr(), json.stderr()), (String::new(), String::new()));

    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    lines.stderr_until("; connecting again");
    let again = start_again(&server, RULES, &flags);
    for watching in [&lines, &json] {
        let said = watching.stderr_until("counts begin again");
        let sentence = "the process before was last seen with 9 requests, 3 of them denied";
        assert!(said.contains("connected again") && said.contains(sentence), "{said}");
    }
    // The counter of ann is still full; what the new process counts begins at 0.
    send(&again, "ann", 6).await;
    let text = lines.stdout_until("six requests", |text| is(text, "requests=6 denied=6"));
    assert!(text.lines().any(|line| line.contains("rate=")), "{text}");
    let reports = json.stdout_until("six requests", |text| text.contains(r#""numRequests":"6""#));
    let mut last = (String::new(), 0);
    for line in reports.lines() {
        let report: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let id = report["instance"]["id"].as_str().unwrap().to_owned();
        let requests = report["total"]["numRequests"].as_str().unwrap().parse::<u64>().unwrap();
        assert!(id != last.0 || requests >= last.1, "a total that goes back: {line}");
        last = (id, requests);
    }
    assert_eq!(last.1, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_lost_costs_no_total() {
    let mut server = TestServer::start(RULES, &[]);
    let watching = Running::start(&server, &["watch", "--interval", "100ms", "--rule", "api.user"]);
    watching.stdout_until("a first report", |text| text.contains("requests=0"));
    server.crash();
    watching.stderr_until("; connecting again");
    let again = start_again(&server, RULES, &[]);
    send(&again, "ann", 4).await;
    watching.stdout_until("what was sent while nobody watched", |text| {
        last(text, "rule=") == "rule=api.user requests=4 denied=1 limit=3/year near=1"
    });
}

#[test]
fn what_cannot_be_watched_is_an_error() {
    let server = TestServer::start(RULES, &[]);
    let free = ReservedPort::new();
    let nobody = format!("127.0.0.1:{}", free.port);
    let cases: [(&[&str], i32, &str); 7] = [
        (&["--rule", "api.nope"], 1, "error: filter.rule: there is no rule \"api.nope\""),
        (&["--by", "path"], 1, "not counted by the entry key \"path\""),
        (&["--interval", "5ms"], 1, "error: interval: must be from 100 ms to 1 h"),
        (&["--interval", "soon"], 2, "examples: 500ms"),
        (&["--entry", "user"], 2, "'user' has no '='"),
        (&["--top", "0"], 2, "0 is not in 1..=1000"),
        (&["--token-file", "/nonexistent"], 2, "No such file"),
    ];
    for (flags, code, expected) in cases {
        for once in [&[][..], &["--once"]] {
            let (found, stdout, stderr) = ask(&server, &[&["watch"], flags, once].concat());
            assert_eq!((found, stdout.as_str()), (Some(code), ""), "{flags:?}: {stderr}");
            assert!(stderr.contains(expected), "{flags:?}: {stderr}");
        }
    }
    let (code, _, stderr) = run(&["watch", "--admin-addr", &nobody], "");
    assert!(code == Some(2) && stderr.contains("is the service running"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_that_is_closed_ends_it() {
    let server = TestServer::start(RULES, &[]);
    let mut command = Command::new(binary());
    command.args(["watch", "--json", "--interval", "100ms", "--admin-addr", &server.admin]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with('{'), "{line}");
    eventually("its end", || child.try_wait().unwrap().is_some_and(|status| status.code() == Some(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_is_refreshed_in_place_and_nothing_else_is() {
    let server = TestServer::start(RULES, &[]);
    send(&server, "ann", 5).await;
    let args = ["watch", "--interval", "100ms"];
    let plain = Running::start(&server, &args);
    let text = plain.stdout_until("a report", |text| text.contains("rule=api.user requests=5 denied=2"));
    assert!(!text.contains('\x1b'), "{text:?}");

    if Command::new("script").arg("--version").stdout(Stdio::null()).status().is_err() {
        return eprintln!("SKIPPED: a_terminal_is_refreshed_in_place_and_nothing_else_is: there is no `script`");
    }
    let mut terminal = Command::new("script");
    let line = format!("exec \"$BINARY\" {} --admin-addr {}", args.join(" "), server.admin);
    terminal.env("BINARY", binary()).env("TERM", "xterm").args(["-q", "-e", "-f", "-c", &line, "/dev/null"]);
    let terminal = Running::spawn(&mut terminal);
    // The head, the titles, the total and two rules.
    let over = "\r\x1b[5A";
    let text = terminal.stdout_until("three reports", |text| text.matches(over).count() >= 2);
    assert!(text.contains("rule") && text.contains("req/s"), "{text:?}");
    send(&server, "ann", 4).await;
    let text = terminal.stdout_until("the new totals", |text| {
        let frame = text.rsplit(over).next().unwrap_or_default();
        frame.lines().any(|line| line.starts_with("api.user") && line.contains(" 9 ") && line.contains(" 6 "))
    });
    for line in text.split(['\n', '\r']) {
        let visible = line.replace("\x1b[K", "").replace("\x1b[5A", "").replace("\x1b[J", "");
        assert!(visible.chars().count() <= 80 && !visible.contains('\x1b'), "{visible:?}");
    }
}
