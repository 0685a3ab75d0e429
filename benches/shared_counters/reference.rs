//! The commands that envoyproxy/ratelimit sends for each check, from a process of their own: for its counter INCRBY and EXPIRE, in one
//! pipeline, by one of the connections of its pool.
//!
//! It decides nothing, and no gRPC comes in: its CPU time is not that of a service.

use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use redis::Connection;
use serde::{Deserialize, Serialize};

use crate::{Options, cpu};

/// The first argument with which this binary is the client.
pub(crate) const ROLE: &str = "--reference-commands";

/// What the client prints.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sent {
    pub(crate) checks: u64,
    pub(crate) seconds: f64,
    /// Of this client, connecting included.
    pub(crate) cpu_ns: u64,
}

/// The arguments of this binary for the client.
pub(crate) fn arguments(options: &Options, port: u16, duration: &str, rate: Option<u64>) -> [String; 6] {
    let connections = (options.replicas * CONNECTIONS).to_string();
    let rate = rate.unwrap_or(0).to_string();
    [ROLE.to_owned(), port.to_string(), connections, options.keys.to_string(), duration.to_owned(), rate]
}

/// Becomes the client.
pub(crate) fn run(arguments: &[String]) {
    let [port, connections, keys, duration, rate] = arguments else { panic!("{arguments:?}") };
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
    let connections: u64 = connections.parse().unwrap();
    let connections: Vec<_> = (0..connections).map(|seed| (seed, client.get_connection().unwrap())).collect();
    let zipf = Zipf::new(keys.parse().unwrap());
    let schedule = Schedule {
        begun: Instant::now(),
        duration: humantime::parse_duration(duration).unwrap(),
        rate: rate.parse().unwrap(),
        sent: AtomicU64::new(0),
    };
    let checks = thread::scope(|scope| {
        let (zipf, schedule) = (&zipf, &schedule);
        let send = |(seed, connection)| {
            scope.spawn(move || send(connection, zipf, schedule, &mut SmallRng::seed_from_u64(seed)))
        };
        let threads: Vec<_> = connections.into_iter().map(send).collect();
        // The threads of the pool have ended when their time is read.
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .fold([0, 0], |sum, of| [sum[0] + of[0], sum[1] + of[1]])
    });
    let seconds = schedule.begun.elapsed().as_secs_f64();
    let sent = Sent { checks: checks[0], seconds, cpu_ns: checks[1] + cpu::nanoseconds(process::id()) };
    println!("{}", serde_json::to_string(&sent).unwrap());
}

/// When checks are sent.
struct Schedule {
    begun: Instant,
    duration: Duration,
    /// Checks per second; 0: each as soon as the one before is answered.
    rate: u64,
    sent: AtomicU64,
}

impl Schedule {
    /// Waits for the turn of the next check; false: time is up.
    fn next(&self) -> bool {
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        if self.rate > 0 {
            let due = Duration::from_secs_f64(number as f64 / self.rate as f64);
            thread::sleep(due.min(self.duration).saturating_sub(self.begun.elapsed()));
        }
        self.begun.elapsed() < self.duration
    }
}

/// The number of checks, and the nanoseconds of CPU of this thread.
fn send(mut connection: Connection, zipf: &Zipf, schedule: &Schedule, random: &mut SmallRng) -> [u64; 2] {
    let mut checks = 0;
    while schedule.next() {
        let minute = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 60 * 60;
        let key = format!("bench_k0_{}_{minute}", zipf.pick(random));
        let mut commands = redis::pipe();
        commands.cmd("INCRBY").arg(&key).arg(1).cmd("EXPIRE").arg(&key).arg(60).ignore();
        let [_count]: [u64; 1] = commands.query(&mut connection).unwrap();
        checks += 1;
    }
    [checks, cpu::nanoseconds_of_this_thread()]
}

/// Numbers from 0, the n-th in proportion to 1 / n.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(keys: usize) -> Self {
        let mut sum = 0.0;
        let add = |rank| {
            sum += 1.0 / rank as f64;
            sum
        };
        Self((1..=keys).map(add).collect())
    }

    fn pick(&self, random: &mut SmallRng) -> usize {
        let at = random.random_range(0.0..self.0[self.0.len() - 1]);
        self.0.partition_point(|sum| *sum <= at)
    }
}

/// Of a replica's pool.
const CONNECTIONS: usize = 10;
