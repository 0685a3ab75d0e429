//! What operators change on one replica is in force on all of them, and stays so whatever happens to the engine and to replicas.

use std::fs;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tonic::transport::Channel;

use crate::engines::{Cluster, Engine, Kind};
use crate::replicas::{ask, replica};
use crate::server::{TestServer, eventually, rules_in, run, wait_for};

const RULES: &str = "domain: api
descriptors:
- {key: user, rate_limit: {unit: year, requests_per_unit: 5}}
- {key: own, rate_limit: {unit: year, requests_per_unit: 5, sharing: {mode: local}}}
- {key: each, rate_limit: {unit: year, requests_per_unit: 5, sharing: exact}}
";

/// A command for operators of this server: its exit status, standard output and standard error.
pub(crate) fn operate(server: &TestServer, arguments: &[&str]) -> (Option<i32>, String, String) {
    run(&[arguments, &["--admin-addr", &server.admin]].concat(), "")
}

/// The same for one that succeeds without a warning: so it is shared.
pub(crate) fn change(server: &TestServer, arguments: &[&str]) {
    let (code, stdout, stderr) = operate(server, arguments);
    assert!(code == Some(0) && stderr.is_empty(), "{arguments:?}: {stdout}{stderr}\n{}", server.log().join("\n"));
}

fn set(server: &TestServer, value: &str) {
    change(server, &["settings", "set", "--rule", "api.user", "requests_per_unit", value, "--reason", "sale"]);
}

/// Each setting in one line, as every replica that has it should show it.
fn settings(server: &TestServer) -> Vec<String> {
    let (code, stdout, stderr) = operate(server, &["settings", "list", "--json"]);
    assert_eq!(code, Some(0), "{stderr}");
    let listed: Value = serde_json::from_str(&stdout).unwrap();
    let none = Vec::new();
    let all = listed["settings"].as_array().unwrap_or(&none);
    all.iter()
        .map(|setting| format!("{} {} {} {}", setting["scope"], setting["name"], setting["value"], setting["setAt"]))
        .collect()
}

fn value_of(server: &TestServer) -> String {
    let (code, stdout, stderr) =
        operate(server, &["settings", "get", "--rule", "api.user", "requests_per_unit", "--json"]);
    assert_eq!(code, Some(0), "{stderr}");
    serde_json::from_str::<Value>(&stdout).unwrap()["value"].as_str().unwrap().to_owned()
}

/// As the contract has it, with some time for a machine that has other things to do.
pub(crate) fn soon(what: &str, is_so: impl Fn() -> bool) {
    wait_for(what, Duration::from_secs(20), || is_so().then_some(()));
}

fn until_equal(servers: &[TestServer]) -> Vec<String> {
    soon("the same settings", || servers.iter().all(|server| settings(server) == settings(&servers[0])));
    settings(&servers[0])
}

