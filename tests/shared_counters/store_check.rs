//! `tidegate store check`, with good and unfit engines.

use serde_json::Value;

use crate::engines::{Cluster, Engine, Kind, Sentinels};
use crate::server::run;

fn check(url: &str, flags: &[&str]) -> (Option<i32>, String, String) {
    run(&[&["store", "check", url][..], flags].concat(), "")
}

#[test]
fn good_engines_of_every_kind_are_fit() {
    for kind in Kind::installed() {
        let engine = Engine::start(kind);
        let (code, stdout, stderr) = check(&engine.url(), &["--json"]);
        let object: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!((code, stderr.as_str(), &object["ok"]), (Some(0), "", &Value::Bool(true)), "{kind:?}: {stdout}");
        let version = format!("{} {}", object["nodes"][0]["server"], object["nodes"][0]["version"]);
        let expected = match kind {
            Kind::Redis7 => "\"redis\" \"7.",
            Kind::Redis8 => "\"redis\" \"8.",
            Kind::Valkey8 => "\"valkey\" \"8.",
            Kind::Valkey9 => "\"valkey\" \"9.",
        };
        assert!(version.starts_with(expected), "{kind:?}: {version}");
        let (code, stdout, _) = check(&engine.url(), &[]);
        assert!(code == Some(0) && stdout.ends_with("\nok\n"), "{kind:?}: {stdout}");
    }
}

#[test]
fn one_that_evicts_is_warned_about() {
    let Some(kind) = Kind::any() else { return };
    let engine = Engine::start_with(kind, &["--maxmemory-policy", "allkeys-lru"]);
    let (code, stdout, _) = check(&engine.url(), &[]);
    assert!(
        code == Some(0) && stdout.contains("  warning: it may drop counters (maxmemory_policy allkeys-lru"),
        "{stdout}"
    );
}

#[test]
fn a_wrong_password_is_an_error_that_does_not_show_it() {
    for kind in Kind::installed() {
        let engine = Engine::start_with(kind, &["--requirepass", "right"]);
        let at = |login: &str| check(&format!("redis://{login}{}", engine.address()), &[]);
        let (code, stdout, stderr) = at(":hunter2@");
        assert!(code == Some(1) && stderr.contains("the user or password is wrong"), "{kind:?}: {stderr}");
        assert!(!stdout.contains("hunter2") && !stderr.contains("hunter2"), "{kind:?}: {stderr}");
        let (code, _, stderr) = at("");
        assert!(code == Some(1) && stderr.contains("it demands a password"), "{kind:?}: {stderr}");
        assert_eq!(at(":right@").0, Some(0), "{kind:?}");
    }
}

#[test]
fn rights_that_are_missing_are_named() {
    for kind in Kind::installed() {
        let engine = Engine::start(kind);
        let rights = tidegate::engine_link::RIGHTS;
        let documented = include_str!("../../docs/SHARING.md").split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(documented.contains(rights), "docs/SHARING.md does not name {rights}");
        let user = |name: &str, keys: &str, without: &str| {
            let rights: Vec<_> = rights.split_whitespace().filter(|right| *right != without).collect();
            engine.run::<()>(&[&["ACL", "SETUSER", name, "on", ">secret", keys][..], &rights].concat());
            check(&format!("redis://{name}:secret@{}", engine.address()), &[])
        };
        let (code, stdout, stderr) = user("all", "~tg1:*", "");
        assert!(code == Some(0), "{kind:?}: {stdout}{stderr}");
        for (name, keys, without, named) in [
            ("evalsha", "~tg1:*", "+evalsha", "may not use EVALSHA"),
            ("incrby", "~tg1:*", "+incrby", "may not use INCRBY"),
            ("info", "~tg1:*", "+info", "may not use INFO"),
            ("set", "~tg1:*", "+set", "SET with PXAT"),
            ("rpop", "~tg1:*", "+rpop", "may not use EVAL "),
            ("zadd", "~tg1:*", "+zadd", "may not use ZADD"),
            ("zcard", "~tg1:*", "+zcard", "may not use ZCARD"),
            ("keys", "~other:*", "", "may not use EVAL "),
        ] {
            let (code, stdout, _) = user(name, keys, without);
            let says_it = stdout.contains(named) && stdout.contains(rights);
            assert!(code == Some(1) && says_it, "{kind:?}, {name}: {stdout}");
        }
    }
}

#[test]
fn a_master_behind_sentinels_and_all_of_a_cluster_are_examined() {
    let Some(kind) = Kind::any() else { return };
    let set = Sentinels::start(kind);
    let (code, stdout, stderr) = check(&set.url(), &[]);
    assert!(code == Some(0) && stdout.starts_with(&set.master.address()), "{stdout}{stderr}");
    let (code, stdout, stderr) = check(&set.replica.url(), &[]);
    assert!(code == Some(1) && stdout.contains("this node is a replica"), "{stdout}{stderr}");
    let cluster = Cluster::start(kind);
    let (code, stdout, stderr) = check(&cluster.url(), &["--json"]);
    let object: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, object["nodes"].as_array().map(Vec::len)), (Some(0), Some(3)), "{stdout}{stderr}");
}

#[test]
fn what_cannot_be_used_or_reached_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("url");
    std::fs::write(&file, "redis://u:hunter2@h\n").unwrap();
    for url in ["redis://u:hunter2@h", &format!("@{}", file.display())] {
        let (code, stdout, stderr) = check(url, &[]);
        assert!(code == Some(2) && stdout.is_empty() && stderr.contains("\"h\" is not HOST:PORT"), "{stderr}");
        assert!(!stderr.contains("hunter2"), "{stderr}");
    }
    let port = crate::server::ReservedPort::new();
    let (code, stdout, stderr) = check(&format!("redis://127.0.0.1:{}", port.port), &[]);
    assert!(code == Some(1) && stdout == "not ok\n" && stderr.contains("is the address right"), "{stdout}{stderr}");
}
