//! Checks that go on while something happens to the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use tidegate::api::proto::envoy::service::ratelimit::v3::RateLimitRequest;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_response::Code;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use tokio::task::JoinSet;

use super::{DEADLINE, eventually_async};

/// Clients that check `user=ann` of the domain `api`, one check after the other. A check that fails ends the test.
pub(crate) struct Load {
    counts: Arc<Counts>,
    clients: JoinSet<()>,
}

/// What the clients have counted.
#[derive(Default)]
struct Counts {
    stop: AtomicBool,
    answered: AtomicU64,
    admitted: AtomicU64,
}

impl Load {
    /// Eight clients of this server.
    pub(crate) fn on(address: &str) -> Self {
        let (counts, mut clients) = (Arc::new(Counts::default()), JoinSet::new());
        for _ in 0..8 {
            clients.spawn(client(address.to_owned(), Arc::clone(&counts)));
        }
        Self { counts, clients }
    }

    /// Waits until that many more checks have been answered.
    pub(crate) async fn answered(&self, more: u64) {
        let answered = || self.counts.answered.load(Ordering::Relaxed);
        let target = answered() + more;
        eventually_async("checks are answered", async || answered() >= target).await;
    }

    /// Goes on until the limit is used up. How many checks were admitted.
    pub(crate) async fn admitted(self) -> u64 {
        let [answered, admitted] =
            [&self.counts.answered, &self.counts.admitted].map(|count| move || count.load(Ordering::Relaxed));
        eventually_async("the limit is used up", async || answered() > admitted() + 100).await;
        self.counts.stop.store(true, Ordering::Relaxed);
        self.clients.join_all().await;
        self.counts.admitted.load(Ordering::Relaxed)
    }
}

fn request() -> RateLimitRequest {
    let entry = Entry { key: "user".to_owned(), value: "ann".to_owned() };
    let descriptor = RateLimitDescriptor { entries: vec![entry], ..Default::default() };
    RateLimitRequest { domain: "api".to_owned(), descriptors: vec![descriptor], ..Default::default() }
}

/// Checks on a connection after the other until it is to stop; an error is a failed request.
async fn client(address: String, counts: Arc<Counts>) {
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let mut checks = RateLimitServiceClient::new(channel);
    while !counts.stop.load(Ordering::Relaxed) {
        let answer =
            tokio::time::timeout(DEADLINE, checks.should_rate_limit(request())).await.expect("an answer in time");
        let answer = match answer {
            Ok(answer) => answer.into_inner(),
            // The client had not sent it when GOAWAY came: Envoy and gRPC clients send such a request again by themselves, tonic does not.
            // If the server had counted one of them, the sum at the end would be below the limit.
            Err(status) if is_unsent(&status) => continue,
            Err(status) => panic!("a request failed: {status:?}"),
        };
        counts.answered.fetch_add(1, Ordering::Relaxed);
        counts.admitted.fetch_add(u64::from(answer.overall_code() == Code::Ok), Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Whether the request has never been sent: hyper gives it back (`Canceled`) when the connection ends before, and h2 says so by GOAWAY. A
/// connection that the server cuts is another error.
pub(crate) fn is_unsent(status: &tonic::Status) -> bool {
    let text = format!("{status:?}");
    text.contains("GoAway(b\"\", NO_ERROR, Remote)") || text.contains("hyper::Error(Canceled, \"connection closed\")")
}
