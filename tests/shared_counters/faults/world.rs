//! Replicas and an engine, each process on a host of its own.

use std::fs;

use tempfile::TempDir;

use super::schedule::Topology;
use crate::engines::{Engine, Kind};
use crate::hosts::Network;
use crate::server::{DEADLINE, TestServer, eventually, wait_for};

pub(super) struct World {
    /// Those that run, in the order in which they are to end.
    pub(super) replicas: Vec<TestServer>,
    pub(super) engines: Vec<Engine>,
    watchers: Vec<Engine>,
    pub(super) topology: Topology,
    pub(super) network: Network,
}

pub(super) const REPLICAS: [&str; 3] = ["one", "two", "three"];

impl World {
    /// Starts everything; `Err`: why there are no hosts.
    pub(super) fn start(topology: Topology, kind: Kind, rules: &str, flags: &[&str]) -> Result<Self, String> {
        let (engines, watchers) = hosts(topology);
        let network = Network::lay(&[engines, watchers, &REPLICAS].concat())?;
        let mut world = Self { replicas: Vec::new(), engines: Vec::new(), watchers: Vec::new(), topology, network };
        match topology {
            Topology::Alone => {
                world.engines.push(world.engine(kind, engines[0], &["--appendonly", "yes", "--appendfsync", "always"]));
            }
            Topology::Sentinels => world.start_sentinels(kind),
            Topology::Cluster => world.start_cluster(kind),
        }
        let url = world.url();
        for host in REPLICAS {
            let flags = [&["--store", &url, "--drain", "300ms"], flags].concat();
            let server = world.network.on(host, || TestServer::start(rules, &flags));
            world.replicas.push(server);
        }
        for server in &world.replicas {
            server.log_until("the store answers");
        }
        Ok(world)
    }

