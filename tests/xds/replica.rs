//! `tidegate serve` with rules from a control plane, and checks on it.

use std::process::Command;

use tempfile::TempDir;
use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use tidegate::api::proto::envoy::service::ratelimit::v3::RateLimitRequest;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_response::Code;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;

use tonic::transport::Channel;

use crate::TestServer;
use crate::server::{binary, eventually};

/// Starts a server with the rules of the control plane, and waits until it listens.
pub(crate) fn serve(xds: &str, flags: &[&str]) -> TestServer {
    TestServer::spawn(tempfile::tempdir().unwrap(), command(xds, flags))
}

/// The same with a data directory, which outlives the server.
pub(crate) fn serve_with_state(xds: &str, state: &TempDir) -> TestServer {
    serve(xds, &["--data-dir", state.path().to_str().unwrap()])
}

pub(crate) fn command(xds: &str, flags: &[&str]) -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDEGATE_")) {
        command.env_remove(name);
    }
    command.args(["serve", "--xds", xds, "--xds-node-id", "test-node"]);
    for flag in ["--grpc-addr", "--http-addr", "--admin-addr"] {
        command.args([flag, "127.0.0.1:0"]);
    }
    command.args(flags);
    command
}

/// What a check gets: `OK`, `OVER_LIMIT`, or the error.
pub(crate) fn check(server: &TestServer, domain: &str, entries: &[(&str, &str)]) -> String {
    check_over(server.channel(), domain, entries)
}

/// The same over a channel.
pub(crate) fn check_over(channel: impl Future<Output = Channel>, domain: &str, entries: &[(&str, &str)]) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let entry = |(key, value): &(&str, &str)| Entry { key: (*key).to_owned(), value: (*value).to_owned() };
        let descriptor =
            RateLimitDescriptor { entries: entries.iter().map(entry).collect(), ..RateLimitDescriptor::default() };
        let request = RateLimitRequest { domain: domain.to_owned(), descriptors: vec![descriptor], hits_addend: 0 };
        let mut client = RateLimitServiceClient::new(channel.await);
        match client.should_rate_limit(request).await {
            Ok(response) => Code::try_from(response.into_inner().overall_code).unwrap().as_str_name().to_owned(),
            Err(status) => format!("{:?}: {}", status.code(), status.message()),
        }
    })
}

/// The limit of `key` in the domain, as `/rlconfig` shows it; none if it has none.
pub(crate) fn limit(server: &TestServer, rule: &str) -> Option<u32> {
    let (_, text) = crate::server::http(&server.admin, "GET", "/rlconfig", b"");
    let line = text.lines().find(|line| line.starts_with(&format!("{rule}: ")))?.to_owned();
    let (_, rest) = line.split_once("requests_per_unit=")?;
    Some(rest.split(',').next().unwrap().parse().unwrap())
}

/// Waits until the rule has this limit.
#[track_caller]
pub(crate) fn limit_becomes(server: &TestServer, rule: &str, expected: Option<u32>) {
    eventually(&format!("{rule} has the limit {expected:?}"), || limit(server, rule) == expected);
}

/// The status of a page of the public port.
pub(crate) fn health(server: &TestServer) -> u16 {
    server.http("GET", "/healthcheck", b"").0
}

/// A page of the admin port.
pub(crate) fn admin_page(server: &TestServer, path: &str) -> String {
    let (status, text) = crate::server::http(&server.admin, "GET", path, b"");
    assert_eq!(status, 200, "{text}");
    text
}