async fn limit(channel: &Channel) -> u32 {
    let mut answer = ask(channel, &[("user", "look")]).await;
    answer.statuses.remove(0).current_limit.unwrap().requests_per_unit
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setting_is_in_force_on_all_replicas_and_so_is_its_end() {
    for kind in Kind::installed() {
        let engine = Engine::start(kind);
        let servers: Vec<_> = (0..3).map(|_| replica(RULES, &engine.url(), &[])).collect();
        set(&servers[0], "9");
        for server in &servers {
            soon("the setting", || value_of(server) == "9");
            assert_eq!(limit(&server.channel().await).await, 9, "{kind:?}");
        }
        let (_, audit, _) = operate(&servers[1], &["audit"]);
        assert!(audit.contains("127.0.0.1 (on ") && audit.contains("requests_per_unit 5 -> 9"), "{audit}");
        assert!(audit.contains("reason: sale"), "{audit}");
        soon("a list that says so", || {
            let (_, listed, _) = operate(&servers[1], &["settings", "list"]);
            listed.contains("(on ") && listed.contains("shared with 2 other replicas")
        });
        // From another replica.
        change(&servers[2], &["settings", "unset", "--rule", "api.user", "requests_per_unit"]);
        for server in &servers {
            soon("no setting", || value_of(server) == "5");
        }
        // With an end, on each by itself.
        change(&servers[1], &["settings", "set", "--domain", "api", "enabled", "false", "--for", "2s"]);
        soon("a setting with an end", || settings(&servers[0]).len() == 1);
        soon("its end", || servers.iter().all(|server| settings(server).is_empty()));
        // Every key has an expiry.
        for key in engine.run::<Vec<String>>(&["KEYS", "tg1:{changes}*"]) {
            assert!(engine.run::<i64>(&["PTTL", &key]) > 0, "{kind:?}: {key}");
        }
    }
}

#[test]
fn a_replica_that_starts_adopts_what_is_set() {
    let Some(kind) = Kind::any() else { return };
    let engine = Engine::start(kind);
    let mut first = replica(RULES, &engine.url(), &[]);
    set(&first, "9");
    change(&first, &["counters", "ban", "--rule", "api.own", "--entry", "own=x", "--for", "1h"]);
    let second = replica(RULES, &engine.url(), &["--store-required"]);
    soon("ready", || second.http("GET", "/readyz", b"").0 == 200);
    assert_eq!(value_of(&second), "9", "with --store-required it is not ready before");
    assert!(is_banned(&second, "own"));
    // All others have ended meanwhile.
    first.signal("TERM");
    first.wait();
    drop((first, second));
    let third = replica(RULES, &engine.url(), &[]);
    soon("the setting", || value_of(&third) == "9");
}

fn is_banned(server: &TestServer, key: &str) -> bool {
    let rule = format!("api.{key}");
    let (code, stdout, stderr) = operate(server, &["counters", "list", "--rule", &rule, "--banned", "--json"]);
    assert_eq!(code, Some(0), "{stderr}");
    stdout.contains("bannedUntil")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ban_denies_on_all_replicas_until_it_is_lifted_or_ends() {
    for kind in Kind::installed() {
        let engine = Engine::start(kind);
        let servers = [replica(RULES, &engine.url(), &[]), replica(RULES, &engine.url(), &[])];
        let channel = servers[1].channel().await;
        let is_denied = async |key: &str| !crate::replicas::admitted(&channel, &[(key, "x")]).await;
        // Leased, local and exact.
        for key in ["user", "own", "each"] {
            let (rule, entry) = (format!("api.{key}"), format!("{key}=x"));
            let of_counter = ["--rule", &rule, "--entry", &entry];
            change(
                &servers[0],
                &[&["counters", "ban"], &of_counter[..], &["--for", "1h", "--reason", "abuse"]].concat(),
            );
            soon("the ban", || is_banned(&servers[1], key));
            assert!(is_denied(key).await, "{kind:?}: {key}");
            // Lifted where it was not set.
            change(&servers[1], &[&["counters", "unban"], &of_counter[..]].concat());
            assert!(!is_denied(key).await, "{kind:?}: {key}");
            soon("no ban", || !is_banned(&servers[0], key));
        }
        let (_, audit, _) = operate(&servers[1], &["audit"]);
        assert!(audit.contains("ban") && audit.contains("reason: abuse") && audit.contains("(on "), "{audit}");
        // A reset lifts it, too; and it ends by itself.
        change(&servers[0], &["counters", "ban", "--rule", "api.own", "--entry", "own=x", "--for", "1h"]);
        soon("the ban", || is_banned(&servers[1], "own"));
        change(&servers[1], &["counters", "reset", "--rule", "api.own"]);
        soon("no ban", || !is_banned(&servers[0], "own"));
        change(&servers[0], &["counters", "ban", "--rule", "api.own", "--entry", "own=x", "--for", "3s"]);
        soon("the ban", || is_banned(&servers[1], "own"));
        soon("its end", || !is_banned(&servers[1], "own"));
    }
}

#[test]
fn changes_while_the_engine_is_away_are_shared_when_it_is_back() {
    let Some(kind) = Kind::any() else { return };
    let mut engine = Engine::start(kind);
    let servers = [replica(RULES, &engine.url(), &[]), replica(RULES, &engine.url(), &[])];
    set(&servers[0], "7");
    soon("the setting", || value_of(&servers[1]) == "7");
    soon("both replicas", || servers[0].metric("tidegate_store_replicas") == 2);
    engine.kill();
    for server in &servers {
        server.log_until("the store is down");
    }
    let arguments = ["settings", "set", "--rule", "api.user", "requests_per_unit", "8"];
    let (code, stdout, stderr) = operate(&servers[0], &arguments);
    assert!(code == Some(0) && stdout.starts_with("set requests_per_unit"), "{stdout}");
    assert!(stderr.contains("not shared yet"), "{stderr}");
    let (_, listed, _) = operate(&servers[0], &["settings", "list"]);
    assert!(listed.contains("1 change not shared with 1 other replica yet"), "{listed}");
    assert_eq!((value_of(&servers[0]), value_of(&servers[1])), ("8".to_owned(), "7".to_owned()));
    assert_eq!(servers[0].metric("tidegate_store_changes_pending"), 1);
    // Later, and so the one that counts; and something that only the other one has.
    thread::sleep(Duration::from_millis(5));
    for (name, value) in [("requests_per_unit", "6"), ("shadow_mode", "true")] {
        operate(&servers[1], &["settings", "set", "--rule", "api.user", name, value]);
    }
    engine.restart_empty();
    let equal = || settings(&servers[0]) == settings(&servers[1]);
    soon("both have both", || equal() && settings(&servers[0]).len() == 2 && value_of(&servers[0]) == "6");
    soon("nothing is pending", || servers.iter().all(|server| server.metric("tidegate_store_changes_pending") == 0));
    // The engine has forgotten what it had been given before; a new replica hears of it all the same.
    let third = replica(RULES, &engine.url(), &[]);
    soon("the same settings", || settings(&third) == settings(&servers[0]));
}

#[test]
fn what_the_engine_forgets_is_written_again() {
    let Some(kind) = Kind::any() else { return };
    let engine = Engine::start(kind);
    let first = replica(RULES, &engine.url(), &[]);
    set(&first, "7");
    engine.run::<()>(&["FLUSHALL"]);
    soon("the keys", || engine.run::<Vec<String>>(&["KEYS", "tg1:{changes}*"]).len() == 2);
    let second = replica(RULES, &engine.url(), &[]);
    soon("the setting", || value_of(&second) == "7");
}

#[test]
fn values_that_are_not_ours_are_replaced_and_those_of_a_later_version_are_not() {
    let Some(kind) = Kind::any() else { return };
    let engine = Engine::start(kind);
    let servers = [replica(RULES, &engine.url(), &[]), replica(RULES, &engine.url(), &[])];
    set(&servers[0], "7");
    let keys: Vec<String> = engine.run(&["KEYS", "tg1:{changes}*"]);
    let part = keys.iter().find(|key| *key != "tg1:{changes}").unwrap();
    let text: String = engine.run(&["GET", part]);
    assert!(text.starts_with(r#"{"format":1,"#) && text.contains(r#""value":"7""#), "{text}");
    let huge = "x".repeat(3 << 20);
    let wrong = r#"{"format":1,"records":[{"id":["setting","rule","api.user",{},0,"requests_per_unit"],"at":1,"by":"","is":7},7,
        {"id":["later"],"at":2,"by":"x","is":1},{"id":["setting","rule","api.user",{},0,"burst"],"at":3,"by":"x","is":{"value":"\u0000{"}}]}"#;
    for (place, text) in ["", "\u{fffd}", "[]", wrong, &huge].into_iter().enumerate() {
        engine.run::<()>(&["SET", part, text]);
        // Another version, so that it is read.
        engine.run::<()>(&["SETRANGE", "tg1:{changes}", "0", &format!("{place:016}").repeat(65)]);
        soon("what was there", || engine.run::<String>(&["GET", part]).contains(r#""value":"7""#));
    }
    assert!(engine.run::<String>(&["GET", part]).contains(r#"["later"]"#), "what is not known here is kept");
    for key in [part, "tg1:{changes}"] {
        engine.run::<()>(&["DEL", key]);
        engine.run::<()>(&["RPUSH", key, "foreign"]);
        set(&servers[0], "8");
        soon("another value", || value_of(&servers[1]) == "8");
        set(&servers[0], "7");
        soon("the value before", || value_of(&servers[1]) == "7");
    }
    assert!(servers[0].metric("tidegate_store_changes_unreadable_total") > 0);
    let later = r#"{"format":2,"records":{}}"#;
    engine.run::<()>(&["SET", part, later]);
    engine.run::<()>(&["SETRANGE", "tg1:{changes}", "0", &"0123456789abcdef".repeat(65)]);
    let (code, _, stderr) = operate(&servers[0], &["settings", "set", "--rule", "api.user", "requests_per_unit", "9"]);
    assert!(code == Some(0) && stderr.contains("not shared yet"), "{stderr}");
    servers[0].log_until("a later version of Tidegate wrote it");
    assert_eq!(engine.run::<String>(&["GET", part]), later);
}

#[test]
fn changes_at_the_same_time_end_equal_on_all_replicas() {
    for kind in Kind::installed() {
        let engine = Engine::start(kind);
        let servers: Vec<_> = (0..3).map(|_| replica(RULES, &engine.url(), &[])).collect();
        for round in 0..3 {
            let barrier = Barrier::new(servers.len());
            thread::scope(|scope| {
                for (at, server) in servers.iter().enumerate() {
                    let barrier = &barrier;
                    scope.spawn(move || {
                        barrier.wait();
                        for step in 0..3 {
                            let value = (10 + round * 100 + step * 10 + at).to_string();
                            let entry = format!("user=u{step}");
                            operate(server, &["settings", "set", "--rule", "api.user", "requests_per_unit", &value]);
                            let one = [
                                "settings",
                                "set",
                                "--rule",
                                "api.user",
                                "--entry",
                                &entry,
                                "requests_per_unit",
                                &value,
                            ];
                            operate(server, &one);
                        }
                    });
                }
            });
            assert_eq!(until_equal(&servers).len(), 4, "{kind:?}");
            let value = value_of(&servers[0]);
            assert!(servers.iter().all(|server| value_of(server) == value), "{kind:?}");
        }
        change(&servers[0], &["settings", "unset", "--rule", "api.user", "requests_per_unit"]);
        soon("one less", || servers.iter().all(|server| settings(server).len() == 3));
    }
}

#[test]
fn what_is_stored_meets_what_is_shared() {
    let Some(kind) = Kind::any() else { return };
    let engine = Engine::start(kind);
    let dir = tempfile::tempdir().unwrap();
    let data = ["--data-dir", dir.path().to_str().unwrap()];
    // Before there is a store.
    let mut alone = TestServer::start(RULES, &data);
    set(&alone, "7");
    change(&alone, &["settings", "set", "--rule", "api.own", "requests_per_unit", "70"]);
    alone.signal("TERM");
    alone.wait();
    let other = replica(RULES, &engine.url(), &[]);
    set(&other, "8");
    let mut stored = replica(RULES, &engine.url(), &data);
    soon("both", || settings(&other).len() == 2 && settings(&other) == settings(&stored));
    assert_eq!(value_of(&stored), "8", "it was set later");
    // What is removed while a replica is away does not come back with it; a change of the replica that nobody has heard of does.
    stored.crash();
    change(&other, &["settings", "unset", "--rule", "api.own", "requests_per_unit"]);
    stored.restart();
    soon("one setting", || settings(&stored).len() == 1 && settings(&other) == settings(&stored));
    assert_eq!(value_of(&other), "8");
    let (_, audit, _) = operate(&stored, &["audit"]);
    assert!(audit.contains("requests_per_unit 70 -> 5") && audit.contains("(on "), "{audit}");
}

#[test]
fn rules_that_a_replica_does_not_have_are_no_error() {
    let Some(kind) = Kind::any() else { return };
    let engine = Engine::start(kind);
    let other = "domain: api\ndescriptors: [{key: other, rate_limit: {unit: year, requests_per_unit: 5}}]\n";
    let servers = [replica(RULES, &engine.url(), &[]), replica(other, &engine.url(), &["--settings", "read-only"])];
    set(&servers[0], "7");
    change(&servers[0], &["counters", "ban", "--rule", "api.own", "--entry", "own=x", "--for", "1h"]);
    soon("a setting without an effect", || operate(&servers[1], &["settings", "list"]).1.contains("inactive"));
    // Until it has the rules.
    rules_in(&servers[1].dir, RULES);
    servers[1].signal("HUP");
    soon("the setting", || {
        servers[1].log().iter().any(|line| line.contains("rules changed")) && value_of(&servers[1]) == "7"
    });
    soon("the ban", || is_banned(&servers[1], "own"));
    let (code, _, stderr) = operate(&servers[1], &["settings", "unset", "--rule", "api.user", "requests_per_unit"]);
    assert!(code == Some(1) && stderr.contains("read-only"), "{stderr}");
}

/// The limit of the rule that all configurations have.
fn promoted(server: &TestServer) -> String {
    value_of(server)
}

fn promote(server: &TestServer, rules: &str) {
    let file = server.dir.path().join("candidate");
    fs::create_dir_all(&file).unwrap();
    fs::write(file.join("next.yaml"), rules).unwrap();
    let started = operate(server, &["candidate", "start", file.to_str().unwrap()]);
    assert_eq!(started.0, Some(0), "{}", started.2);
    change(server, &["candidate", "promote"]);
}

#[test]
fn a_promotion_is_in_force_on_all_replicas_until_the_configuration_changes() {
    for kind in Kind::installed() {
        let engine = Engine::start(kind);
        let mut servers = vec![replica(RULES, &engine.url(), &[]), replica(RULES, &engine.url(), &[])];
        promote(&servers[0], &RULES.replace("5}}", "33}}"));
        for server in &servers {
            soon("the promoted rules", || promoted(server) == "33");
            let (_, status, _) = operate(server, &["candidate", "status"]);
            assert!(status.contains("in force") && status.contains("on all replicas"), "{status}");
        }
        let (_, audit, _) = operate(&servers[1], &["audit"]);
        assert!(audit.contains("candidate_promote") && audit.contains("(on "), "{audit}");
        // A new one with the same files has them too; with other files it does not.
        servers.push(replica(RULES, &engine.url(), &[]));
        soon("the promoted rules", || promoted(&servers[2]) == "33");
        let changed = RULES.replace("5}}", "44}}");
        servers.push(replica(&changed, &engine.url(), &["--store-required"]));
        soon("ready", || servers[3].http("GET", "/readyz", b"").0 == 200);
        assert_eq!(promoted(&servers[3]), "44");
        // A changed file is in force on the replica that loads it.
        rules_in(&servers[1].dir, &changed);
        servers[1].signal("HUP");
        soon("the changed file", || promoted(&servers[1]) == "44");
        thread::sleep(Duration::from_millis(600));
        assert_eq!(
            (promoted(&servers[0]), promoted(&servers[1]), promoted(&servers[2])),
            ("33".into(), "44".into(), "33".into())
        );
        // Loading what has not changed undoes it for all.
        servers[0].signal("HUP");
        soon("the rules of the files", || promoted(&servers[0]) == "5" && promoted(&servers[2]) == "5");
        let fourth = replica(RULES, &engine.url(), &["--store-required"]);
        soon("ready", || fourth.http("GET", "/readyz", b"").0 == 200);
        assert_eq!(promoted(&fourth), "5", "{kind:?}");
        // Whatever a replica has, a new promotion is in force on it.
        promote(&servers[1], &RULES.replace("5}}", "55}}"));
        soon("the promoted rules", || servers.iter().all(|server| promoted(server) == "55"));
    }
}

#[test]
fn changes_are_shared_in_a_cluster_and_over_a_failover_of_its_node() {
    let Some(kind) = Kind::any() else { return };
    let mut cluster = Cluster::start(kind);
    let servers = [replica(RULES, &cluster.url(), &[]), replica(RULES, &cluster.url(), &[])];
    set(&servers[0], "7");
    soon("the setting", || value_of(&servers[1]) == "7");
    let slot = tidegate::engine_link::slot_of("tg1:{changes}");
    let node = usize::from(slot) / (16_384 / 3 + 1);
    cluster.nodes[node].kill();
    for server in &servers {
        server.log_until("the store is down");
    }
    let (code, ..) = operate(&servers[1], &["settings", "set", "--rule", "api.user", "requests_per_unit", "8"]);
    assert_eq!(code, Some(0));
    eventually("the setting by another node", || value_of(&servers[0]) == "8");
}
