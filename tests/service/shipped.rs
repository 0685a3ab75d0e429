//! What comes with the program: starters, probes, completions, manual pages, and the facts of the build.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::process::Command;

use clap::CommandFactory;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate::cli::Cli;

use crate::TestServer;
use crate::server::certificates::{ca, issue};
use crate::server::{THREE_A_MINUTE, eventually, next_minute_if_late, run};

/// Each starter loads without a warning, and limits what its comment says.
#[test]
fn the_starters_limit_what_they_say() {
    next_minute_if_late();
    // The descriptor, and the hits that are admitted of it at once.
    for (case, domain, key, value, admitted) in [
        ("per-partner", "api", "partner", "globex", 100),
        ("per-partner", "api", "partner", "acme", 1000),
        ("per-user-tenant-node", "api", "user", "u1", 500),
        ("per-user-tenant-node", "api", "tenant", "acme", 3000),
        ("queue", "api", "client", "c1", 15),
        ("ban", "sign-in", "remote_address", "192.0.2.1", 10),
        ("headers", "api", "client", "c1", 30),
    ] {
        let (status, text, error) = run(&["init", case], "");
        assert_eq!((status, error.as_str()), (Some(0), ""), "{case}");
        assert_eq!(run(&["check", "--strict", "-"], &text).0, Some(0), "{case}");
        let server = TestServer::start(&text, &[]);
        let check = |hits: u32| {
            let entries = json!([{"key": key, "value": value}]);
            let body = json!({"domain": domain, "descriptors": [{"entries": entries}], "hitsAddend": hits});
            server.http("POST", "/json", body.to_string().as_bytes()).0
        };
        assert_eq!(check(admitted), 200, "{case}: {admitted} hits of {key}={value}");
        // A queue lets 100 more wait; what never fits is denied at once.
        let more = if case == "queue" { 200 } else { 1 };
        assert_eq!(check(more), 429, "{case}: {more} more of {key}={value}");
    }
}

/// A path or a query of its own is no way around the limit of a starter.
#[test]
fn the_reports_of_a_partner_are_counted_together() {
    next_minute_if_late();
    let (_, text, _) = run(&["init", "per-partner"], "");
    let server = TestServer::start(&text, &[]);
    let statuses: Vec<_> = (1..=11)
        .map(|report| {
            let path = format!("/v1/reports/{report}?page={report}");
            let entries = json!([{"key": "partner", "value": "p"}, {"key": "path", "value": path}]);
            let body = json!({"domain": "api", "descriptors": [{"entries": entries}]});
            server.http("POST", "/json", body.to_string().as_bytes()).0
        })
        .collect();
    assert_eq!(statuses, [[200; 10].as_slice(), &[429]].concat());
}

#[test]
fn init_writes_a_file_and_never_over_one() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("rules.yaml").to_string_lossy().into_owned();
    let (status, out, hint) = run(&["init", "ban", "--out", &path], "");
    assert_eq!((status, out.as_str()), (Some(0), ""));
    assert!(hint.contains(&format!("tidegate serve {path}")) && hint.contains("what Envoy needs"), "{hint}");
    let written = std::fs::read_to_string(&path).unwrap();
    let (status, _, error) = run(&["init", "queue", "--out", &path], "");
    assert!(status == Some(1) && error.contains("it is left as it is"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), written);
}

#[test]
fn health_follows_the_phases_of_the_server() {
    let mut server = TestServer::start(THREE_A_MINUTE, &["--drain", "10s"]);
    let address = format!("http://{}", server.grpc);
    let health = || run(&["health", "--addr", &address, "--timeout", "20s"], "");
    assert_eq!(health(), (Some(0), "SERVING\n".to_owned(), String::new()));
    server.signal("TERM");
    eventually("NOT_SERVING", || health() == (Some(1), "NOT_SERVING\n".to_owned(), String::new()));
    server.crash();
    let (status, out, error) = health();
    assert!(status == Some(1) && out.is_empty() && error.starts_with("error: "), "{error}");
}

