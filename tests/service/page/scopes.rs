//! Who may see what: each endpoint with each kind of token, and nothing of another domain.

use std::fmt::Write;

use serde_json::Value;
use tempfile::TempDir;

use super::{Events, check, get, get_json, number};
use crate::TestServer;
use crate::server::{command, eventually, run};

/// Two domains, of which the second one has names that the first one must not show.
const API: &str = "domain: api
descriptors:
- {key: user, rate_limit: {unit: hour, requests_per_unit: 2}}
alerts: [{name: own-alert, denials: 1, window: 1h}]
usage: {by: [user]}
";
const SHOP: &str = "domain: secret-shop
enabled: false
descriptors:
- {key: customer, rate_limit: {unit: hour, requests_per_unit: 11}}
alerts: [{name: shop-alert, denials: 1, window: 1h}]
usage: {by: [customer]}
";
const VAULT: &str = "domain: vault
descriptors:
- {key: teller, rate_limit: {unit: hour, requests_per_unit: 1, ban: {for: 1h, when: exceeded}}}
alerts: [{name: vault-alert, denials: 1, window: 1h}]
";

/// A server with tokens: name, role, domains (none: all).
pub(super) struct Guarded {
    pub(super) server: TestServer,
    tokens: Vec<(&'static str, String)>,
    dir: TempDir,
}

const TOKENS: [(&str, &str, &[&str]); 5] = [
    ("watcher", "observer", &["api"]),
    ("operator", "operator", &["api"]),
    ("two", "operator", &["api", "vault"]),
    ("everywhere", "observer", &[]),
    ("root", "admin", &[]),
];

impl Guarded {
    pub(super) fn start(flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (mut file, mut tokens) = ("tokens:\n".to_owned(), Vec::new());
        for (name, role, domains) in TOKENS {
            let mut args = vec!["token", "new", "--name", name, "--role", role];
            args.extend(domains.iter().flat_map(|domain| ["--domain", domain]));
            let (status, out, _) = run(&args, "");
            assert_eq!(status, Some(0));
            let (token, line) = out.trim_end().split_once('\n').unwrap();
            writeln!(file, "{line}").unwrap();
            tokens.push((name, token.to_owned()));
        }
        let path = dir.path().join("tokens.yaml");
        std::fs::write(&path, file).unwrap();
        let rules = dir.path().join("rules");
        std::fs::create_dir(&rules).unwrap();
        for (name, text) in [("api.yaml", API), ("shop.yaml", SHOP), ("vault.yaml", VAULT)] {
            std::fs::write(rules.join(name), text).unwrap();
        }
        let tokens_flag = ["--admin-tokens", path.to_str().unwrap()];
        let server = TestServer::spawn(
            tempfile::tempdir().unwrap(),
            command(rules.to_str().unwrap(), &[&tokens_flag, flags].concat()),
        );
        Self { server, tokens, dir }
    }

    pub(super) fn token(&self, name: &str) -> &str {
        &self.tokens.iter().find(|(known, _)| *known == name).unwrap().1
    }

    fn bearer(&self, name: &str) -> String {
        format!("authorization: Bearer {}\r\n", self.token(name))
    }

