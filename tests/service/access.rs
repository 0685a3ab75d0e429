//! Who may do what on the admin port, and what keeps strangers and browsers out.

use std::fmt::Write;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use tempfile::TempDir;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use tidegate::api::proto::tidegate::v1 as proto;
use tidegate::api::proto::tidegate::v1::admin_service_client::AdminServiceClient;
use tidegate::api::proto::tidegate::v1::usage_service_client::UsageServiceClient;

use crate::TestServer;
use crate::server::{DEADLINE, command, connect, eventually, http, rules_in, run};

const RULES: &str = "domain: api
descriptors:
- {key: user, rate_limit: {unit: hour, requests_per_unit: 7}}
---
";
const OTHER: &str = "domain: secret-shop
descriptors:
- {key: customer, rate_limit: {unit: hour, requests_per_unit: 11}}
";

/// A server with a token for each row: name, role, domain (empty: all).
struct Guarded {
    server: TestServer,
    tokens: Vec<(&'static str, String)>,
    dir: TempDir,
}

const TOKENS: [(&str, &str, &str); 5] = [
    ("watcher", "observer", "api"),
    ("operator", "operator", "api"),
    ("local-admin", "admin", "api"),
    ("root", "admin", ""),
    ("everywhere", "observer", ""),
];

impl Guarded {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (mut file, mut tokens) = ("tokens:\n".to_owned(), Vec::new());
        for (name, role, domain) in TOKENS {
            let (token, line) = new_token(name, role, domain);
            writeln!(file, "{line}").unwrap();
            tokens.push((name, token));
        }
        let path = dir.path().join("tokens.yaml");
        std::fs::write(&path, file).unwrap();
        let rules = dir.path().join("rules");
        std::fs::create_dir(&rules).unwrap();
        std::fs::write(rules.join("api.yaml"), RULES.trim_end_matches("---\n")).unwrap();
        std::fs::write(rules.join("shop.yaml"), OTHER).unwrap();
        let server = TestServer::start_file(&rules, &["--admin-tokens", path.to_str().unwrap()]);
        Self { server, tokens, dir }
    }

    fn token(&self, name: &str) -> &str {
        &self.tokens.iter().find(|(known, _)| *known == name).unwrap().1
    }

