//! `tidegate usage`.

use std::process::Command;

use serde_json::Value;

use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;

use super::{RULES, ask, check, send, shown};
use crate::TestServer;
use crate::server::{binary, eventually};

/// Rows of CSV in a range, without the range.
fn rows(csv: &str) -> Vec<String> {
    csv.lines().map(|line| line.splitn(3, ',').nth(2).unwrap().to_owned()).collect()
}

/// The rows, once the history has so many requests or checks in all.
#[track_caller]
pub(crate) fn flushed(server: &TestServer, args: &[&str], requests: u64) -> Vec<String> {
    let mut found = Vec::new();
    eventually(&format!("{requests} in the history"), || {
        let (code, stdout, stderr) = ask(server, &[&["usage", "--csv"], args].concat());
        // On a busy machine a query may take longer than the server lets it.
        let is_busy = code == Some(1) && stderr.contains("took longer");
        assert!(code == Some(0) || is_busy, "{stderr}");
        found = rows(&stdout);
        let sums = found.iter().skip(1).map(|row| row.rsplit(',').nth(2).unwrap().parse::<u64>().unwrap());
        sums.sum::<u64>() == requests
    });
    found
}

fn by_entry(server: &TestServer, name: &str, user: &str) -> u64 {
    server.metric(&format!("tidegate_{name}_by_entry_total{{domain=\"api\",key=\"user\",value=\"{user}\"}}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_equals_the_metrics_and_what_was_sent_over_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let flags = ["--data-dir", data.path().to_str().unwrap(), "--history-flush", "100ms", "--drain", "0s"];
    let mut server = TestServer::start(RULES, &flags);
    send(&server, "ann", 6).await;
    send(&server, "bob", 4).await;
    send(&server, "cy", 1).await;
    let users = ["user,cy,false,1,0,1", "user,bob,false,4,1,4", "user,ann,false,6,3,6"];
    let titles = "key,value,other,requests,denied,hits";
    let by_user = flushed(&server, &["--by", "user"], 11);
    assert_eq!(by_user, [titles, users[2], users[1], users[0]]);
    for user in ["ann", "bob", "cy"] {
        let (all, denied) = (by_entry(&server, "requests", user), by_entry(&server, "denied_requests", user));
        assert!(by_user.contains(&format!("user,{user},false,{all},{denied},{all}")), "{user}: {by_user:?}");
    }
    let hits = server.metric(r#"ratelimit_service_rate_limit_total_hits{domain="api",rule="api.user",key1="user"}"#);
    assert_eq!(
        flushed(&server, &[], 11),
        ["domain,rule,checks,denied,hits".to_owned(), format!("api,api.user,{hits},4,11")]
    );
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));

    let again = TestServer::start(RULES, &flags);
    send(&again, "cy", 5).await;
    send(&again, "ann", 1).await;
    let both = flushed(&again, &["--by", "user", "--denied"], 17);
    assert_eq!(both, [titles, "user,ann,false,7,4,7", "user,cy,false,6,3,6", "user,bob,false,4,1,4"]);

    let table = ask(&again, &["usage", "--by", "user", "--limit", "1", "--utc"]).1;
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[0].starts_with("requests by user from 20") && lines[0].ends_with("now (UTC)"), "{table}");
    let expected = [
        "value  requests  denied  denied %",
        "ann           7       4      57.1",
        "1 of 3 values; in all 17 requests, 8 of them denied",
    ];
    assert_eq!(lines[1..], expected, "{table}");
    let (_, json, stderr) = ask(&again, &["usage", "--by", "user", "--limit", "2", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["rows"].as_array().map(Vec::len), Some(2), "{json}");
    assert_eq!(json["rows"][0]["counts"]["numRequests"], "7", "{json}");
    assert!(stderr.contains("2 of 3 values; --limit lists more"), "{stderr}");
    assert!(stderr.contains("warning: the history begins at 20"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_order_and_limit() {
    let server = TestServer::start(RULES, &["--history-flush", "100ms"]);
    send(&server, "ann", 4).await;
    send(&server, "bob", 3).await;
    let mut service = RateLimitServiceClient::new(server.channel().await);
    for _ in 0..5 {
        service.should_rate_limit(check(&[&[("path", "/x")]])).await.unwrap();
    }
    flushed(&server, &[], 12);
    let (user, path) = ("api,api.user,7,1,7", "api,api.path,5,0,5");
    let (ann, bob) = ("user,ann,false,4,1,4", "user,bob,false,3,0,3");
    let cases: [(&[&str], &[&str]); 11] = [
        (&[], &[user, path]),
        (&["--denied"], &[user]),
        (&["--limit", "1"], &[user]),
        (&["--rule", "api.path"], &[path]),
        (&["--domain", "api", "--sort", "denied"], &[user, path]),
        (&["--entry", "user=bob"], &["api,api.user,3,0,3"]),
        (&["--by", "user"], &[ann, bob]),
        (&["--by", "user", "--entry", "user=bob"], &[bob]),
        (&["--by", "path", "--checks"], &["path,,false,7,1,7", "path,/x,false,5,0,5"]),
        (&["--by", "path", "--rule", "api.path"], &["path,/x,false,5,0,5"]),
        (&["--by", "user", "--from", "2020-01-01", "--to", "2020-12-31"], &[]),
    ];
    for (flags, expected) in cases {
        let (code, stdout, stderr) = ask(&server, &[&["usage", "--csv"], flags].concat());
        assert_eq!(
            (code, &rows(&stdout)[1..]),
            (Some(0), &expected.iter().map(ToString::to_string).collect::<Vec<_>>()[..]),
            "{flags:?}: {stderr}"
        );
    }
}

#[test]
fn what_cannot_be_asked_is_an_error() {
    let server = TestServer::start(RULES, &[]);
    let cases: [(&[&str], i32, &str); 9] = [
        (&["--from", "soon"], 2, "'soon' is not a time (examples: 2026-11-27, "),
        (&["--from", "today", "--to", "yesterday"], 2, "the range is empty: --from is "),
        (&["--from", "2999-01-01"], 2, "the range is empty"),
        (&["--from", "-19000y"], 2, "--from: "),
        (&["--by", "path"], 1, "in domain \"api\" they are counted by user"),
        (&["--by", "path"], 1, "; --checks counts the checks of rules by any key"),
        (&["--rule", "api.nope"], 1, "neither the configuration nor the history has the rule"),
        (&["--checks"], 2, "--by <KEY>"),
        (&["--csv", "--json"], 2, "cannot be used with"),
    ];
    for (flags, code, expected) in cases {
        let (found, stdout, stderr) = ask(&server, &[&["usage"], flags].concat());
        assert_eq!((found, stdout.as_str()), (Some(code), ""), "{flags:?}: {stderr}");
        assert!(stderr.contains(expected), "{flags:?}: {stderr}");
    }
}

#[test]
fn the_time_zone_is_that_of_the_machine_and_is_stated() {
    let server = TestServer::start(RULES, &[]);
    let usage = |zone: &str, flags: &[&str]| {
        let mut command = Command::new(binary());
        command.args(["usage", "--admin-addr", &server.admin]).args(flags).env("TZ", zone);
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let day = ["--from", "2026-07-01", "--to", "2026-07-01"];
    let cases: [(&str, &[&str], &str); 4] = [
        ("Europe/Berlin", &[], "from 2026-07-01T00:00:00+02:00 to 2026-07-02T00:00:00+02:00 (Europe/Berlin)"),
        ("Europe/Berlin", &["--utc"], "from 2026-07-01T00:00:00+00:00 to 2026-07-02T00:00:00+00:00 (UTC)"),
        ("UTC", &[], "from 2026-07-01T00:00:00+00:00 to 2026-07-02T00:00:00+00:00 (UTC)"),
        ("Nowhere/Land", &["--utc"], "(UTC)"),
    ];
    for (zone, flags, expected) in cases {
        let (code, stdout, stderr) = usage(zone, &[&day, flags].concat());
        let is_there = std::path::Path::new("/usr/share/zoneinfo/Europe/Berlin").exists();
        if zone == "Europe/Berlin" && !is_there {
            eprintln!("SKIPPED: the_time_zone_is_that_of_the_machine_and_is_stated: there is no tzdata");
            continue;
        }
        assert_eq!(code, Some(0), "{zone}: {stderr}");
        assert!(stdout.contains(expected) && stdout.ends_with("no checks\n"), "{zone}: {stdout}");
        assert!(stderr.contains("one hour is kept in memory"), "{stderr}");
    }
    let (code, _, stderr) = usage("Nowhere/Land", &day);
    assert!(code == Some(2) && stderr.contains("TZ=Nowhere/Land: no such time zone"), "{stderr}");
}

/// More values than a page has.
const VALUES: usize = 1_010;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_several_pages_is_listed() {
    let server = TestServer::start(RULES, &["--history-flush", "100ms"]);
    let mut service = RateLimitServiceClient::new(server.channel().await);
    let names: Vec<_> = (0..VALUES).map(|value| format!("/{value}")).collect();
    for some in names.chunks(500) {
        let descriptors: Vec<_> = some.iter().map(|name| [("path", name.as_str())]).collect();
        let descriptors: Vec<&[(&str, &str)]> = descriptors.iter().map(<[_; 1]>::as_slice).collect();
        service.should_rate_limit(check(&descriptors)).await.unwrap();
    }
    service.should_rate_limit(check(&[&[("path", "/999")]])).await.unwrap();
    let all = flushed(&server, &["--by", "path", "--checks", "--limit", "5000"], VALUES as u64 + 1);
    assert_eq!(all.len(), VALUES + 1);
    assert_eq!(all[1], "path,/999,false,2,0,2", "the most requested one, though it is on the second page");
    let table = shown_with_warning(&server, &["usage", "--by", "path", "--checks", "--limit", "2"]);
    assert!(table.ends_with("2 of 1010 values; in all 1011 checks, 0 of them denied\n"), "{table}");
}

/// The output of a command that succeeds, whatever it warns about.
fn shown_with_warning(server: &TestServer, args: &[&str]) -> String {
    let (code, stdout, stderr) = ask(server, args);
    assert_eq!(code, Some(0), "{stderr}");
    stdout
}

#[test]
fn nothing_on_standard_error_if_the_range_is_in_the_history() {
    let server = TestServer::start(RULES, &[]);
    eventually("a second of history", || {
        let (_, _, stderr) = ask(&server, &["usage", "--from", "-1s"]);
        stderr.is_empty()
    });
    assert!(shown(&server, &["usage", "--from", "-1s"]).contains("checks by rule from "));
}
