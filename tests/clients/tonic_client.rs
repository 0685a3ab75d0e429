//! tonic.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::pb::v1;

use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use tidegate::api::proto::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};

use crate::commands::Client;
use crate::server::{DEADLINE, is_unsent};

/// A client on tonic, with threads of its own.
pub(crate) struct TonicClient {
    runtime: Runtime,
    channel: Channel,
    watch: Option<Streaming<HealthCheckResponse>>,
    /// How long to wait for the next state.
    timeout: Duration,
    held: Vec<JoinHandle<String>>,
    load: Vec<JoinHandle<Outcomes>>,
    is_stopping: Arc<AtomicBool>,
}

type Outcomes = BTreeMap<String, usize>;

impl TonicClient {
    pub(crate) fn connect(address: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let channel = {
            let _inside = runtime.enter();
            Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy()
        };
        let is_stopping = Arc::new(AtomicBool::new(false));
        Self { runtime, channel, watch: None, timeout: DEADLINE, held: Vec::new(), load: Vec::new(), is_stopping }
    }

    fn check(&self, message: RateLimitRequest, timeout_ms: Option<u64>) -> Result<RateLimitResponse, Status> {
        let mut request = Request::new(message);
        if let Some(timeout) = timeout_ms {
            request.set_timeout(Duration::from_millis(timeout));
        }
        let mut checks = RateLimitServiceClient::new(self.channel.clone());
        self.runtime.block_on(checks.should_rate_limit(request)).map(tonic::Response::into_inner)
    }

    fn health(&self, service: &str) -> String {
        let mut health = HealthClient::new(self.channel.clone());
        let answer = self.runtime.block_on(health.check(HealthCheckRequest { service: service.to_owned() }));
        answer.map_or_else(|status| code(&status), |answer| state(answer.into_inner()))
    }

    /// Its own timeout is only one of the first answer, so that of the whole call is a timer here.
    fn watch(&mut self, timeout_ms: Option<u64>) -> String {
        let mut health = HealthClient::new(self.channel.clone());
        self.watch = Some(self.runtime.block_on(health.watch(HealthCheckRequest::default())).unwrap().into_inner());
        self.timeout = timeout_ms.map_or(DEADLINE, Duration::from_millis);
        self.next()
    }

    fn next(&mut self) -> String {
        let message = self.watch.as_mut().unwrap().message();
        if let Ok(message) = self.runtime.block_on(async { tokio::time::timeout(self.timeout, message).await }) {
            return message.map_or_else(|status| code(&status), |message| state(message.unwrap()));
        }
        self.watch = None;
        "DEADLINE_EXCEEDED".to_owned()
    }

    fn services(&self) -> String {
        use v1::server_reflection_request::MessageRequest::ListServices;
        use v1::server_reflection_response::MessageResponse::ListServicesResponse;
        let question =
            v1::ServerReflectionRequest { message_request: Some(ListServices("*".to_owned())), ..Default::default() };
        let mut client = v1::server_reflection_client::ServerReflectionClient::new(self.channel.clone());
        self.runtime.block_on(async {
            let mut answers = client.server_reflection_info(tokio_stream::once(question)).await.unwrap().into_inner();
            let answer = answers.message().await.unwrap().unwrap();
            let Some(ListServicesResponse(list)) = answer.message_response else { panic!("{answer:?}") };
            assert_eq!(answers.message().await.unwrap(), None);
            list.service.into_iter().map(|service| service.name).collect::<Vec<_>>().join(" ")
        })
    }

    fn hold(&mut self, key: &str) {
        let mut checks = RateLimitServiceClient::new(self.channel.clone());
        let message = message([(key, "v".to_owned())]);
        let call = async move { outcome(checks.should_rate_limit(message).await.map(tonic::Response::into_inner)) };
        self.held.push(self.runtime.spawn(call));
    }

    fn cancel(&mut self, count: usize) -> String {
        let leaving: Vec<_> = self.held.drain(..count).inspect(JoinHandle::abort).collect();
        let outcome = |call: JoinHandle<String>| match self.runtime.block_on(call) {
            Err(error) if error.is_cancelled() => "CANCELLED".to_owned(),
            other => other.unwrap(),
        };
        listed(count_each(leaving.into_iter().map(outcome)))
    }

    fn join(&mut self) -> String {
        let held = std::mem::take(&mut self.held);
        listed(count_each(held.into_iter().map(|call| self.runtime.block_on(call).unwrap())))
    }

