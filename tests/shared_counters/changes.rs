//! What changes while replicas share a limit: its number, and the replicas themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tokio::task::JoinSet;

use crate::engines::{Engine, Kind};
use crate::replicas::{admitted, replica};
use crate::server::{TestServer, eventually, rules_in};

/// Of an algorithm that does not count denied checks, so that a raised limit has room at once.
fn rules(limit: u32) -> String {
    let limit = format!("{{unit: year, requests_per_unit: {limit}, algorithm: sliding_window}}");
    format!("domain: api\nsharing: exact\ndescriptors: [{{key: key, rate_limit: {limit}}}]\n")
}

const PLAIN: &str =
    "domain: api\nsharing: exact\ndescriptors: [{key: key, rate_limit: {unit: year, requests_per_unit: 1000000}}]\n";

/// Clients that check one value on each server for as long as they are left to, and how many checks were admitted.
pub(crate) struct Load {
    admitted: Arc<AtomicU32>,
    ends: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Load {
    pub(crate) async fn on(servers: &[TestServer]) -> Self {
        let load = Self { admitted: Arc::default(), ends: Arc::default(), clients: JoinSet::new() };
        let mut clients = JoinSet::new();
        for server in servers {
            for _ in 0..4 {
                let (channel, count, ends) =
                    (server.channel().await, Arc::clone(&load.admitted), Arc::clone(&load.ends));
                clients.spawn(async move {
                    while !ends.load(Ordering::Relaxed) {
                        count.fetch_add(u32::from(admitted(&channel, &[("key", "x")]).await), Ordering::Relaxed);
                    }
                });
            }
        }
        Self { clients, ..load }
    }

    pub(crate) fn until_admitted(&self, count: u32) {
        let admitted = || self.admitted.load(Ordering::Relaxed);
        tokio::task::block_in_place(|| eventually(&format!("{count} admitted"), || admitted() >= count));
        assert_eq!(admitted(), count);
    }

    /// A call that fails ends its client with a panic.
    pub(crate) async fn end(mut self) -> u32 {
        self.ends.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
        self.admitted.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_under_load_is_in_force_on_what_was_counted() {
    let Some(kind) = Kind::any() else { return };
    let engine = Engine::start(kind);
    let servers = [replica(&rules(20), &engine.url(), &[]), replica(&rules(20), &engine.url(), &[])];
    let load = Load::on(&servers).await;
    load.until_admitted(20);
    // One is enough to admit more; the other one still denies by the number before.
    for (at, limit, expected) in [(0, 30, 30), (1, 50, 50), (0, 10, 50), (1, 10, 50)] {
        rules_in(&servers[at].dir, &rules(limit));
        let generation = || servers[at].metric("tidegate_config_generation");
        let before = generation();
        servers[at].signal("HUP");
        tokio::task::block_in_place(|| eventually("the reload", || generation() > before));
        load.until_admitted(expected);
    }
    assert_eq!(load.end().await, 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_drains_fails_no_call() {
    let Some(kind) = Kind::any() else { return };
    let engine = Engine::start(kind);
    let mut servers = [replica(PLAIN, &engine.url(), &["--drain", "2s"]), replica(PLAIN, &engine.url(), &[])];
    let load = Load::on(&servers).await;
    let admitted = || load.admitted.load(Ordering::Relaxed);
    tokio::task::block_in_place(|| eventually("some checks", || admitted() > 100));
    servers[0].signal("TERM");
    servers[0].log_until("draining for 2s");
    let before = admitted();
    tokio::task::block_in_place(|| eventually("more checks", || admitted() > before + 100));
    let all = load.end().await;
    assert_eq!(tokio::task::block_in_place(|| servers[0].wait()).code(), Some(0));
    let key: Vec<String> = engine.run(&["KEYS", "tg1:*:*"]);
    assert_eq!(engine.run::<u32>(&["GET", &key[0]]), all, "each admitted check is counted once: {key:?}");
}