    fn check(&self, domain: &str, key: &str) {
        let body =
            format!(r#"{{"domain": "{domain}", "descriptors": [{{"entries": [{{"key": "{key}", "value": "v"}}]}}]}}"#);
        assert_eq!(http(&self.server.http, "POST", "/json", body.as_bytes()).0, 200);
    }

    /// The status and the body of a page of the admin port.
    fn page(&self, path: &str, headers: &str) -> (u16, String) {
        request(&self.server.admin, path, &format!("host: localhost\r\n{headers}"))
    }
}

pub(crate) fn new_token(name: &str, role: &str, domain: &str) -> (String, String) {
    let mut args = vec!["token", "new", "--name", name, "--role", role];
    if !domain.is_empty() {
        args.extend(["--domain", domain]);
    }
    let (status, out, _) = run(&args, "");
    assert_eq!(status, Some(0));
    let (token, line) = out.trim_end().split_once('\n').unwrap();
    (token.to_owned(), line.to_owned())
}

pub(super) fn request(address: &str, path: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nconnection: close\r\n{headers}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", MetadataValue::try_from(format!("Bearer {token}")).unwrap());
    request
}

fn filter(domain: &str) -> proto::UsageFilter {
    proto::UsageFilter { domain: domain.to_owned(), ..Default::default() }
}

fn scope(domain: &str, rule: &str) -> proto::SettingScope {
    let domain = if rule.is_empty() { domain.to_owned() } else { String::new() };
    proto::SettingScope { domain, rule: rule.to_owned(), ..Default::default() }
}

#[allow(clippy::too_many_lines, reason = "a table of calls")]
/// Every call, each with the code of its answer; `domain` is the one it is about, or empty for none.
async fn calls(channel: &Channel, token: &str, domain: &str) -> Vec<(&'static str, Code)> {
    let (mut admin, mut usage) = (AdminServiceClient::new(channel.clone()), UsageServiceClient::new(channel.clone()));
    let rule = match domain {
        "api" => "api.user",
        "secret-shop" => "secret-shop.customer",
        _ => "",
    };
    let key = if domain == "api" { "user" } else { "customer" };
    let entries = vec![proto::Entry { key: key.to_owned(), value: "v".to_owned() }];
    let hour = Some(prost_types::Duration { seconds: 3600, nanos: 0 });
    let (domain_text, rule_text) = (domain.to_owned(), rule.to_owned());
    let name = "enabled".to_owned();
    let mut codes = Vec::new();
    let mut note = |call, status: Result<(), Status>| {
        if let Err(status) = &status {
            let names = ["secret-shop", "customer", "11"];
            let foreign = domain != "secret-shop" && names.iter().any(|name| status.message().contains(name));
            assert!(!foreign, "{call}: {status}");
        }
        codes.push((call, status.err().map_or(Code::Ok, |status| status.code())));
    };
    macro_rules! call {
        ($name:literal, $client:ident . $method:ident ($message:expr)) => {
            note($name, $client.$method(with_token($message, token)).await.map(drop));
        };
    }
    call!(
        "WatchUsage",
        usage.watch_usage(proto::WatchUsageRequest { filter: Some(filter(domain)), ..Default::default() })
    );
    call!("WatchDenials", usage.watch_denials(proto::WatchDenialsRequest { filter: Some(filter(domain)), recent: 0 }));
    call!(
        "QueryUsage",
        usage.query_usage(proto::QueryUsageRequest { filter: Some(filter(domain)), ..Default::default() })
    );
    call!(
        "ListLimits",
        admin.list_limits(proto::ListLimitsRequest { domain: domain_text.clone(), entries: entries.clone() })
    );
    call!("ListSettings", admin.list_settings(proto::ListSettingsRequest::default()));
    call!(
        "GetSetting",
        admin.get_setting(proto::GetSettingRequest { scope: Some(scope(domain, "")), name: name.clone() })
    );
    call!(
        "GetSetting rule",
        admin.get_setting(proto::GetSettingRequest { scope: Some(scope(domain, rule)), name: name.clone() })
    );
    let set = proto::SetSettingRequest {
        scope: Some(scope(domain, rule)),
        name: name.clone(),
        value: "true".to_owned(),
        ..Default::default()
    };
    call!("SetSetting", admin.set_setting(set));
    let unset = proto::UnsetSettingRequest { scope: Some(scope(domain, rule)), name, reason: String::new() };
    call!("UnsetSetting", admin.unset_setting(unset));
    call!(
        "ListCounters",
        admin.list_counters(proto::ListCountersRequest { domain: domain_text.clone(), ..Default::default() })
    );
    let ban = proto::BanCounterRequest {
        rule: rule_text.clone(),
        entries: entries.clone(),
        r#for: hour,
        reason: String::new(),
    };
    call!("BanCounter", admin.ban_counter(ban));
    call!(
        "UnbanCounters",
        admin.unban_counters(proto::UnbanCountersRequest { rule: rule_text.clone(), ..Default::default() })
    );
    call!("ResetCounters", admin.reset_counters(proto::ResetCountersRequest { rule: rule_text, ..Default::default() }));
    let domains = Some(domain_text.clone()).filter(|domain| !domain.is_empty()).into_iter().collect();
    call!("RecordChecks", admin.record_checks(proto::RecordChecksRequest { domains, ..Default::default() }));
    call!("Explain", admin.explain(proto::ExplainRequest { domain: domain_text, entries, hits: 1 }));
    call!("GetCandidate", admin.get_candidate(proto::GetCandidateRequest {}));
    let files = vec![proto::ConfigFile { name: "a.yaml".to_owned(), content: RULES.trim_end_matches("---\n").into() }];
    call!("StartCandidate", admin.start_candidate(proto::StartCandidateRequest { files, merge_domains: false }));
    call!("StopCandidate", admin.stop_candidate(proto::StopCandidateRequest {}));
    call!("PromoteCandidate", admin.promote_candidate(proto::PromoteCandidateRequest {}));
    call!("ListAudit", admin.list_audit(proto::ListAuditRequest::default()));
    codes
}

/// Each role, each call, its own domain, a foreign one and none.
#[tokio::test]
async fn roles_calls_and_domains() {
    let guarded = Guarded::start();
    guarded.check("api", "user");
    guarded.check("secret-shop", "customer");
    let channel = connect(&guarded.server.admin).await;
    let observing = ["WatchUsage", "WatchDenials", "QueryUsage", "ListLimits"];
    let of_all = ["StartCandidate", "StopCandidate", "PromoteCandidate"];
    for (name, role, own) in TOKENS {
        for domain in ["api", "secret-shop"] {
            for (call, code) in calls(&channel, guarded.token(name), domain).await {
                let by_role = match role {
                    "observer" => observing.contains(&call),
                    "operator" => call != "ListAudit",
                    _ => true,
                };
                let about_domain = !["ListSettings", "GetCandidate", "ListAudit"].contains(&call);
                let everywhere = of_all.contains(&call);
                let by_domain = own.is_empty() || (!everywhere && (!about_domain || own == domain));
                let expected = match (by_role && by_domain, call) {
                    (false, _) => Code::PermissionDenied,
                    // None runs any more.
                    (true, "PromoteCandidate") => Code::FailedPrecondition,
                    (true, _) => Code::Ok,
                };
                assert_eq!(code, expected, "{name} ({role}, {own:?}): {call} of {domain}");
            }
        }
    }
}

/// What a token of one domain reads contains nothing of another one.
#[tokio::test]
async fn a_token_of_one_domain_sees_nothing_of_another() {
    let guarded = Guarded::start();
    guarded.check("api", "user");
    for _ in 0..3 {
        guarded.check("secret-shop", "customer");
    }
    let channel = connect(&guarded.server.admin).await;
    let mut admin = AdminServiceClient::new(channel.clone());
    let mut usage = UsageServiceClient::new(channel);
    let shop = proto::SetSettingRequest {
        scope: Some(scope("secret-shop", "")),
        name: "enabled".into(),
        value: "true".into(),
        ..Default::default()
    };
    admin.set_setting(with_token(shop, guarded.token("root"))).await.unwrap();
    let own = proto::SetSettingRequest {
        scope: Some(scope("api", "")),
        name: "enabled".into(),
        value: "true".into(),
        ..Default::default()
    };
    admin.set_setting(with_token(own, guarded.token("root"))).await.unwrap();
    let token = guarded.token("local-admin");
    let mut seen = String::new();
    let audit = admin.list_audit(with_token(proto::ListAuditRequest::default(), token)).await.unwrap().into_inner();
    assert_eq!(audit.entries.len(), 1, "the change of its own domain: {audit:?}");
    write!(seen, "{audit:?}").unwrap();
    let reports =
        usage.watch_usage(with_token(proto::WatchUsageRequest { top: 10, ..Default::default() }, token)).await.unwrap();
    let report = reports.into_inner().message().await.unwrap().unwrap();
    assert_eq!(report.total.unwrap().num_requests, 1, "of its own domain");
    write!(seen, "{:?}{:?}", report.rules, report.counters).unwrap();
    write!(seen, "{:?}", admin.list_settings(with_token(proto::ListSettingsRequest::default(), token)).await.unwrap())
        .unwrap();
    let counters =
        admin.list_counters(with_token(proto::ListCountersRequest::default(), token)).await.unwrap().into_inner();
    assert_eq!((counters.counters.len(), counters.total, counters.searched), (1, 0, 0));
    write!(seen, "{counters:?}").unwrap();
    for path in ["/metrics", "/rlconfig", "/limits?domain=api"] {
        let (status, page) = guarded.page(path, &format!("authorization: Bearer {token}\r\n"));
        assert_eq!(status, 200, "{path}");
        assert!(page.contains("api"), "{path}: {page}");
        seen.push_str(&page);
    }
    let (status, page) = guarded.page("/limits?domain=secret-shop", &format!("authorization: Bearer {token}\r\n"));
    assert_eq!(status, 403, "{page}");
    assert!(!seen.contains("shop") && !seen.contains("customer"), "{seen}");
    let (_, all) = guarded.page("/metrics", &format!("authorization: Bearer {}\r\n", guarded.token("root")));
    assert!(all.contains("secret-shop") && all.contains("tidegate_build_info"));
}

/// Without a valid token there is nothing but the probes; failures are counted, logged and limited, and do not lock anybody out.
#[tokio::test]
async fn callers_without_a_token_see_only_the_probes() {
    let guarded = Guarded::start();
    for (path, expected) in [("/livez", 200), ("/readyz", 200), ("/metrics", 401), ("/rlconfig", 401), ("/other", 401)]
    {
        assert_eq!(guarded.page(path, "").0, expected, "{path}");
    }
    let (_, answer) = guarded.page("/metrics", "");
    assert!(answer.to_lowercase().contains("www-authenticate: bearer"), "{answer}");
    let wrong = "tidegate_0123456789-wrong";
    let channel = connect(&guarded.server.admin).await;
    let mut admin = AdminServiceClient::new(channel);
    let status = admin.list_settings(proto::ListSettingsRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    let codes: Vec<u16> =
        (0..30).map(|_| guarded.page("/metrics", &format!("authorization: Bearer {wrong}\r\n")).0).collect();
    assert!(codes.contains(&401) && codes.ends_with(&[429]), "{codes:?}");
    let status = admin.list_settings(with_token(proto::ListSettingsRequest::default(), wrong)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let good = guarded.token("root");
    assert_eq!(
        guarded.page("/metrics", &format!("authorization: Bearer {good}\r\n")).0,
        200,
        "who has a token gets in"
    );
    let (_, metrics) = guarded.page("/metrics", &format!("authorization: Bearer {good}\r\n"));
    assert!(metrics.contains("tidegate_admin_rejected_total{reason=\"unknown_token\"} 31"), "{metrics}");
    let log = guarded.server.log().join("\n");
    assert!(log.contains("127.0.0.1") && log.contains("rejected a request with an unknown token"), "{log}");
    assert!(log.matches("rejected a request").count() <= 20, "the log is bounded");
    for secret in [wrong, good] {
        assert!(!log.contains(secret), "no token in the log");
    }
}

/// A token that is removed from the file ends; the new one is valid; both without a restart.
#[test]
fn a_changed_file_takes_effect() {
    let guarded = Guarded::start();
    let old = guarded.token("root").to_owned();
    let (new, line) = new_token("other", "observer", "");
    let path = guarded.dir.path().join("tokens.yaml");
    std::fs::write(&path, format!("tokens:\n{line}\n")).unwrap();
    let page = |token: &str| guarded.page("/metrics", &format!("authorization: Bearer {token}\r\n")).0;
    eventually("the new token is valid", || page(&new) == 200);
    assert_ne!(page(&old), 200);
    std::fs::write(&path, "tokens: broken").unwrap();
    let outdated = "tidegate_admin_tokens_outdated 1";
    eventually("the file is outdated", || {
        guarded.page("/metrics", &format!("authorization: Bearer {new}\r\n")).1.contains(outdated)
    });
    assert_eq!(page(&new), 200, "those before are in force");
}

/// The commands send their token, and the audit log names it.
#[test]
fn the_commands_send_their_token() {
    let guarded = Guarded::start();
    let file = guarded.dir.path().join("token");
    let address = format!("http://{}", guarded.server.admin);
    let as_bearer = |token: &str, args: &[&str]| {
        std::fs::write(&file, format!("{token}\n")).unwrap();
        let connection = ["--admin-addr", &address, "--token-file", file.to_str().unwrap()];
        run(&[args, &connection].concat(), "")
    };
    let set = ["settings", "set", "--rule", "api.user", "requests_per_unit", "9"];
    let (status, _, error) = as_bearer(guarded.token("watcher"), &set);
    assert_eq!(status, Some(1));
    assert!(error.contains("operator is needed"), "{error}");
    assert_eq!(as_bearer(guarded.token("operator"), &set).0, Some(0));
    let (status, audit, _) = as_bearer(guarded.token("root"), &["audit"]);
    assert_eq!(status, Some(0));
    assert!(audit.contains("operator"), "{audit}");
}

/// Names other than those of this server are rejected, over HTTP/1 and HTTP/2: a page could have them resolve to it.
#[tokio::test]
async fn a_foreign_host_is_rejected() {
    let server = TestServer::start(OTHER, &["--admin-host", "ops.example.org"]);
    let status = |host: &str| request(&server.admin, "/rlconfig", &format!("host: {host}\r\n")).0;
    for (host, expected) in [
        ("127.0.0.1", 200),
        ("[::1]:8082", 200),
        ("localhost:1", 200),
        ("ops.example.org:8082", 200),
        ("evil.example.org", 403),
        ("localhost.example.org", 403),
    ] {
        assert_eq!(status(host), expected, "{host}");
    }
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", server.admin)).unwrap();
    let channel = endpoint.origin("http://evil.example.org".parse().unwrap()).connect().await.unwrap();
    let rejected =
        AdminServiceClient::new(channel).list_settings(proto::ListSettingsRequest::default()).await.unwrap_err();
    assert_eq!(rejected.code(), Code::PermissionDenied, "{rejected}");
}

/// A page whose name was made to resolve to this port could send a call of gRPC over HTTP/1.1, which the services would answer.
#[test]
fn calls_over_http1_have_the_same_guard() {
    let server = TestServer::start(OTHER, &[]);
    let answer = |host: &str, path: &str, content_type: &str| {
        let mut stream = TcpStream::connect(&server.admin).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: {content_type}\r\ncontent-length: 5\r\n\
             connection: close\r\n\r\n"
        );
        stream.write_all(&[head.as_bytes(), &[0; 5]].concat()).unwrap();
        let mut answer = Vec::new();
        let _reset = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    for path in [
        "/tidegate.v1.UsageService/WatchUsage",
        "/tidegate.v1.AdminService/ListLimits",
        "/grpc.health.v1.Health/Check",
        "/unknown",
    ] {
        let rejected = answer("evil.example.org", path, "application/grpc");
        assert!(rejected.contains("grpc-status: 7\r\n"), "{path}: {rejected}");
        let rejected = answer("evil.example.org", path, "text/plain");
        assert!(rejected.starts_with("HTTP/1.1 403 "), "{path}: {rejected}");
    }
    let answered = answer("localhost", "/tidegate.v1.AdminService/ListLimits", "application/grpc");
    assert!(answered.contains("secret-shop"), "the guard is what kept it back: {answered}");
}

/// Nothing is served to other machines unless a flag says who may use it.
#[test]
fn an_exposed_admin_port_needs_tokens_or_the_word() {
    let dir = tempfile::tempdir().unwrap();
    let rules = rules_in(&dir, OTHER);
    let output = command(&rules, &["--admin-addr", "0.0.0.0:0"]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && error.contains("--admin-tokens") && error.contains("--admin-open"), "{error}");
    drop(TestServer::start(OTHER, &["--admin-addr", "0.0.0.0:0", "--admin-open"]));
    let missing = command(&rules, &["--admin-tokens", "/nonexistent/tokens.yaml"]).output().unwrap();
    let error = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(!missing.status.success() && error.contains("--admin-tokens /nonexistent/tokens.yaml: "), "{error}");
}

/// `/json` can be switched off, and does not answer pages in browsers; metrics can have a port of their own.
#[test]
fn what_the_http_port_offers() {
    let server = TestServer::start(OTHER, &["--json", "off", "--metrics-addr", "127.0.0.1:0"]);
    let metrics = server.log().iter().find_map(|line| line.split_once(" metrics=").map(|(_, rest)| rest.to_owned()));
    let metrics = metrics.unwrap();
    let metrics = metrics.split_whitespace().next().unwrap();
    let status = |address: &str, path: &str| http(address, "GET", path, b"").0;
    assert_eq!(
        (status(&server.http, "/json"), status(&server.http, "/metrics"), status(&server.http, "/livez")),
        (404, 404, 200)
    );
    assert_eq!((status(metrics, "/json"), status(metrics, "/metrics"), status(metrics, "/readyz")), (404, 200, 200));
    let usual = TestServer::start(OTHER, &[]);
    for header in [
        "origin: https://evil.example.org\r\n",
        "origin: null\r\ncontent-type: text/plain\r\n",
        "sec-fetch-site: cross-site\r\n",
    ] {
        assert_eq!(request(&usual.http, "/json", &format!("host: localhost\r\n{header}")).0, 403, "{header}");
    }
}
