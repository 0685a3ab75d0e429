//! What operators change while the service runs, through real gRPC on the admin port, and what checks are then answered.

mod bans;
mod candidate;
mod check_command;
mod counters;
mod crowded;
mod explain;
mod hostile;
mod kept;
mod load;
mod settings;

use std::path::Path;

use prost_types::Duration;
use tonic::Status;
use tonic::transport::Channel;

use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_response::Code;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use tidegate::api::proto::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use tidegate::api::proto::tidegate::v1::admin_service_client::AdminServiceClient;
use tidegate::api::proto::tidegate::v1::{
    Counter, Entry, ListCountersRequest, ListSettingsRequest, SetSettingRequest, SetSettingResponse, SettingScope,
    UnsetSettingRequest, UnsetSettingResponse,
};

use crate::TestServer;
use crate::server::{connect, eventually};

/// An operator and a client of one server.
#[derive(Clone)]
struct Operator {
    admin: AdminServiceClient<Channel>,
    checks: RateLimitServiceClient<Channel>,
}

/// What a check with one descriptor was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answer {
    ok: bool,
    /// The limit of the answer, and what is left of it; `None`: there is no limit.
    limit: Option<(u32, u32)>,
}

const fn admitted(limit: u32, remaining: u32) -> Answer {
    Answer { ok: true, limit: Some((limit, remaining)) }
}

const fn denied(limit: u32) -> Answer {
    Answer { ok: false, limit: Some((limit, 0)) }
}

const UNLIMITED: Answer = Answer { ok: true, limit: None };

impl Operator {
    async fn of(server: &TestServer) -> Self {
        let checks = RateLimitServiceClient::new(server.channel().await);
        Self { admin: AdminServiceClient::new(connect(&server.admin).await), checks }
    }

    /// Checks a descriptor, `key=value key=value`, of domain `api`.
    async fn check(&mut self, row: &str) -> Answer {
        answer_of(
            self.checks.should_rate_limit(check_of(row)).await.unwrap_or_else(|status| panic!("{row}: {status:?}")),
        )
    }

    /// Sets a value for a [`scope`].
    async fn set(&mut self, of: &str, name: &str, value: &str) -> Result<SetSettingResponse, Status> {
        self.admin.set_setting(setting(of, name, value)).await.map(tonic::Response::into_inner)
    }

    async fn unset(&mut self, of: &str, name: &str) -> Result<UnsetSettingResponse, Status> {
        let request = UnsetSettingRequest { scope: Some(scope(of)), name: name.to_owned(), reason: String::new() };
        self.admin.unset_setting(request).await.map(tonic::Response::into_inner)
    }

    /// Every setting in words, such as `rule api.user burst 5`, in the order of the server.
    async fn settings(&mut self) -> Vec<String> {
        let answer = self.admin.list_settings(ListSettingsRequest::default()).await.unwrap().into_inner();
        let words = answer.settings.into_iter().map(|setting| {
            let inactive = if setting.inactive.is_empty() { "" } else { " (inactive)" };
            let scope = words(&setting.scope.unwrap());
            format!("{scope} {} {}{inactive}", setting.name, setting.value).trim_start().to_owned()
        });
        words.collect()
    }

    /// All counters that match, of all pages.
    async fn counters(&mut self, filter: ListCountersRequest) -> Vec<Counter> {
        let mut request = ListCountersRequest { top: 1_000, ..filter };
        let mut found = Vec::new();
        loop {
            let page = self.admin.list_counters(request.clone()).await.unwrap().into_inner();
            found.extend(page.counters);
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return found;
            }
        }
    }
}

fn check_of(row: &str) -> RateLimitRequest {
    let entries = entries(row).into_iter().map(|Entry { key, value }| rate_limit_descriptor::Entry { key, value });
    let descriptors = vec![RateLimitDescriptor { entries: entries.collect(), ..Default::default() }];
    RateLimitRequest { domain: "api".to_owned(), descriptors, ..Default::default() }
}

fn answer_of(answer: tonic::Response<RateLimitResponse>) -> Answer {
    let answer = answer.into_inner();
    let status = &answer.statuses[0];
    let limit = status.current_limit.as_ref().map(|limit| (limit.requests_per_unit, status.limit_remaining));
    Answer { ok: answer.overall_code() == Code::Ok, limit }
}

/// The entries of `key=value key=value`.
fn entries(row: &str) -> Vec<Entry> {
    let pairs = row.split_whitespace().map(|entry| entry.split_once('=').unwrap());
    pairs.map(|(key, value)| Entry { key: key.to_owned(), value: value.to_owned() }).collect()
}

/// A scope in words: nothing, or `domain NAME` or `rule PATH`, with entries behind it: `rule api.user user=ann`.
fn scope(words: &str) -> SettingScope {
    let (kind, rest) = words.split_once(' ').unwrap_or((words, ""));
    let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let entries = entries(rest);
    match kind {
        "" => SettingScope::default(),
        "domain" => SettingScope { domain: name.to_owned(), entries, ..SettingScope::default() },
        "rule" => SettingScope { rule: name.to_owned(), entries, ..SettingScope::default() },
        _ => panic!("not a scope: {words}"),
    }
}

fn words(scope: &SettingScope) -> String {
    let target = match (&*scope.domain, &*scope.rule) {
        ("", "") => String::new(),
        ("", rule) => format!("rule {rule}"),
        (domain, _) => format!("domain {domain}"),
    };
    scope.entries.iter().fold(target, |words, Entry { key, value }| format!("{words} {key}={value}"))
}

fn setting(of: &str, name: &str, value: &str) -> SetSettingRequest {
    SetSettingRequest {
        scope: Some(scope(of)),
        name: name.to_owned(),
        value: value.to_owned(),
        ..SetSettingRequest::default()
    }
}

const fn seconds(seconds: i64) -> Duration {
    Duration { seconds, nanos: 0 }
}

/// The seed of what a test does at random: another one each time, or that of `TEST_SEED`.
fn seed() -> u64 {
    let seed = std::env::var("TEST_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    eprintln!("TEST_SEED={seed}");
    seed
}

/// Puts another configuration in the place of the server's, and waits until it is in force.
fn reload(server: &TestServer, rules: &str) {
    let before = server.metric("tidegate_config_generation");
    replace(&server.dir.path().join("rules.yaml"), rules);
    server.signal("HUP");
    eventually("the reload", || server.metric("tidegate_config_generation") > before);
}

/// Puts a file in the place of another, as one step.
fn replace(path: &Path, text: &str) {
    let other = path.with_extension("new");
    std::fs::write(&other, text).unwrap();
    std::fs::rename(other, path).unwrap();
}
