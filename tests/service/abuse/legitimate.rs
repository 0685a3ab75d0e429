//! Clients that ask all the time, and know what the answer must be.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_response::Code as Overall;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;

use crate::drain::check;
use crate::server::{DEADLINE, Stopwatch, connect};

/// Checks for `free` are admitted, those for `spent` are not.
pub(super) const RULES: &str = "domain: api\ndescriptors:\n\
    - {key: free, rate_limit: {unit: year, requests_per_unit: 100000000}}\n\
    - {key: spent, rate_limit: {unit: year, requests_per_unit: 0}}\n";

/// Clients that run until they are asked what they saw.
pub(super) struct Legitimate {
    stop: Arc<AtomicBool>,
    clients: Vec<thread::JoinHandle<Vec<Duration>>>,
}

impl Legitimate {
    /// Starts two clients, each with a connection of its own and a check each millisecond, and waits for their first answers.
    pub(super) fn start(address: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (answered, first_answers) = mpsc::channel();
        let client = |_| {
            let (address, stop, answered) = (address.to_owned(), Arc::clone(&stop), answered.clone());
            thread::spawn(move || ask_until(&address, &stop, &answered))
        };
        let clients: Vec<_> = (0..2).map(client).collect();
        for _ in &clients {
            first_answers.recv_timeout(DEADLINE).expect("a first answer");
        }
        Self { stop, clients }
    }

    /// The times that the answers took, sorted. A wrong answer fails the test.
    pub(super) fn stop(self) -> Vec<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        let mut times: Vec<_> =
            self.clients.into_iter().flat_map(|client| client.join().expect("a wrong answer")).collect();
        times.sort_unstable();
        assert!(!times.is_empty(), "no answer at all");
        times
    }
}

fn ask_until(address: &str, stop: &AtomicBool, answered: &mpsc::Sender<()>) -> Vec<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut service = RateLimitServiceClient::new(connect(address).await);
        let mut times = Vec::new();
        let mut pace = tokio::time::interval(Duration::from_millis(1));
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !stop.load(Ordering::Relaxed) {
            for (key, expected) in [("free", Overall::Ok), ("spent", Overall::OverLimit)] {
                pace.tick().await;
                let stopwatch = Stopwatch::start();
                let answer = service.should_rate_limit(check(key, "v")).await.expect("an answer").into_inner();
                times.push(stopwatch.elapsed());
                assert_eq!(answer.overall_code(), expected, "{key}");
                if times.len() == 1 {
                    answered.send(()).unwrap();
                }
            }
        }
        times
    })
}