    /// Some checks of each domain, some of them denied.
    pub(super) fn load(&self) {
        for _ in 0..4 {
            check(&self.server, "api", "user", "ann");
            check(&self.server, "vault", "teller", "bob");
        }
        for _ in 0..7 {
            check(&self.server, "secret-shop", "customer", "quux");
        }
    }
}

const OBSERVERS: [&str; 4] = ["/api/v1/status", "/api/v1/usage", "/api/v1/usage/events", "/api/v1/alerts"];
const OPERATORS: [&str; 3] = ["/api/v1/settings", "/api/v1/counters", "/api/v1/candidate"];

fn status(guarded: &Guarded, path: &str, headers: &str) -> u16 {
    if path.starts_with("/api/v1/usage/events") {
        let query = path.strip_prefix("/api/v1/usage/events").unwrap();
        return Events::open(&guarded.server, query, headers).status;
    }
    get(&guarded.server, path, headers).0
}

#[test]
fn endpoints_roles_and_domains() {
    let guarded = Guarded::start(&[]);
    guarded.load();
    for path in OBSERVERS.iter().chain(&OPERATORS) {
        assert_eq!(status(&guarded, path, ""), 401, "{path} without a token");
    }
    for path in ["/", "/dashboard/main.js", "/dashboard/style.css"] {
        assert_eq!(status(&guarded, path, ""), 200, "{path} has no data");
    }
    assert!(get(&guarded.server, "/", "").2.contains("data-token=\"needed\""));
    assert_eq!(get(&guarded.server, "/api/v1/other", &guarded.bearer("everywhere")).0, 403, "not a role that may");
    for (name, role, own) in TOKENS {
        let bearer = guarded.bearer(name);
        for path in OBSERVERS.iter().chain(&OPERATORS) {
            let by_role = OBSERVERS.contains(path) || role != "observer";
            // A token with several domains names one, where one is asked about.
            let needs_one =
                ["/api/v1/usage", "/api/v1/usage/events", "/api/v1/counters"].contains(path) && own.len() > 1;
            let expected = if !by_role {
                403
            } else if needs_one {
                400
            } else {
                200
            };
            assert_eq!(status(&guarded, path, &bearer), expected, "{name}: {path}");
        }
        for (domain, known) in [("api", true), ("secret-shop", true), ("vault", true), ("nobody", false)] {
            for path in ["/api/v1/usage", "/api/v1/usage/events", "/api/v1/counters"] {
                let by_role = OBSERVERS.contains(&path) || role != "observer";
                let may = by_role && (own.is_empty() || own.contains(&domain));
                let expected = match (may, known) {
                    (false, _) => 403,
                    (true, true) => 200,
                    (true, false) => 400,
                };
                assert_eq!(
                    status(&guarded, &format!("{path}?domain={domain}"), &bearer),
                    expected,
                    "{name}: {path} of {domain}"
                );
            }
        }
    }
}

/// What a token of one domain reads contains no name, count or sum of another one.
#[test]
fn a_token_of_one_domain_sees_nothing_of_another() {
    let guarded = Guarded::start(&[]);
    guarded.load();
    let root = guarded.bearer("root");
    eventually("the notifications", || {
        get_json(&guarded.server, "/api/v1/alerts", &root).1["notifications"].as_array().unwrap().len() == 2
    });
    // A reload that fails in another domain's file.
    std::fs::write(guarded.dir.path().join("rules/shop.yaml"), "domain: secret-shop\ndescriptors: 7\n").unwrap();
    guarded.server.signal("HUP");
    eventually("the failed reload", || {
        get_json(&guarded.server, "/api/v1/status", &root).1["configuration"]["last_reload_failed"] == true
    });
    let operator = guarded.bearer("operator");
    let mut seen = String::new();
    for path in OBSERVERS.iter().chain(&OPERATORS).filter(|path| **path != "/api/v1/usage/events") {
        let (status, answer) = get_json(&guarded.server, path, &operator);
        assert_eq!(status, 200, "{path}: {answer}");
        writeln!(seen, "{path} {answer}").unwrap();
    }
    for path in ["/api/v1/alerts?domain=secret-shop", "/api/v1/settings?domain=secret-shop"] {
        let (_, answer) = get_json(&guarded.server, path, &operator);
        let empty = ["alerts", "notifications", "settings"]
            .iter()
            .all(|list| answer[list].as_array().is_none_or(Vec::is_empty));
        assert!(empty, "{path}: {answer}");
    }
    let mut events = Events::open(&guarded.server, "?interval=100ms", &operator);
    let event = events.until("the checks of its domain", |event| number(&event["total"]["requests"]) == 4);
    write!(seen, "{event}").unwrap();
    for foreign in ["secret-shop", "customer", "quux", "vault", "teller", "bob", "shop.yaml"] {
        assert!(!seen.contains(foreign), "{foreign}: {seen}");
    }
    for own in ["api.user", "ann", "own-alert"] {
        assert!(seen.contains(own), "{own}: {seen}");
    }
    let (_, status) = get_json(&guarded.server, "/api/v1/status", &operator);
    assert_eq!((&status["process"], &status["configuration"]["last_errors"]), (&Value::Null, &Value::Null));
    assert_eq!((&status["configuration"]["rules"], status["lifted"].as_array().unwrap().len()), (&1.into(), 0));
    assert_eq!(number(&event["total"]["unmatched"]), 0, "of no domain");
    let (_, all) = get_json(&guarded.server, "/api/v1/status", &root);
    assert!(all["process"].is_object() && all["lifted"].to_string().contains("secret-shop"), "{all}");
    assert!(all["configuration"]["last_errors"].to_string().contains("shop.yaml"), "{all}");
}
