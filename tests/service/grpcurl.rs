//! A real grpcurl, which knows the service only from what the server tells about itself.
//!
//! `GRPCURL_BIN` names it (`./test` installs one). Without it each test says `SKIPPED` and passes.

use std::env;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::process::Command;
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::tls::certificates;
use crate::server::TestServer;

const RULES: &str = r"
domain: partner-api
descriptors:
  - key: partner
    rate_limit: {name: per-partner, unit: year, requests_per_unit: 2}
";

const CHECK: &str = "envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

#[test]
fn both_grpc_ports_list_their_services() {
    let Some(bench) = Bench::open() else { return };
    let everywhere = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"];
    for (port, own) in [
        (bench.server.grpc_addr(), Some("envoy.service.ratelimit.v3.RateLimitService")),
        (bench.server.admin_addr(), Some("tidegate.v1.UsageService")),
    ] {
        let listed = bench.succeed(port, &["list"], &[]);
        for service in everywhere.into_iter().chain(own) {
            assert!(listed.lines().any(|line| line == service), "no {service} at {port}:\n{listed}");
        }
    }
}

#[test]
fn both_versions_of_reflection_answer_on_both_ports() {
    let Some(bench) = Bench::open() else { return };
    for version in ["v1", "v1alpha"] {
        let proto = REFLECTION.replace("VERSION", version);
        fs::write(bench.dir.path().join("reflection.proto"), proto).unwrap();
        let method = format!("grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let from = bench.dir.path().to_str().unwrap();
        let flags = ["-import-path", from, "-proto", "reflection.proto", "-d", r#"{"list_services":"*"}"#];
        for port in [bench.server.grpc_addr(), bench.server.admin_addr()] {
            let answer = bench.succeed(port, &[&method], &flags);
            assert!(answer.contains("grpc.health.v1.Health"), "{version} at {port}:\n{answer}");
        }
    }
}

#[test]
fn the_rate_limit_service_describes_itself() {
    let Some(bench) = Bench::open() else { return };
    let cases = [
        ("envoy.service.ratelimit.v3.RateLimitService", "rpc ShouldRateLimit"),
        (
            "envoy.service.ratelimit.v3.RateLimitRequest",
            "repeated .envoy.extensions.common.ratelimit.v3.RateLimitDescriptor descriptors",
        ),
        ("envoy.service.ratelimit.v3.RateLimitResponse.RateLimit", "unit_multiplier"),
        ("envoy.extensions.common.ratelimit.v3.RateLimitDescriptor", "is_negative_hits"),
    ];
    for (symbol, part) in cases {
        let described = bench.succeed(bench.server.grpc_addr(), &["describe", symbol], &[]);
        assert!(described.contains(part), "{symbol} without {part:?}:\n{described}");
    }
}

#[test]
fn a_check_is_answered_and_counted() {
    let Some(bench) = Bench::open() else { return };
    let check = json!({"domain": "partner-api", "descriptors": [{"entries": [{"key": "partner", "value": "acme"}]}]});
    for (code, remaining) in [("OK", 1), ("OK", 0), ("OVER_LIMIT", 0)] {
        let answer = bench.succeed(bench.server.grpc_addr(), &[CHECK], &["-emit-defaults", "-d", &check.to_string()]);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let status = &answer["statuses"][0];
        assert_eq!(answer["overallCode"], code, "{answer}");
        assert_eq!((&status["code"], &status["limitRemaining"]), (&json!(code), &json!(remaining)), "{answer}");
        let limit = &status["currentLimit"];
        assert_eq!(
            (&limit["name"], &limit["requestsPerUnit"], &limit["unit"]),
            (&json!("per-partner"), &json!(2), &json!("YEAR")),
            "{answer}"
        );
    }
}

#[test]
fn a_check_that_cannot_be_decided_is_rejected_with_its_reason() {
    let Some(bench) = Bench::open() else { return };
    let cases = [
        (json!({"domain": "", "descriptors": [{}]}), "InvalidArgument", "rate limit domain must not be empty"),
        (json!({"domain": "partner-api"}), "InvalidArgument", "rate limit descriptor list must not be empty"),
    ];
    for (check, code, message) in cases {
        let (success, output) = bench.call(bench.server.grpc_addr(), &[CHECK], &["-d", &check.to_string()]);
        assert!(!success && output.contains(code) && output.contains(message), "{check}:\n{output}");
    }
}

#[test]
fn usage_is_watched_without_proto_files() {
    let Some(bench) = Bench::open() else { return };
    let check = json!({"domain": "partner-api", "descriptors": [{"entries": [{"key": "partner", "value": "acme"}]}]});
    for _ in 0..3 {
        bench.succeed(bench.server.grpc_addr(), &[CHECK], &["-d", &check.to_string()]);
    }
    let question = json!({"filter": {"domain": "partner-api"}, "interval": "0.1s", "top": 1}).to_string();
    // The later flag wins: the stream has no end of its own.
    let flags = ["-max-time", "2", "-d", &question];
    let (_, output) = bench.call(bench.server.admin_addr(), &["tidegate.v1.UsageService/WatchUsage"], &flags);
    let reports = serde_json::Deserializer::from_str(&output).into_iter::<Value>().map_while(Result::ok);
    let reports: Vec<_> = reports.filter(|report| report["sequence"].is_string()).collect();
    assert!(reports.len() >= 2, "{output}");
    let counter = &reports[0]["counters"][0];
    assert_eq!(counter["entries"], json!([{"key": "partner", "value": "acme"}]), "{output}");
    let (allowed, denied) = (&counter["counts"]["numRequestsAllowed"], &counter["counts"]["numRequestsDenied"]);
    assert_eq!((allowed, denied), (&json!("2"), &json!("1")), "{output}");
    let (success, output) = bench.call(
        bench.server.admin_addr(),
        &["tidegate.v1.UsageService/WatchUsage"],
        &["-d", r#"{"interval":"0s"}"#],
    );
    assert!(!success && output.contains("InvalidArgument") && output.contains("100 ms"), "{output}");
}

#[test]
fn health_is_reported_on_both_ports() {
    let Some(bench) = Bench::open() else { return };
    for port in [bench.server.grpc_addr(), bench.server.admin_addr()] {
        for service in ["", "ratelimit"] {
            let question = json!({"service": service}).to_string();
            let answer = bench.succeed(port, &["grpc.health.v1.Health/Check"], &["-d", &question]);
            assert_eq!(serde_json::from_str::<Value>(&answer).unwrap(), json!({"status": "SERVING"}), "{service:?}");
        }
    }
    let (success, output) =
        bench.call(bench.server.grpc_addr(), &["grpc.health.v1.Health/Check"], &["-d", r#"{"service":"x"}"#]);
    assert!(!success && output.contains("NotFound"), "a service that is not there: {output}");
}

/// Both gRPC ports with mutual TLS: with a certificate, without one, and with one of another CA.
#[test]
fn both_grpc_ports_have_mutual_tls() {
    let dir = certificates();
    let file = |name: &str| dir.path().join(name).display().to_string();
    let mut flags = Vec::new();
    for port in ["grpc", "admin"] {
        let files = [("cert", "server.pem"), ("key", "server.key"), ("client-ca", "ours.pem")];
        flags.extend(files.iter().flat_map(|(kind, name)| [format!("--{port}-tls-{kind}"), file(name)]));
    }
    let Some(bench) = Bench::open_with(&flags.iter().map(String::as_str).collect::<Vec<_>>()) else { return };
    let (ca, of) = (file("ours.pem"), |name: &str| [file(&format!("{name}.pem")), file(&format!("{name}.key"))]);
    for port in [bench.server.grpc_addr(), bench.server.admin_addr()] {
        for (client, is_served) in [(Some("client"), true), (None, false), (Some("stranger"), false)] {
            let mut tls = vec!["-cacert", &ca];
            let identity = client.map(of);
            if let Some([cert, key]) = &identity {
                tls.extend(["-cert", cert, "-key", key]);
            }
            let (success, output) = bench.run(port, &["grpc.health.v1.Health/Check"], &tls);
            assert_eq!(success, is_served, "{client:?} at {port}:\n{output}");
            assert_eq!(output.contains("SERVING"), is_served, "{client:?} at {port}:\n{output}");
        }
    }
}

/// A server, and grpcurl to ask it with.
struct Bench {
    grpcurl: String,
    server: TestServer,
    dir: TempDir,
}

impl Bench {
    fn open() -> Option<Self> {
        Self::open_with(&[])
    }

    /// A server with these flags.
    fn open_with(flags: &[&str]) -> Option<Self> {
        let Some(grpcurl) = env::var("GRPCURL_BIN").ok().filter(|name| !name.is_empty()) else {
            let test = thread::current().name().unwrap_or_default().to_owned();
            let why = "GRPCURL_BIN is not set (./test sets it, or says why it cannot)";
            let _ = std::io::stderr().write_all(format!("SKIPPED: {test}: {why}\n").as_bytes());
            return None;
        };
        let dir = TempDir::new().unwrap();
        let config = dir.path().join("rules.yaml");
        fs::write(&config, RULES).unwrap();
        Some(Self { grpcurl, server: TestServer::start_file(&config, flags), dir })
    }

    fn succeed(&self, port: SocketAddr, what: &[&str], flags: &[&str]) -> String {
        let (success, output) = self.call(port, what, flags);
        assert!(success, "grpcurl {flags:?} {port} {what:?}:\n{output}");
        output
    }

    /// Whether it succeeded, and what it printed.
    fn call(&self, port: SocketAddr, what: &[&str], flags: &[&str]) -> (bool, String) {
        self.run(port, what, &[&["-plaintext"], flags].concat())
    }

    /// The same, over TLS unless the flags say otherwise.
    fn run(&self, port: SocketAddr, what: &[&str], flags: &[&str]) -> (bool, String) {
        let mut command = Command::new(&self.grpcurl);
        command.args(["-max-time", "10"]).args(flags).arg(port.to_string()).args(what);
        let output = command.output().unwrap_or_else(|error| panic!("{} does not run: {error}", self.grpcurl));
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text)
    }
}

/// As much of the reflection protocol as it takes to list services; grpcurl itself asks by the newest version only.
const REFLECTION: &str = r#"
syntax = "proto3";
package grpc.reflection.VERSION;
service ServerReflection {
  rpc ServerReflectionInfo(stream ServerReflectionRequest) returns (stream ServerReflectionResponse);
}
message ServerReflectionRequest { string list_services = 7; }
message ServerReflectionResponse { ListServiceResponse list_services_response = 6; }
message ListServiceResponse { repeated ServiceResponse service = 1; }
message ServiceResponse { string name = 1; }
"#;
