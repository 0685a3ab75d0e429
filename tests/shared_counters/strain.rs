//! What an engine that is silent or gone costs: connection attempts, memory, and the time of checks that need nothing of it.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use crate::changes::Load;
use crate::engines::{Cluster, Engine, Kind};
use crate::replicas::{admitted, replica};
use crate::server::{Stopwatch, TestServer, eventually, eventually_async, rules_in};

const BUSY: &str = "domain: api
descriptors: [{key: key, rate_limit: {unit: year, requests_per_unit: 1000000, sharing: {when_down: deny}}}]
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_gone_is_tried_ten_times_a_second_at_most() {
    // It accepts connections, and closes them.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, attempts) = (listener.local_addr().unwrap(), Arc::new(AtomicU32::new(0)));
    let counted = Arc::clone(&attempts);
    thread::spawn(move || {
        listener.incoming().for_each(|_| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
    });
    let stopwatch = Stopwatch::start();
    let server = TestServer::start(BUSY, &["--store", &format!("redis://{address}"), "--workers", "2"]);
    server.log_until("the store is down");
    let channel = server.channel().await;
    while stopwatch.elapsed() < Duration::from_secs(3) {
        assert!(!admitted(&channel, &[("key", "x")]).await);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (count, most) = (attempts.load(Ordering::Relaxed), stopwatch.elapsed().as_millis() / 100 + 1);
    assert!(count > 1 && u128::from(count) <= most, "{count} connections in {:?}", stopwatch.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_silent_seconds_cost_no_memory_and_no_check_that_has_a_lease() {
    let Some(kind) = Kind::any() else { return };
    let engine = Engine::start(kind);
    let server = replica(BUSY, &engine.url(), &["--store-replicas", "1"]);
    let channel = server.channel().await;
    // Busy for long enough that what is leased lasts.
    let begun = Stopwatch::start();
    while begun.elapsed() < Duration::from_secs(3) {
        assert!(admitted(&channel, &[("key", "x")]).await);
    }
    let waited = || server.metric("tidegate_store_checks_waited_total");
    let (resident, before) = (server.resident_bytes(), waited());
    let p99 = async |silent: bool| {
        let (mut times, clock) = (Vec::new(), Stopwatch::start());
        while clock.elapsed() < Duration::from_secs(5) {
            let one = Stopwatch::start();
            let is_admitted = admitted(&channel, &[("key", "x")]).await;
            assert!(is_admitted || silent);
            if is_admitted {
                times.push(one.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        times.sort_unstable();
        (times.len(), times[times.len() * 99 / 100])
    };
    let calm = p99(false).await;
    engine.pause();
    let silent = p99(true).await;
    let more = server.resident_bytes().saturating_sub(resident);
    engine.resume();
    eprintln!(
        "{kind:?}: with the engine {calm:?}, without it {silent:?} (checks, p99); {more} bytes more; {} waited",
        waited() - before
    );
    assert!(more < 16 << 20, "{more} bytes more");
    assert!(silent.0 > 100, "{silent:?}: a lease lasts for some seconds");
    eventually("the engine is back", || server.http("GET", "/readyz", b"").1.contains("store: up"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_of_a_rule_that_goes_away_under_load_go_back() {
    for kind in Kind::installed() {
        let engine = Engine::start(kind);
        let servers = [replica(BUSY, &engine.url(), &[]), replica(BUSY, &engine.url(), &[])];
        let load = Load::on(&servers).await;
        let granted = || {
            let keys: Vec<String> = engine.run(&["KEYS", "tg1:*:*"]);
            keys.first().map_or(0, |key| engine.run::<u64>(&["GET", key]))
        };
        tokio::task::block_in_place(|| eventually("some checks", || granted() > 1_000));
        let other = "domain: api\ndescriptors: [{key: other, rate_limit: {unit: year, requests_per_unit: 10}}]\n";
        for server in &servers {
            rules_in(&server.dir, other);
            let generation = || server.metric("tidegate_config_generation");
            let before = generation();
            server.signal("HUP");
            tokio::task::block_in_place(|| eventually("the reload", || generation() > before));
        }
        // What no rule limits is admitted, and asks nobody.
        load.end().await;
        let spent = || {
            let series = "ratelimit_service_rate_limit_within_limit{domain=\"api\",rule=\"api.key\",key1=\"key\"}";
            servers.iter().map(|server| server.metric(series)).sum::<u64>()
        };
        eventually("leases that are back", || granted() == spent());
        let before = spent();
        thread::sleep(Duration::from_millis(200));
        assert_eq!((granted(), spent()), (before, before), "{kind:?}: nothing is asked for any more");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_other_shards_of_a_cluster_never_notice_that_one_is_gone() {
    let Some(kind) = Kind::any() else { return };
    let mut cluster = Cluster::start(kind);
    let rules = "domain: api\nsharing: {mode: exact, when_down: deny}\ndescriptors: [{key: key, rate_limit: {unit: year, requests_per_unit: 100000}}]\n";
    let server = replica(rules, &cluster.url(), &[]);
    let channel = server.channel().await;
    // Which of these values are on the node that goes.
    let values: Vec<String> = (0..30).map(|number| format!("value {number}")).collect();
    let mut gone = Vec::new();
    for value in &values {
        let keys = || cluster.nodes[0].run::<u64>(&["DBSIZE"]);
        let before = keys();
        eventually_async("every node is up", async || admitted(&channel, &[("key", value)]).await).await;
        gone.push(keys() > before);
    }
    assert!(gone.contains(&true) && gone.contains(&false), "{gone:?}");
    // Its replica goes as well, so that nobody takes over.
    cluster.nodes[3].kill();
    cluster.nodes[0].kill();
    let mut denied = 0;
    for _ in 0..20 {
        for (value, is_gone) in values.iter().zip(&gone) {
            let is_admitted = admitted(&channel, &[("key", value)]).await;
            assert!(is_admitted || *is_gone, "{value} is on a node that is there");
            denied += u32::from(!is_admitted);
        }
    }
    assert!(denied > 0);
}