#[test]
fn health_asks_over_a_unix_socket_and_over_tls() {
    let dir = TempDir::new().unwrap();
    let socket = format!("unix:{}", dir.path().join("grpc.sock").display());
    let _server = TestServer::start(THREE_A_MINUTE, &["--grpc-addr", &socket]);
    assert_eq!(run(&["health", "--addr", &socket], "").0, Some(0));
    let issuer = ca(dir.path(), "ours");
    issue(dir.path(), "server", &issuer, "127.0.0.1", 2100);
    let file = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let flags = ["--grpc-tls-cert", &file("server.pem"), "--grpc-tls-key", &file("server.key")];
    let server = TestServer::start(THREE_A_MINUTE, &flags);
    let address = format!("https://{}", server.grpc);
    assert_eq!(run(&["health", "--addr", &address, "--tls-ca", &file("ours.pem")], "").0, Some(0));
    assert_eq!(run(&["health", "--addr", &format!("http://{}", server.grpc)], "").0, Some(1), "without TLS");
}

#[test]
fn health_ends_when_nobody_answers() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let (status, _, error) = run(&["health", "--addr", &address, "--timeout", "100ms"], "");
    assert!(status == Some(1) && error.contains("no answer within 100ms"), "{error}");
}

#[test]
fn version_has_the_facts_of_the_build() {
    let (status, json, _) = run(&["version", "--json"], "");
    let facts: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((status, &facts["version"]), (Some(0), &json!(env!("CARGO_PKG_VERSION"))));
    for (key, part) in [("target", "-"), ("rustc", "rustc "), ("profile", "e")] {
        assert!(facts[key].as_str().unwrap().contains(part), "{key}: {facts}");
    }
    assert!(facts["features"].is_array() && facts.as_object().unwrap().contains_key("commit"), "{facts}");
    let (_, text, _) = run(&["version"], "");
    let first = format!("tidegate {}", env!("CARGO_PKG_VERSION"));
    assert!(text.starts_with(&first) && text.contains("\ncommit: "), "{text}");
    assert!(text.contains(&format!("\ntarget: {}\n", facts["target"].as_str().unwrap())), "{text}");
}

#[test]
fn completions_know_every_command() {
    let commands: Vec<_> = Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let (status, script, _) = run(&["completions", shell], "");
        assert_eq!(status, Some(0), "{shell}");
        for command in &commands {
            assert!(script.contains(command.as_str()), "{shell} does not complete {command}");
        }
    }
    let (_, script, _) = run(&["completions", "bash"], "");
    let asked =
        "COMP_WORDS=(tidegate ser); COMP_CWORD=1; _tidegate tidegate ser tidegate; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let output = Command::new("bash").args(["-c", &format!("{script}\n{asked}")]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "serve\n", "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn there_is_a_page_for_every_command() {
    fn add(command: &clap::Command, name: &str, names: &mut BTreeSet<String>) {
        names.insert(format!("{name}.1"));
        for below in command.get_subcommands() {
            add(below, &format!("{name}-{}", below.get_name()), names);
        }
    }
    let dir = TempDir::new().unwrap();
    let pages = dir.path().join("man1");
    assert_eq!(run(&["man", "--out", &pages.to_string_lossy()], "").0, Some(0));
    let mut expected = BTreeSet::new();
    add(&Cli::command(), "tidegate", &mut expected);
    let written: BTreeSet<_> =
        std::fs::read_dir(&pages).unwrap().map(|page| page.unwrap().file_name().into_string().unwrap()).collect();
    assert!(expected.is_subset(&written), "{:?} are missing", expected.difference(&written).collect::<Vec<_>>());
    let page = std::fs::read_to_string(pages.join("tidegate-serve.1")).unwrap();
    assert!(page.contains(".TH") && page.contains("grpc\\-addr"), "{page}");
    let (status, main, _) = run(&["man"], "");
    assert!(status == Some(0) && main.contains(".TH tidegate"), "{main}");
}
