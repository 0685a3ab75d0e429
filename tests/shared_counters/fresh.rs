//! Counters that an operator makes fresh on one replica are fresh for all of them, because they are on the engine.

use tonic::transport::Channel;

use crate::engines::{Cluster, Engine, Kind};
use crate::operators::{change, operate, soon};
use crate::replicas::{ALGORITHMS, admitted, replica};
use crate::server::TestServer;

/// Those of [`ALGORITHMS`], and one that is leased.
const KEYS: [&str; 8] = ["plain", "first", "sliding", "log", "bucket", "ban", "several", "leased"];

fn rules() -> String {
    let leased = "- {key: leased, rate_limit: {unit: year, requests_per_unit: 25, sharing: leased}}\n";
    ALGORITHMS.to_owned() + leased
}

/// How many checks in a row are admitted, out of more than any limit allows.
async fn admitted_now(channel: &Channel, key: &str, value: &str) -> u32 {
    let mut count = 0;
    while count < 40 && admitted(channel, &[(key, value)]).await {
        count += 1;
    }
    count
}

fn of_counter<'a>(command: &'a str, rule: &'a str, entry: &'a [String]) -> Vec<&'a str> {
    let entries = entry.iter().flat_map(|entry| ["--entry", entry]);
    ["counters", command, "--rule", rule].into_iter().chain(entries).collect()
}

fn said(server: &TestServer, command: &str, key: &str, entry: &[String]) -> String {
    let rule = format!("api.{key}");
    let (code, stdout, stderr) = operate(server, &of_counter(command, &rule, entry));
    assert!(code == Some(0) && stderr.is_empty(), "{stdout}{stderr}");
    stdout
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_is_one_for_all_replicas() {
    for kind in Kind::installed() {
        let engine = Engine::start(kind);
        let servers = [replica(&rules(), &engine.url(), &[]), replica(&rules(), &engine.url(), &[])];
        let channels = [servers[0].channel().await, servers[1].channel().await];
        for key in KEYS {
            assert_eq!(admitted_now(&channels[1], key, "x").await, 25, "{kind:?}: {key}");
            assert!(!admitted(&channels[0], &[(key, "x")]).await, "{kind:?}: {key}");
            // On the one that has not counted it.
            let counters = if key == "several" { "2 counters" } else { "1 counter" };
            let of_key = [format!("{key}=x")];
            assert_eq!(said(&servers[0], "reset", key, &of_key).trim_end(), format!("reset {counters}"), "{key}");
            assert_eq!(said(&servers[0], "reset", key, &of_key).trim_end(), "reset 0 counters", "{key}");
            // The other one asks again after some seconds at most.
            for (place, channel) in channels.iter().enumerate() {
                crate::replicas::until_admitted(channel, &[(key, "x")]).await;
                let more = admitted_now(channel, key, "x").await;
                assert_eq!(more, 24, "{kind:?}: {key} on {place}");
                said(&servers[place], "reset", key, &of_key);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ban_of_a_limit_is_lifted_on_all_replicas() {
    for kind in Kind::installed() {
        let engine = Engine::start(kind);
        let servers = [replica(ALGORITHMS, &engine.url(), &[]), replica(ALGORITHMS, &engine.url(), &[])];
        let channels = [servers[0].channel().await, servers[1].channel().await];
        for value in ["x", "y"] {
            assert_eq!(admitted_now(&channels[0], "ban", value).await, 25);
            assert!(!admitted(&channels[1], &[("ban", value)]).await);
        }
        assert_eq!(admitted_now(&channels[0], "plain", "x").await, 25);
        // Only what is banned; the first by its name, the second because the replica knows it.
        assert_eq!(said(&servers[0], "unban", "plain", &[]).trim_end(), "lifted the ban of 0 counters");
        assert!(!admitted(&channels[0], &[("plain", "x")]).await);
        assert_eq!(said(&servers[1], "unban", "ban", &["ban=x".to_owned()]).trim_end(), "lifted the ban of 1 counter");
        assert!(admitted(&channels[1], &[("ban", "x")]).await, "{kind:?}");
        crate::replicas::until_admitted(&channels[0], &[("ban", "x")]).await;
        assert!(!admitted(&channels[1], &[("ban", "y")]).await);
        assert_eq!(said(&servers[0], "unban", "ban", &[]).trim_end(), "lifted the ban of 1 counter");
        crate::replicas::until_admitted(&channels[1], &[("ban", "y")]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_counters_of_a_rule_are_made_fresh_in_a_cluster() {
    let Some(kind) = Kind::any() else { return };
    let cluster = Cluster::start(kind);
    let server = replica(ALGORITHMS, &cluster.url(), &[]);
    let channel = server.channel().await;
    // More than one request has room for.
    for value in 0..300 {
        assert!(admitted(&channel, &[("plain", &value.to_string())]).await);
    }
    assert_eq!(said(&server, "reset", "plain", &[]).trim_end(), "reset 300 counters");
    let (_, listed, _) = operate(&server, &["counters", "list", "--shared", "--rule", "api.plain", "--json"]);
    let used = serde_json::from_str::<serde_json::Value>(&listed).unwrap();
    let used = used["counters"].as_array().map_or(0, Vec::len);
    assert_eq!(used, 0, "{listed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_engine_does_not_make_fresh_is_said() {
    let Some(kind) = Kind::any() else { return };
    let mut engine = Engine::start(kind);
    let server = replica(ALGORITHMS, &engine.url(), &[]);
    let channel = server.channel().await;
    assert_eq!(admitted_now(&channel, "first", "x").await, 25);
    let reset = ["counters", "reset", "--rule", "api.first", "--entry", "first=x"];
    let keys: Vec<String> = engine.run(&["KEYS", "tg1:*"]);
    let counter = keys.iter().find(|key| !key.contains("{changes}") && !key.contains("replicas")).unwrap();
    let value: String = engine.run(&["GET", counter]);
    engine.run::<()>(&["SET", counter, "foreign"]);
    let (code, stdout, stderr) = operate(&server, &reset);
    assert!(
        code == Some(0) && stderr.contains("values that are not ours under the keys of 1 of them"),
        "{stdout}{stderr}"
    );
    assert_eq!(engine.run::<String>(&["GET", counter]), "foreign");
    engine.run::<()>(&["SET", counter, &value]);
    engine.kill();
    server.log_until("the store is down");
    let (code, stdout, stderr) = operate(&server, &reset);
    assert!(code == Some(0) && stderr.contains("did not answer for 1 of them"), "{stdout}{stderr}");
    engine.restart();
    server.log_until("the store answers");
    soon("a reset", || operate(&server, &reset).2.is_empty());
    change(&server, &reset);
    assert_eq!(admitted_now(&channel, "first", "x").await, 25);
}
