//! HTTP/1.1 requests at a fixed rate, over connections that are kept open: an open loop.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rustix::thread::set_current_timer_slack;

use super::gateway::header;
use crate::client::Client;
use crate::{cores, cpu};

/// The clients of one listener.
pub(super) struct Clients(Vec<Caller>);

/// One connection, with one request under way at most.
struct Caller {
    client: Client,
    random: SmallRng,
    keys: usize,
    /// Header names, one for each entry.
    headers: Vec<String>,
}

/// The answers of one measurement, each with status 200.
pub(super) struct Answers {
    /// Microseconds from when each request was due, the least first.
    latencies_us: Vec<f64>,
    pub(super) per_second: f64,
    /// CPU of the clients.
    pub(super) cpu_ns: u64,
}

impl Answers {
    pub(super) const fn count(&self) -> usize {
        self.latencies_us.len()
    }

    /// The latency that this share of the requests did not exceed.
    pub(super) fn quantile(&self, share: f64) -> f64 {
        let at = (self.count() as f64 * share) as usize;
        self.latencies_us[at.min(self.count() - 1)]
    }
}

impl Clients {
    /// Clients that open their connections with the first request of each.
    pub(super) fn of(peer: SocketAddr, connections: usize, keys: usize, entries: usize) -> Self {
        let caller = |seed| Caller {
            client: Client::to(peer),
            random: SmallRng::seed_from_u64(seed as u64),
            keys,
            headers: (0..entries).map(header).collect(),
        };
        Self((0..connections).map(caller).collect())
    }

    /// Sends what is due at this rate in so much time, at equal intervals, and waits for every answer.
    #[allow(clippy::disallowed_methods, reason = "it measures")]
    pub(super) fn send(&mut self, rate: f64, duration: Duration) -> Answers {
        let count = (rate * duration.as_secs_f64()) as u64;
        let schedule = Schedule { begin: Instant::now() + LEAD, rate, count, taken: AtomicU64::new(0) };
        let calls: Vec<(Vec<f64>, u64)> = thread::scope(|scope| {
            let call = |caller| scope.spawn(|| call(caller, &schedule));
            let threads: Vec<_> = self.0.iter_mut().map(call).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let per_second = count as f64 / schedule.begin.elapsed().as_secs_f64();
        let cpu_ns = calls.iter().map(|(_, cpu_ns)| cpu_ns).sum();
        let mut latencies_us: Vec<_> = calls.into_iter().flat_map(|(latencies_us, _)| latencies_us).collect();
        latencies_us.sort_by(f64::total_cmp);
        Answers { latencies_us, per_second, cpu_ns }
    }
}

/// When requests are due.
struct Schedule {
    begin: Instant,
    rate: f64,
    count: u64,
    taken: AtomicU64,
}

impl Schedule {
    /// When the next request is due that nobody has taken; `None` if there are no more.
    fn next(&self) -> Option<Instant> {
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        (number < self.count).then(|| self.begin + Duration::from_secs_f64(number as f64 / self.rate))
    }
}

/// Sends requests as they are due, as long as there are any. The latencies of this connection, and the nanoseconds of CPU of this thread.
#[allow(clippy::disallowed_methods, reason = "it measures")]
fn call(caller: &mut Caller, schedule: &Schedule) -> (Vec<f64>, u64) {
    cores::stay_on(super::ENVOY);
    set_current_timer_slack(NonZeroU64::new(1)).unwrap();
    let mut latencies_us = Vec::new();
    while let Some(due) = schedule.next() {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        caller.ask();
        latencies_us.push(due.elapsed().as_secs_f64() * 1e6);
    }
    (latencies_us, cpu::nanoseconds_of_this_thread())
}

impl Caller {
    /// A request about a key, which must be answered with 200.
    fn ask(&mut self) {
        // As `tidegate bench` writes its keys.
        let key = format!("{:010}", self.random.random_range(0..self.keys));
        let headers: Vec<_> = self.headers.iter().map(|name| (name.as_str(), key.as_bytes())).collect();
        let reply = self.client.get("/", &headers);
        assert_eq!(reply.status, 200, "{reply:?}");
    }
}

/// Enough for the threads to start.
const LEAD: Duration = Duration::from_millis(50);