    /// The host of an engine.
    pub(super) fn host(&self, engine: usize) -> &'static str {
        hosts(self.topology).0[engine]
    }

    /// Sends a command to an engine.
    pub(super) fn ask<T: redis::FromRedisValue + Send>(
        &self,
        engine: usize,
        command: &[&str],
    ) -> redis::RedisResult<T> {
        self.network.on(self.host(engine), || self.engines[engine].try_run(command))
    }

    /// The masters that there are now.
    pub(super) fn masters(&self) -> Vec<usize> {
        let is_master = |engine: &usize| self.info(*engine).contains("role:master\r");
        match self.topology {
            Topology::Alone => vec![0],
            Topology::Cluster => (0..self.engines.len()).filter(is_master).collect(),
            Topology::Sentinels => {
                let named = self.network.on(hosts(self.topology).1[0], || {
                    self.watchers[0].run::<Vec<String>>(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER])
                });
                let is_named = |engine: &usize| self.network.address(self.host(*engine)).to_string() == named[0];
                (0..self.engines.len()).filter(is_named).collect()
            }
        }
    }

    /// Whether a replica of this master would take its place.
    pub(super) fn has_heir(&self, master: usize) -> bool {
        let info = self.info(master);
        info.contains("role:master\r") && info.contains(",state=online,")
    }

    /// An engine that follows this master.
    pub(super) fn heir(&self, master: usize) -> Option<usize> {
        let address = self.network.address(self.host(master)).to_string();
        (0..self.engines.len()).find(|engine| {
            let info = self.info(*engine);
            info.contains(&format!("master_host:{address}\r")) && info.contains("master_link_status:up")
        })
    }

    fn info(&self, engine: usize) -> String {
        self.ask(engine, &["INFO", "replication"]).unwrap_or_default()
    }

    /// Tells the sentinels to promote the other engine. They may not be ready to.
    pub(super) fn promote(&self) -> bool {
        let host = hosts(self.topology).1[0];
        self.network.on(host, || self.watchers[0].try_run::<()>(&["SENTINEL", "FAILOVER", MASTER])).is_ok()
    }

    fn engine(&self, kind: Kind, host: &'static str, arguments: &[&str]) -> Engine {
        let address = self.network.address(host).to_string();
        let open = ["--bind", &address, "127.0.0.1", "--protected-mode", "no", "--repl-diskless-sync-delay", "0"];
        self.network.on(host, || Engine::start_with(kind, &[&open, arguments].concat()))
    }

    /// The address of an engine on its host.
    fn address(&self, engine: usize) -> String {
        format!("{}:{}", self.network.address(self.host(engine)), self.engines[engine].port)
    }

    fn url(&self) -> String {
        match self.topology {
            Topology::Alone => format!("redis://{}", self.address(0)),
            Topology::Cluster => format!("redis+cluster://{},{}", self.address(0), self.address(4)),
            Topology::Sentinels => {
                let hosts = hosts(self.topology).1.iter().zip(&self.watchers);
                let addresses: Vec<_> =
                    hosts.map(|(host, watcher)| format!("{}:{}", self.network.address(host), watcher.port)).collect();
                format!("redis+sentinel://{}/{MASTER}", addresses.join(","))
            }
        }
    }

    fn start_sentinels(&mut self, kind: Kind) {
        let (engines, watchers) = hosts(self.topology);
        self.engines.push(self.engine(kind, engines[0], &[]));
        let (host, port) = (self.network.address(engines[0]).to_string(), self.engines[0].port.to_string());
        self.engines.push(self.engine(kind, engines[1], &["--replicaof", &host, &port]));
        for watcher in watchers {
            let dir = TempDir::new().unwrap();
            let settings = format!(
                "sentinel monitor {MASTER} {host} {port} 2\nsentinel down-after-milliseconds {MASTER} 500\n\
                 sentinel failover-timeout {MASTER} 2000\n"
            );
            fs::write(dir.path().join("sentinel.conf"), settings).unwrap();
            let address = self.network.address(watcher).to_string();
            let arguments = ["sentinel.conf", "--sentinel", "--bind", &address, "127.0.0.1", "--protected-mode", "no"];
            let started = self.network.on(watcher, || Engine::start_in(kind, dir, &arguments));
            self.watchers.push(started);
        }
        eventually("a replica that follows", || self.has_heir(0));
        for (host, watcher) in watchers.iter().zip(&self.watchers) {
            self.network.on(host, || {
                eventually("a sentinel that knows the others", || {
                    let facts: Vec<String> = watcher.run(&["SENTINEL", "MASTER", MASTER]);
                    let fact = |name: &str| facts.iter().skip_while(|fact| *fact != name).nth(1).cloned();
                    fact("num-slaves").as_deref() == Some("1") && fact("num-other-sentinels").as_deref() == Some("2")
                });
            });
        }
    }

    fn start_cluster(&mut self, kind: Kind) {
        let settings = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
        let bus = ["--cluster-port", BUS, "--cluster-require-full-coverage", "no"];
        for host in hosts(self.topology).0 {
            self.engines.push(self.engine(kind, host, &[&settings[..], &bus].concat()));
        }
        for (master, [from, to]) in (0..3).zip([["0", "5460"], ["5461", "10922"], ["10923", "16383"]]) {
            self.ask::<()>(master, &["CLUSTER", "ADDSLOTSRANGE", from, to]).unwrap();
        }
        for other in 1..6 {
            let (host, port) =
                (self.network.address(self.host(other)).to_string(), self.engines[other].port.to_string());
            self.ask::<()>(0, &["CLUSTER", "MEET", &host, &port, BUS]).unwrap();
        }
        self.until_cluster("nodes that know each other", "cluster_known_nodes:6\r");
        for master in 0..3 {
            let id: String = self.ask(master, &["CLUSTER", "MYID"]).unwrap();
            wait_for("a replica of the cluster", DEADLINE, || {
                self.ask::<()>(master + 3, &["CLUSTER", "REPLICATE", &id]).ok()
            });
        }
        self.until_cluster("a complete cluster", "cluster_state:ok");
        for master in 0..3 {
            eventually("a replica that follows", || self.has_heir(master));
        }
    }

    fn until_cluster(&self, what: &str, part: &str) {
        for engine in 0..self.engines.len() {
            eventually(what, || self.ask::<String>(engine, &["CLUSTER", "INFO"]).is_ok_and(|info| info.contains(part)));
        }
    }
}

/// The hosts of engines and of sentinels.
const fn hosts(topology: Topology) -> (&'static [&'static str], &'static [&'static str]) {
    match topology {
        Topology::Alone => (&["store"], &[]),
        Topology::Sentinels => (&["data0", "data1"], &["watch0", "watch1", "watch2"]),
        Topology::Cluster => (&["node0", "node1", "node2", "node3", "node4", "node5"], &[]),
    }
}

const MASTER: &str = "counters";
/// Of the bus of a cluster: each node has a host of its own.
const BUS: &str = "16000";
