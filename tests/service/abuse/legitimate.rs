//! Clients that ask all the time, and know what the answer must be.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_response::Code as Overall;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;

use crate::drain::check;
use crate::server::{Stopwatch, connect, eventually};

/// Checks for `free` are admitted, those for `spent` are not.
pub(super) const RULES: &str = "domain: api\ndescriptors:\n\
    - {key: free, rate_limit: {unit: year, requests_per_unit: 100000000}}\n\
    - {key: spent, rate_limit: {unit: year, requests_per_unit: 0}}\n";

/// Clients that run until they are stopped.
pub(super) struct Legitimate {
    stop: Arc<AtomicBool>,
    times: Arc<Mutex<Vec<Duration>>>,
    clients: Vec<thread::JoinHandle<()>>,
}

impl Legitimate {
    /// Starts two clients, each with a connection of its own and a check each millisecond, and waits for their first answers.
    pub(super) fn start(address: &str) -> Self {
        let (stop, times) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let client = |_| {
            let (address, stop, times) = (address.to_owned(), Arc::clone(&stop), Arc::clone(&times));
            thread::spawn(move || ask_until(&address, &stop, &times))
        };
        let legitimate = Self { clients: (0..2).map(client).collect(), stop, times };
        eventually("the first answers", || legitimate.times.lock().unwrap().len() >= 4);
        legitimate
    }

    /// The times that the answers took since the last call, sorted.
    pub(super) fn times(&self) -> Vec<Duration> {
        let mut times = std::mem::take(&mut *self.times.lock().unwrap());
        times.sort_unstable();
        times
    }

    /// A wrong answer fails the test.
    pub(super) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("a wrong answer");
        }
    }
}

fn ask_until(address: &str, stop: &AtomicBool, times: &Mutex<Vec<Duration>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut service = RateLimitServiceClient::new(connect(address).await);
        let mut pace = tokio::time::interval(Duration::from_millis(1));
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !stop.load(Ordering::Relaxed) {
            for (key, expected) in [("free", Overall::Ok), ("spent", Overall::OverLimit)] {
                pace.tick().await;
                let stopwatch = Stopwatch::start();
                let answer = service.should_rate_limit(check(key, "v")).await.expect("an answer").into_inner();
                assert_eq!(answer.overall_code(), expected, "{key}");
                times.lock().unwrap().push(stopwatch.elapsed());
            }
        }
    });
}
