//! After a failover checks are charged by the new master, and the counters of other nodes never notice. How soon is printed, and not judged:
//! `cargo test --test shared_counters failover:: -- --nocapture --test-threads 1`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tonic::transport::Channel;

use crate::engines::{Cluster, Kind, Sentinels};
use crate::replicas::{admitted, replica};
use crate::server::{DEADLINE, Stopwatch, eventually_async};

/// Each check is charged on the store, or denied.
const RULES: &str = "domain: api
sharing: {mode: exact, when_down: deny}
descriptors: [{key: key, rate_limit: {unit: year, requests_per_unit: 1000000}}]
";
/// Between two tries of what is waited for.
const PAUSE: Duration = Duration::from_millis(1);

/// Waits in a thread of its own until the reply to a command is as wanted. Its result is when that was.
fn when_replied(
    time: Stopwatch,
    port: u16,
    command: String,
    wanted: impl Fn(&str) -> bool + Send + 'static,
) -> thread::JoinHandle<Duration> {
    let replied = move || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).ok()?;
        stream.write_all(format!("{command}\r\n").as_bytes()).ok()?;
        let mut reply = [0; 256];
        let length = stream.read(&mut reply).ok()?;
        wanted(&String::from_utf8_lossy(&reply[..length])).then_some(())
    };
    thread::spawn(move || {
        while replied().is_none() {
            assert!(time.elapsed() < DEADLINE, "no such reply");
            thread::sleep(PAUSE);
        }
        time.elapsed()
    })
}

/// Checks until one is admitted after one was denied. Returns when the answer came.
async fn charged_again(time: Stopwatch, channel: &Channel, value: &str) -> Duration {
    eventually_async("a check without the store", async || !admitted(channel, &[("key", value)]).await).await;
    while !admitted(channel, &[("key", value)]).await {
        assert!(time.elapsed() < DEADLINE, "no check is charged");
        tokio::time::sleep(PAUSE).await;
    }
    time.elapsed()
}

/// Below 0: the check was charged before this thread saw it.
fn ms_after(at: Duration, before: Duration) -> f64 {
    (at.as_secs_f64() - before.as_secs_f64()) * 1e3
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_are_charged_by_the_master_that_sentinels_name() {
    for kind in Kind::installed() {
        let mut set = Sentinels::start(kind);
        // One sentinel is on a host that is gone with the master's: it takes connections, and never answers.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let first = format!("redis+sentinel://{},", silent.local_addr().unwrap());
        let server = replica(RULES, &set.url().replace("redis+sentinel://", &first), &[]);
        let channel = server.channel().await;
        eventually_async("a check is charged", async || admitted(&channel, &[("key", "x")]).await).await;
        let (time, port) = (Stopwatch::start(), set.replica.port);
        let promoted = when_replied(time, port, "SET promoted yes".to_owned(), |reply| reply.starts_with('+'));
        let is_named = move |reply: &str| reply.contains(&port.to_string());
        let named = when_replied(time, set.watchers[0].port, Sentinels::question(), is_named);
        set.master.kill();
        let charged = charged_again(time, &channel, "x").await;
        let [promoted, named] = [promoted, named].map(|thread| thread.join().unwrap());
        eprintln!(
            "{kind:?}, sentinels: charged again {:.0} ms after the new master takes writes, {:.0} ms after a sentinel names it",
            ms_after(charged, promoted),
            ms_after(charged, named),
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_are_charged_by_the_master_that_a_cluster_elects() {
    for kind in Kind::installed() {
        let mut cluster = Cluster::start(kind);
        let server = replica(RULES, &cluster.url(), &[]);
        let channel = server.channel().await;
        // A value on the node that goes, and one on another.
        let (mut gone, mut stays) = (None, None);
        for number in 0..60 {
            let value = format!("value {number}");
            let keys = || cluster.nodes[0].run::<u64>(&["DBSIZE"]);
            let before = keys();
            eventually_async("every node is up", async || admitted(&channel, &[("key", &value)]).await).await;
            let place = if keys() > before { &mut gone } else { &mut stays };
            place.get_or_insert(value);
        }
        let (gone, stays) = (gone.unwrap(), stays.unwrap());
        let time = Stopwatch::start();
        // Slot 3300.
        let promoted =
            when_replied(time, cluster.nodes[3].port, "SET {b} yes".to_owned(), |reply| reply.starts_with('+'));
        let is_over = Arc::new(AtomicBool::new(false));
        let others = tokio::spawn({
            let (channel, is_over) = (channel.clone(), Arc::clone(&is_over));
            async move {
                let (mut denied, mut longest) = (0, Duration::ZERO);
                while !is_over.load(Ordering::Relaxed) {
                    let begun = Stopwatch::start();
                    denied += u32::from(!admitted(&channel, &[("key", &stays)]).await);
                    longest = longest.max(begun.elapsed());
                    tokio::time::sleep(PAUSE).await;
                }
                (denied, longest)
            }
        });
        cluster.nodes[0].kill();
        let charged = charged_again(time, &channel, &gone).await;
        is_over.store(true, Ordering::Relaxed);
        let (denied, longest) = others.await.unwrap();
        let promoted = promoted.join().unwrap();
        eprintln!(
            "{kind:?}, cluster: charged again {:.0} ms after the new master takes writes; longest check of another node {longest:.1?}",
            ms_after(charged, promoted),
        );
        assert_eq!(denied, 0, "{kind:?}: the other nodes are there");
    }
}
