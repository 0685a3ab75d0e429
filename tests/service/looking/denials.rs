//! `tidegate denials`.

use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;

use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;

use super::{RULES, Running, ask, check, send, shown, start_again};
use crate::TestServer;
use crate::server::{connect, eventually, send_signal, wait_for};

const NONE_KEPT: &str = "no recent denials: the server keeps them only while something reads them";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recent_ones_are_those_that_the_server_still_has() {
    let server = TestServer::start(RULES, &["--denial-log", "sampled"]);
    send(&server, "ann", 5).await;
    send(&server, "bob", 4).await;
    let of = |user: &str| format!("  user={user}  over limit 3 per year of api.user (domain api) until 20");
    let cases: [(&[&str], &[&str]); 6] = [
        (&[], &["ann", "ann", "bob"]),
        (&["--last", "2"], &["ann", "bob"]),
        (&["--entry", "user=ann", "--last", "1"], &["ann"]),
        (&["--rule", "api.user"], &["ann", "ann", "bob"]),
        (&["--domain", "api", "--entry", "user=bob"], &["bob"]),
        (&["--last", "1000"], &["ann", "ann", "bob"]),
    ];
    for (flags, expected) in cases {
        let text = shown(&server, &[&["denials"], flags].concat());
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), expected.len(), "{flags:?}: {text}");
        for (line, user) in lines.iter().zip(expected) {
            assert!(line.starts_with("20") && line.contains(&of(user)), "{flags:?}: {text}");
        }
    }
    let text = shown(&server, &["denials", "--json"]);
    let denials: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let users: Vec<_> = denials.iter().map(|one| one["descriptors"][0]["entries"][0]["value"].as_str()).collect();
    assert_eq!(users, [Some("ann"), Some("ann"), Some("bob")]);
    assert_eq!(denials[0]["governing"]["reason"], "OVER_LIMIT");
    let (code, stdout, stderr) = ask(&server, &["denials", "--rule", "api.path"]);
    assert_eq!((code, stdout.as_str()), (Some(0), ""));
    assert!(stderr.starts_with("no recent denials"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_reader_none_are_kept_which_is_said() {
    let server = TestServer::start(RULES, &[]);
    send(&server, "ann", 5).await;
    let (code, stdout, stderr) = ask(&server, &["denials"]);
    assert_eq!((code, stdout.as_str()), (Some(0), ""));
    assert!(stderr.starts_with(NONE_KEPT), "{stderr}");
    let cases: [(&[&str], i32, &str); 3] = [
        (&["--last", "0"], 2, "--last 0 shows nothing without --follow"),
        (&["--rule", "api.nope"], 1, "there is no rule \"api.nope\""),
        (&["--last", "1001"], 2, "1001 is not in 0..=1000"),
    ];
    for (flags, code, expected) in cases {
        let (found, stdout, stderr) = ask(&server, &[&["denials"], flags].concat());
        assert_eq!((found, stdout.as_str()), (Some(code), ""), "{flags:?}: {stderr}");
        assert!(stderr.contains(expected), "{flags:?}: {stderr}");
    }
}

/// Waits until the server has so many observers.
fn observed(server: &TestServer, observers: u64) {
    eventually("the observers", || server.metric("tidegate_observers") == observers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followed_each_is_a_line_and_a_restart_is_survived() {
    let mut server = TestServer::start(RULES, &["--drain", "0s"]);
    let following = Running::start(&server, &["denials", "--follow"]);
    let of_bob = Running::start(&server, &["denials", "--follow", "--entry", "user=bob", "--json"]);
    observed(&server, 2);
    send(&server, "ann", 5).await;
    let mut service = RateLimitServiceClient::new(server.channel().await);
    for _ in 0..4 {
        service.should_rate_limit(check(&[&[("path", "/x")], &[("user", "bob")]])).await.unwrap();
    }
    let text = following.stdout_until("three denials", |text| text.lines().count() == 3);
    let line = text.lines().nth(2).unwrap();
    assert!(line.contains("  path=/x; user=bob  over limit 3 per year of api.user (domain api) until "), "{line}");
    let json = of_bob.stdout_until("one denial", |text| text.ends_with('\n'));
    let denial: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(denial["governing"]["descriptor"], 1, "{denial}");

    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    following.stderr_until("; connecting again");
    let again = start_again(&server, RULES, &[]);
    following.stderr_until("connected again; denials in between are not shown");
    observed(&again, 2);
    send(&again, "cy", 4).await;
    let text = following.stdout_until("a denial of the new process", |text| text.lines().count() == 4);
    assert!(text.lines().nth(3).unwrap().contains("  user=cy  "), "{text}");
    following.stderr_until("the server was started again");
}

/// Tasks that send checks, and the checks of each: twice what the server keeps for a reader that has stopped, of which the connection takes
/// some thousands ahead of it.
const TASKS: u64 = 64;
const CHECKS: u64 = 500;
/// They are many, and the threads of the admin port have the lowest priority.
const LONG: Duration = Duration::from_mins(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stopped_reader_loses_is_counted_exactly() {
    let rules = "domain: api\ndescriptors:\n  - {key: user, rate_limit: {unit: year, requests_per_unit: 0}}\n";
    let server = TestServer::start(rules, &[]);
    let following = Running::start(&server, &["denials", "--follow"]);
    observed(&server, 1);
    send_signal(&following.child, "STOP");
    let mut sending = JoinSet::new();
    let channel = connect(&server.grpc).await;
    for task in 0..TASKS {
        let mut service = RateLimitServiceClient::new(channel.clone());
        sending.spawn(async move {
            // Long enough that few fit into what the connection takes ahead of its reader.
            let value = format!("{task}-{}", "x".repeat(150));
            let descriptor: &[(&str, &str)] = &[("user", &value)];
            for _ in 0..CHECKS {
                service.should_rate_limit(check(&[descriptor; 8])).await.unwrap();
            }
        });
    }
    sending.join_all().await;
    send_signal(&following.child, "CONT");
    let lost = || {
        let stderr = following.stderr();
        let counts = stderr.lines().filter_map(|line| line.split_once(" denial")).map(|(count, _)| count);
        counts.map(|count| count.parse::<u64>().unwrap()).sum::<u64>()
    };
    let shown = || following.stdout.lock().unwrap().len() as u64;
    wait_for("every denial shown or counted as lost", LONG, || (shown() + lost() == TASKS * CHECKS).then_some(()));
    assert!(lost() > 0 && shown() > 0, "{} lost", lost());
}