    fn load(&mut self, callers: usize, key: &str) {
        for _ in 0..callers {
            let mut checks = RateLimitServiceClient::new(self.channel.clone());
            let (message, is_stopping) = (message([(key, "v".to_owned())]), Arc::clone(&self.is_stopping));
            self.load.push(self.runtime.spawn(async move {
                let mut outcomes = Outcomes::new();
                while !is_stopping.load(Ordering::Relaxed) {
                    match checks.should_rate_limit(message.clone()).await.map(tonic::Response::into_inner) {
                        // The others send it again by themselves.
                        Err(status) if is_unsent(&status) => {}
                        answer => *outcomes.entry(outcome(answer)).or_default() += 1,
                    }
                }
                outcomes
            }));
        }
    }

    fn stop(&mut self) -> String {
        self.is_stopping.store(true, Ordering::Relaxed);
        let mut all = Outcomes::new();
        for caller in self.load.drain(..) {
            for (outcome, count) in self.runtime.block_on(caller).unwrap() {
                *all.entry(outcome).or_default() += count;
            }
        }
        listed(all)
    }
}

impl Client for TonicClient {
    fn ask(&mut self, command: &str) -> String {
        let words: Vec<_> = command.split(' ').collect();
        match words[..] {
            ["check", key, value] => outcome(self.check(message([(key, value.to_owned())]), None)),
            ["check", key, value, ms] => outcome(self.check(message([(key, value.to_owned())]), ms.parse().ok())),
            ["large", count, bytes] => {
                let value = "v".repeat(bytes.parse().unwrap());
                let entries = std::iter::repeat_n(("free", value), count.parse().unwrap());
                match self.check(message(entries), None) {
                    Ok(answer) => format!("{} {}", answer.overall_code().as_str_name(), answer.statuses.len()),
                    Err(status) => code(&status),
                }
            }
            ["health"] => self.health(""),
            ["health", service] => self.health(service),
            ["watch"] => self.watch(None),
            ["watch", ms] => self.watch(ms.parse().ok()),
            ["next"] => self.next(),
            // A stream that is dropped is cancelled; there is nobody left to hear of it.
            ["unwatch"] => self.watch.take().map_or_else(String::new, |_| "CANCELLED".to_owned()),
            ["services"] => self.services(),
            ["hold", count, key] => {
                (0..count.parse().unwrap()).for_each(|_: usize| self.hold(key));
                "held".to_owned()
            }
            ["cancel", count] => self.cancel(count.parse().unwrap()),
            ["join"] => self.join(),
            ["load", callers, key] => {
                self.load(callers.parse().unwrap(), key);
                "loaded".to_owned()
            }
            ["stop"] => self.stop(),
            _ => panic!("unknown command {command}"),
        }
    }
}

/// A check of these keys and values.
pub(crate) fn message<'k>(entries: impl IntoIterator<Item = (&'k str, String)>) -> RateLimitRequest {
    let descriptor = |(key, value): (&str, String)| RateLimitDescriptor {
        entries: vec![Entry { key: key.to_owned(), value }],
        ..Default::default()
    };
    let descriptors = entries.into_iter().map(descriptor).collect();
    RateLimitRequest { domain: "api".to_owned(), descriptors, ..Default::default() }
}

fn outcome(answer: Result<RateLimitResponse, Status>) -> String {
    answer.map_or_else(|status| code(&status), |answer| answer.overall_code().as_str_name().to_owned())
}

fn state(answer: HealthCheckResponse) -> String {
    answer.status().as_str_name().to_owned()
}

/// The name of the code as gRPC spells it; the message is for those who read why a test failed.
fn code(status: &Status) -> String {
    eprintln!("{status}");
    // How tonic reports that its own timer has ended a call.
    if (status.code(), status.message()) == (tonic::Code::Cancelled, "Timeout expired") {
        return "DEADLINE_EXCEEDED".to_owned();
    }
    let mut name = String::new();
    for letter in format!("{:?}", status.code()).chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(letter.to_uppercase());
    }
    name
}

fn count_each(all: impl Iterator<Item = String>) -> Outcomes {
    all.fold(Outcomes::new(), |mut outcomes, outcome| {
        *outcomes.entry(outcome).or_default() += 1;
        outcomes
    })
}

fn listed(outcomes: Outcomes) -> String {
    outcomes.into_iter().map(|(outcome, count)| format!("{outcome} {count}")).collect::<Vec<_>>().join(", ")
}
