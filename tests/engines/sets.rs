//! Several engines that belong together.

use std::fs;
use std::time::Duration;

use tempfile::TempDir;

use super::process::free_port;
use super::{Engine, Kind};
use crate::server::wait_for;

/// A master and a replica, and three sentinels that know them by the name `counters`.
pub(crate) struct Sentinels {
    pub(crate) master: Engine,
    pub(crate) replica: Engine,
    pub(crate) watchers: Vec<Engine>,
}

impl Sentinels {
    /// Starts all of them, and waits until the sentinels know the replica.
    pub(crate) fn start(kind: Kind) -> Self {
        let master = Engine::start(kind);
        let port = master.port.to_string();
        let replica = Engine::start_with(kind, &["--replicaof", &format!("127.0.0.1 {port}")]);
        let watchers: Vec<_> = (0..3).map(|_| sentinel(kind, &port)).collect();
        wait_for("sentinels that know each other and the replica", SETTLING, || {
            watchers
                .iter()
                .all(|sentinel| {
                    let facts: Vec<String> = sentinel.run(&["SENTINEL", "MASTER", MASTER]);
                    let fact = |name: &str| facts.iter().skip_while(|fact| *fact != name).nth(1).cloned();
                    fact("num-slaves").as_deref() == Some("1") && fact("num-other-sentinels").as_deref() == Some("2")
                })
                .then_some(())
        });
        Self { master, replica, watchers }
    }

    /// The URL for `--store`.
    pub(crate) fn url(&self) -> String {
        let addresses: Vec<_> = self.watchers.iter().map(Engine::address).collect();
        format!("redis+sentinel://{}/{MASTER}", addresses.join(","))
    }

    /// What asks a sentinel for the address of the master.
    pub(crate) fn question() -> String {
        format!("SENTINEL GET-MASTER-ADDR-BY-NAME {MASTER}")
    }
}

fn sentinel(kind: Kind, master_port: &str) -> Engine {
    let dir = TempDir::new().unwrap();
    let settings = format!(
        "sentinel monitor {MASTER} 127.0.0.1 {master_port} 2\nsentinel down-after-milliseconds {MASTER} 500\n\
         sentinel failover-timeout {MASTER} 2000\n"
    );
    fs::write(dir.path().join("sentinel.conf"), settings).unwrap();
    Engine::start_in(kind, dir, &["sentinel.conf", "--sentinel"])
}

/// Three masters, which share the slots, each with a replica.
pub(crate) struct Cluster {
    /// The masters first. A replica's master is three places before it.
    pub(crate) nodes: Vec<Engine>,
}

impl Cluster {
    /// Starts all nodes, and waits until each knows that the cluster is complete.
    pub(crate) fn start(kind: Kind) -> Self {
        let cluster = Self { nodes: (0..6).map(|_| node(kind)).collect() };
        let [first, others @ ..] = &cluster.nodes[..] else { unreachable!("six nodes") };
        for (master, [from, to]) in cluster.nodes.iter().zip(SLOTS) {
            master.run::<()>(&["CLUSTER", "ADDSLOTSRANGE", from, to]);
        }
        for other in others {
            let bus = other.run::<Vec<String>>(&["CONFIG", "GET", "cluster-port"]).remove(1);
            first.run::<()>(&["CLUSTER", "MEET", "127.0.0.1", &other.port.to_string(), &bus]);
        }
        cluster.wait("nodes that know each other", |info| info.contains("cluster_known_nodes:6\r"));
        for (master, replica) in cluster.nodes.iter().zip(&cluster.nodes[3..]) {
            let id: String = master.run(&["CLUSTER", "MYID"]);
            wait_for("a replica of the cluster", SETTLING, || {
                replica.try_run::<()>(&["CLUSTER", "REPLICATE", &id]).ok()
            });
        }
        cluster.wait("a complete cluster", |info| info.contains("cluster_state:ok"));
        wait_for("replicas that are connected", SETTLING, || {
            let is_up = |node: &Engine| node.run::<String>(&["INFO", "replication"]).contains("master_link_status:up");
            cluster.nodes[3..].iter().all(is_up).then_some(())
        });
        cluster
    }

    /// The URL for `--store`, with two of the nodes.
    pub(crate) fn url(&self) -> String {
        format!("redis+cluster://{},{}", self.nodes[0].address(), self.nodes[4].address())
    }

    fn wait(&self, what: &str, is_so: impl Fn(&str) -> bool) {
        wait_for(what, SETTLING, || {
            self.nodes.iter().all(|node| is_so(&node.run::<String>(&["CLUSTER", "INFO"]))).then_some(())
        });
    }
}

fn node(kind: Kind) -> Engine {
    let bus = free_port().to_string();
    Engine::start_with(
        kind,
        &[
            "--cluster-enabled",
            "yes",
            "--cluster-port",
            &bus,
            "--cluster-node-timeout",
            "1000",
            "--cluster-require-full-coverage",
            "no",
        ],
    )
}

const MASTER: &str = "counters";
const SLOTS: [[&str; 2]; 3] = [["0", "5460"], ["5461", "10922"], ["10923", "16383"]];
const SETTLING: Duration = Duration::from_mins(1);
