//! Many checks of many counters on eight servers: whatever they do at the same time, no counter admits more than its limit in a window.
//!
//! Counters are picked by zipf, of every algorithm, leased and exact. Meanwhile the engine is silent now and then for longer than a check
//! waits, so that answers come late, and a server is killed and starts again. What a check is answered is counted here, on the client's side:
//! a hit whose answer was lost is not counted. `SHARED_CHECKS=1000000` sends that many.

use std::collections::BTreeMap;
use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tidegate::api::proto::envoy::service::ratelimit::v3::RateLimitResponse;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_response::Code;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::engines::{Engine, Kind};
use crate::replicas::check;
use crate::server::{Stopwatch, TestServer, eventually};
use crate::windows::{Windows, fitting};

/// A limit, and how often it is picked.
struct Limit {
    key: &'static str,
    weight: usize,
    rule: &'static str,
}

/// Windows of a year begin no second time while the test runs; those of `short` do, every other second.
const LIMITS: [Limit; 14] = [
    Limit { key: "leased_window", weight: 1, rule: "unit: year, requests_per_unit: LIMIT" },
    Limit { key: "leased_first", weight: 1, rule: "unit: year, requests_per_unit: LIMIT, starts: first_request" },
    Limit { key: "leased_sliding", weight: 1, rule: "unit: year, requests_per_unit: LIMIT, algorithm: sliding_window" },
    // Buckets are leased from 100 for each server on.
    Limit { key: "leased_bucket", weight: 6, rule: "unit: year, requests_per_unit: BUCKET, algorithm: token_bucket" },
    Limit { key: "leased_short", weight: 1, rule: "period: 2s, requests_per_unit: LIMIT" },
    Limit { key: "exact_window", weight: 1, rule: "sharing: exact, unit: year, requests_per_unit: LIMIT" },
    Limit {
        key: "exact_first",
        weight: 1,
        rule: "sharing: exact, unit: year, requests_per_unit: LIMIT, starts: first_request",
    },
    Limit {
        key: "exact_sliding",
        weight: 1,
        rule: "sharing: exact, unit: year, requests_per_unit: LIMIT, algorithm: sliding_window",
    },
    Limit {
        key: "exact_bucket",
        weight: 1,
        rule: "sharing: exact, unit: year, requests_per_unit: LIMIT, algorithm: token_bucket",
    },
    Limit {
        key: "exact_log",
        weight: 1,
        rule: "sharing: exact, unit: year, requests_per_unit: LIMIT, algorithm: sliding_log",
    },
    Limit { key: "exact_ban", weight: 1, rule: "sharing: exact, unit: year, requests_per_unit: LIMIT, ban: 30d" },
    Limit {
        key: "leased_calendar",
        weight: 1,
        rule: "period: {calendar: year, timezone: Pacific/Kiritimati}, requests_per_unit: LIMIT",
    },
    Limit {
        key: "exact_calendar",
        weight: 1,
        rule: "sharing: exact, period: {calendar: year, timezone: Asia/Tokyo}, requests_per_unit: LIMIT, ban: 30d",
    },
    Limit { key: "exact_short", weight: 1, rule: "sharing: exact, period: 2s, requests_per_unit: LIMIT" },
];

/// The sizes of a run.
#[derive(Clone, Copy)]
struct Size {
    checks: u64,
    /// Values of each limit's entry, each with a counter of its own.
    values: usize,
    limit: u32,
    /// How often the engine is silent.
    silences: u64,
    /// Windows that have to be used up, so that the run shows something.
    used_up: usize,
}

impl Size {
    fn wanted() -> Self {
        match env::var("SHARED_CHECKS") {
            Ok(checks) => Self { checks: checks.parse().unwrap(), values: 100, limit: 300, silences: 20, used_up: 100 },
            Err(_) => Self { checks: 10_000, values: 20, limit: 30, silences: 2, used_up: 20 },
        }
    }

    fn of(self, limit: &Limit) -> u32 {
        if limit.rule.contains("BUCKET") { BUCKET } else { self.limit }
    }

