//! `--access`: which client may check which domains, by the names in its certificate.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::tls::flags;
use crate::TestServer;
use crate::server::certificates::{ca, issue, issue_client};
use crate::server::{command, eventually, http, rules_in, run};

/// Two domains.
const RULES: &str = "
domain: shop
descriptors: [{key: k, rate_limit: {unit: year, requests_per_unit: 1000}}]
";
const BANK: &str = "
domain: bank
descriptors: [{key: k, rate_limit: {unit: year, requests_per_unit: 1000}}]
";

const ACCESS: &str = r#"
clients:
  - {san: "spiffe://cluster.local/ns/shop/*", domains: [shop]}
  - {san: "DNS:gw.example.org", domains: ["*"]}
"#;

/// A directory with the certificates of a server and of some clients, and the file of `--access`.
fn prepare() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let own = ca(dir.path(), "ours");
    issue(dir.path(), "server", &own, "127.0.0.1", 2100);
    for (name, names) in [
        ("cart", &["spiffe://cluster.local/ns/shop/sa/cart"][..]),
        ("teller", &["spiffe://cluster.local/ns/bank/sa/teller", "teller.example.org"]),
        ("gateway", &["gw.example.org"]),
        ("nameless", &[]),
    ] {
        issue_client(dir.path(), name, &own, names);
    }
    fs::write(dir.path().join("access.yaml"), ACCESS).unwrap();
    fs::create_dir(dir.path().join("rules")).unwrap();
    fs::write(dir.path().join("rules/shop.yaml"), RULES).unwrap();
    fs::write(dir.path().join("rules/bank.yaml"), BANK).unwrap();
    dir
}

fn server_flags(dir: &Path) -> Vec<String> {
    let path = |name: &str| dir.join(name).display().to_string();
    let flags = [
        ("--grpc-tls-cert", "server.pem"),
        ("--grpc-tls-key", "server.key"),
        ("--grpc-tls-client-ca", "ours.pem"),
        ("--access", "access.yaml"),
    ];
    flags.into_iter().flat_map(|(flag, name)| [flag.to_owned(), path(name)]).collect()
}

fn start(dir: &Path) -> TestServer {
    let flags = server_flags(dir);
    TestServer::start_file(&dir.join("rules"), &flags.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The exit status of one check, and what was printed.
fn ask(server: &TestServer, dir: &Path, client: &str, domain: &str) -> (Option<i32>, String) {
    let flags = flags(dir, "ours", Some((client, client)));
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let address = format!("https://{}", server.grpc);
    let line = ["ask", "--addr", &address, "--domain", domain, "--descriptor", "k=v"];
    let (status, out, err) = run(&[&line[..], &flags].concat(), "");
    (status, out + &err)
}

#[test]
fn each_client_checks_its_own_domains() {
    let dir = prepare();
    let server = start(dir.path());
    let allowed = [
        ("cart", "shop", true),
        ("cart", "bank", false),
        ("cart", "nowhere", false),
        ("teller", "shop", false),
        ("teller", "bank", false),
        ("gateway", "shop", true),
        ("gateway", "bank", true),
        ("gateway", "nowhere", true),
        ("nameless", "shop", false),
    ];
    for (client, domain, is_allowed) in allowed {
        let (status, said) = ask(&server, dir.path(), client, domain);
        assert_eq!(status == Some(0), is_allowed, "{client} checks {domain}: {said}");
        if !is_allowed {
            assert_eq!(status, Some(2), "{said}");
            assert!(said.contains("this client may not check this domain"), "{said}");
            let other = if domain == "shop" { "bank" } else { "shop" };
            assert!(!said.contains(other), "nothing about others: {said}");
        }
    }
    let (_, metrics) = http(&server.http, "GET", "/metrics", b"");
    let denied: Vec<_> =
        metrics.lines().filter(|line| line.starts_with("tidegate_access_denied_checks_total{")).collect();
    let expected = [
        r#"tidegate_access_denied_checks_total{domain="bank"} 2"#,
        r#"tidegate_access_denied_checks_total{domain="other"} 1"#,
        r#"tidegate_access_denied_checks_total{domain="shop"} 2"#,
    ];
    assert_eq!(denied, expected);
    let log = server.log().join("\n");
    let rejected = "a client checked a domain that the file of --access does not give it";
    assert_eq!(log.matches(rejected).count(), 1, "once a minute: {log}");
    assert!(log.contains("spiffe://cluster.local/ns/shop/sa/cart"), "{log}");
    // Callers of /json have no certificate with a name.
    assert_eq!(http(&server.http, "POST", "/json", br#"{"domain": "shop"}"#).0, 404);
}

#[test]
fn a_changed_file_takes_effect_and_a_broken_one_does_not() {
    let dir = prepare();
    let server = start(dir.path());
    let may = |client: &str, domain: &str| ask(&server, dir.path(), client, domain).0 == Some(0);
    assert!(may("cart", "shop") && !may("teller", "bank"));
    let path = dir.path().join("access.yaml");
    fs::write(&path, ACCESS.replace("ns/shop", "ns/bank").replace("[shop]", "[bank]")).unwrap();
    eventually("the teller", || may("teller", "bank"));
    assert!(!may("cart", "shop"), "who was removed has no access any more");
    fs::write(&path, "clients:\n- {san: '*', domains: [shop]}").unwrap();
    eventually("the file is outdated", || {
        http(&server.http, "GET", "/metrics", b"").1.contains("\ntidegate_access_outdated 1\n")
    });
    assert!(may("teller", "bank"), "those before are in force");
    let log = server.log().join("\n");
    assert!(log.contains("the clients cannot be loaded") && log.contains("line 2: 'san'"), "{log}");
}

#[test]
fn a_file_that_cannot_be_used_ends_the_start() {
    let dir = prepare();
    let end = |flags: &[String]| {
        let rules = rules_in(&dir, RULES);
        let output = command(&rules, &flags.iter().map(String::as_str).collect::<Vec<_>>());
        let output = { output }.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    fs::write(dir.path().join("access.yaml"), "clients:\n- {san: gw, domains: [shop]}").unwrap();
    let (code, said) = end(&server_flags(dir.path()));
    assert!(code == Some(1) && said.contains("--access") && said.contains("line 2: 'san' is neither"), "{said}");
    fs::remove_file(dir.path().join("access.yaml")).unwrap();
    let (code, said) = end(&server_flags(dir.path()));
    assert!(code == Some(1) && said.contains("No such file"), "{said}");
    // Without certificates nobody would have a name.
    let (code, said) = end(&server_flags(dir.path())[6..]);
    assert!(code == Some(2) && said.contains("--grpc-tls-client-ca"), "{said}");
}
