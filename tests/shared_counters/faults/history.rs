//! What clients saw: every check with its answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng};
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_response::Code;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use tonic::transport::{Channel, Endpoint};

use super::limits::{Limit, of_epoch, pick};
use crate::replicas::check;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Admitted,
    Denied,
    /// None, or not in time.
    Lost,
}

/// One check.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) before_ms: i64,
    pub(super) after_ms: i64,
    pub(super) replica: usize,
    pub(super) limit: usize,
    pub(super) epoch: u32,
    pub(super) hits: u32,
    pub(super) answer: Answer,
    /// The time until the reset.
    pub(super) reset_s: i64,
}

/// What all clients do.
pub(super) struct Plan<'r> {
    pub(super) limits: &'r [Limit],
    pub(super) seed: u64,
    pub(super) start_ms: i64,
    pub(super) is_over: &'r AtomicBool,
}

impl Plan<'_> {
    /// Runs the clients of one replica, on its host.
    pub(super) fn run(&self, replica: usize, address: &str) -> Vec<Record> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
            let clients = (0..CLIENTS).map(|client| self.client(replica, client, channel.clone()));
            let mut all = Vec::new();
            for records in futures_of(clients).await {
                all.extend(records);
            }
            all
        })
    }

    async fn client(&self, replica: usize, client: u64, channel: Channel) -> Vec<Record> {
        let mut service = RateLimitServiceClient::new(channel);
        let mut random = SmallRng::seed_from_u64(self.seed ^ (replica as u64) << 32 ^ client << 40);
        let (mut records, mut known) = (Vec::new(), (u32::MAX, Vec::new()));
        while !self.is_over.load(Ordering::Relaxed) {
            let before_ms = now_ms();
            let epoch = u32::try_from((before_ms - self.start_ms) / EPOCH_MS).unwrap();
            if known.0 != epoch {
                known = (epoch, of_epoch(self.limits, self.seed, epoch));
            }
            let limit = pick(self.limits, &known.1, &mut random);
            let hits = if random.random_range(0..8) == 0 { 3 } else { 1 };
            let value = if self.limits[limit].is_short { "v".to_owned() } else { format!("e{epoch}") };
            let mut request = check(&[(&self.limits[limit].key, &value)]);
            request.hits_addend = hits;
            let called = tokio::time::timeout(ANSWER_WITHIN, service.should_rate_limit(request)).await;
            let (answer, reset_s) = match called {
                Ok(Ok(reply)) => {
                    let reply = reply.into_inner();
                    let answer = if reply.overall_code() == Code::Ok { Answer::Admitted } else { Answer::Denied };
                    (answer, reply.statuses[0].duration_until_reset.map_or(0, |reset| reset.seconds))
                }
                Ok(Err(_)) | Err(_) => (Answer::Lost, 0),
            };
            records.push(Record { before_ms, after_ms: now_ms(), replica, limit, epoch, hits, answer, reset_s });
            let pause = if answer == Answer::Lost { 50 } else { random.random_range(2..20) };
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        records
    }
}

/// Runs all of them on this thread.
async fn futures_of<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    let mut outputs = Vec::new();
    std::future::poll_fn(|context| {
        futures.retain_mut(|future| match future.as_mut().poll(context) {
            std::task::Poll::Ready(output) => {
                outputs.push(output);
                false
            }
            std::task::Poll::Pending => true,
        });
        if futures.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    outputs
}

pub(super) fn now_ms() -> i64 {
    #[allow(clippy::disallowed_methods, reason = "other processes live in real time")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

/// For each replica.
const CLIENTS: u64 = 8;
/// For so long the same limits are checked, with the same values.
pub(super) const EPOCH_MS: i64 = 2_500;
/// How long a client waits for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