    fn rules(self) -> String {
        let rule = |limit: &Limit| {
            let rule = limit.rule.replace("LIMIT", &self.limit.to_string()).replace("BUCKET", &BUCKET.to_string());
            format!("- {{key: {}, rate_limit: {{{rule}}}}}\n", limit.key)
        };
        format!("domain: api\ndescriptors:\n{}", LIMITS.iter().map(rule).collect::<String>())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_counter_admits_more_than_its_limit_whatever_happens() {
    let Some(kind) = Kind::any() else { return };
    let (size, clock, engine) = (Size::wanted(), Stopwatch::start(), Engine::start(kind));
    let flags = ["--store", &engine.url(), "--store-timeout", "200ms", "--store-when-down", "deny"];
    let mut servers: Vec<_> = (0..SERVERS).map(|_| TestServer::start(&size.rules(), &flags)).collect();
    for server in &servers {
        server.log_until("the store answers");
    }
    let (sent, mut clients) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
    for (seed, server) in (0..CLIENTS).zip(servers.iter().cycle()) {
        let channel = server.channel().await;
        let client = Client { channel, size, random: SmallRng::seed_from_u64(seed), seen: Seen::default() };
        clients.spawn(client.run(Arc::clone(&sent)));
    }
    tokio::task::block_in_place(|| disturb(size, &sent, &engine, &mut servers[0]));
    let mut seen = Seen::default();
    while let Some(ended) = clients.join_next().await {
        seen.add(ended.unwrap());
    }
    let used_up = seen.check(size);
    eprintln!(
        "{kind:?}: {} checks in {:.0?}: {} admitted, {used_up} windows used up, {} lost",
        size.checks,
        clock.elapsed(),
        seen.admitted.values().map(Windows::all).sum::<u32>(),
        seen.lost,
    );
    assert!(used_up >= size.used_up, "only {used_up} windows were used up");
}

/// Silences the engine now and then, and kills a server in the middle.
fn disturb(size: Size, sent: &AtomicU64, engine: &Engine, server: &mut TestServer) {
    for turn in 1..=size.silences {
        let at = size.checks * turn / (size.silences + 1);
        wait_for_checks(size, sent, at);
        engine.pause();
        std::thread::sleep(SILENCE);
        engine.resume();
        if turn == size.silences.div_ceil(2) {
            server.crash();
            server.restart();
        }
    }
}

/// Waits until so many checks were sent; each thousandth of all has the time of a wait.
fn wait_for_checks(size: Size, sent: &AtomicU64, checks: u64) {
    let mut reached = sent.load(Ordering::Relaxed);
    while reached < checks {
        let next = checks.min(reached + size.checks / 1_000 + 1);
        eventually("more checks", || sent.load(Ordering::Relaxed) >= next);
        reached = sent.load(Ordering::Relaxed);
    }
}

/// One of those that send checks, each with a connection.
struct Client {
    channel: Channel,
    size: Size,
    random: SmallRng,
    seen: Seen,
}

impl Client {
    async fn run(mut self, sent: Arc<AtomicU64>) -> Seen {
        let mut service = RateLimitServiceClient::new(self.channel.clone());
        while sent.fetch_add(1, Ordering::Relaxed) < self.size.checks {
            let (limit, value) = (self.limit(), self.value());
            let request = check(&[(LIMITS[limit].key, &format!("v{value}"))]);
            let before = now_ms();
            if let Ok(answer) = service.should_rate_limit(request).await {
                self.seen.note((limit, value), &answer.into_inner(), before, now_ms());
            } else {
                // Its server was killed, and comes back.
                self.seen.lost += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        self.seen
    }

    fn limit(&mut self) -> usize {
        let mut at = self.random.random_range(0..LIMITS.iter().map(|limit| limit.weight).sum());
        let is_it = |limit: &Limit| {
            let is_it = at < limit.weight;
            at = at.wrapping_sub(limit.weight);
            is_it
        };
        LIMITS.iter().position(is_it).unwrap()
    }

    /// The n-th value in proportion to 1 / n.
    fn value(&mut self) -> usize {
        let weight = |rank: usize| 1.0 / f64::from(u32::try_from(rank).unwrap());
        let mut at = self.random.random_range(0.0..(1..=self.size.values).map(weight).sum::<f64>());
        for rank in 1..self.size.values {
            at -= weight(rank);
            if at < 0.0 {
                return rank;
            }
        }
        self.size.values
    }
}

/// The number of a limit, and the value of its entry.
type Counter = (usize, usize);

/// What was answered.
#[derive(Default)]
struct Seen {
    /// Admitted checks by counter. Windows that are longer than the test end at 0.
    admitted: BTreeMap<Counter, Windows>,
    /// Checks without an answer.
    lost: u64,
}

impl Seen {
    fn note(&mut self, counter: Counter, answer: &RateLimitResponse, before_ms: i64, after_ms: i64) {
        if answer.overall_code() != Code::Ok {
            return;
        }
        let is_short = LIMITS[counter.0].rule.contains("period: 2s");
        let reset = answer.statuses[0].duration_until_reset.map_or(0, |reset| reset.seconds);
        let windows = if is_short { fitting(reset, (before_ms, after_ms), WINDOW_MS, CLOCKS_MS) } else { (0, 0) };
        self.admitted.entry(counter).or_default().add(windows, 1);
    }

    fn add(&mut self, other: Self) {
        for (counter, windows) in other.admitted {
            self.admitted.entry(counter).or_default().merge(&windows);
        }
        self.lost += other.lost;
    }

    /// How many windows were used up, or nearly.
    #[track_caller]
    fn check(&self, size: Size) -> usize {
        let mut used_up = 0;
        for ((limit, value), windows) in &self.admitted {
            let limit = &LIMITS[*limit];
            let most = size.of(limit);
            let excess = windows.excess(WINDOW_MS, |_| most);
            assert!(excess.is_none(), "{} v{value}: {excess:?}", limit.key);
            used_up += windows.certain().filter(|(_, admitted)| *admitted >= most - most / 10).count();
        }
        used_up
    }
}

fn now_ms() -> i64 {
    #[allow(clippy::disallowed_methods, reason = "other processes live in real time")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

const SERVERS: usize = 8;
const CLIENTS: u64 = 64;
/// Of a token bucket that is leased by eight servers.
const BUCKET: u32 = 800;
const WINDOW_MS: i64 = 2_000;
/// By how much a server may be wrong about the engine's clock.
const CLOCKS_MS: i64 = 100;
/// Longer than a check waits for the engine.
const SILENCE: Duration = Duration::from_millis(300);
