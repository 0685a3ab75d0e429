//! What callers of a gateway see when hosts fail: an Envoy, two Tidegates and a store, each on a host of its own.
//!
//! docs/OPERATIONS.md says the same in a table. Envoy denies what it has no answer for, so that nothing goes unnoticed.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::client::{Client, Stats, tally};
use crate::engines::Kind;
use crate::hosts::{Network, Relay};
use crate::proxy::{self, Envoy};
use crate::rolling::gateway;
use crate::server::{DEADLINE, Stopwatch, TestServer, command, rules_in, wait_for};
use crate::tools::skip;

/// A limit that ends with no window while the test runs.
const RULES: &str =
    "domain: partner-api\ndescriptors:\n  - key: partner\n    rate_limit: {unit: year, requests_per_unit: 20}\n";

const TIDEGATES: [&str; 2] = ["one", "two"];

/// The hosts, and what runs on them, in the order in which it is to end.
struct Lab {
    envoy: Envoy,
    tidegates: Vec<TestServer>,
    /// In front of each Tidegate, and of the store.
    relays: Vec<Relay>,
    store_relay: Relay,
    _store: Store,
    network: Network,
    _dir: TempDir,
}

/// The process of a store, killed when it is dropped.
struct Store(Child);

impl Drop for Store {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

impl Lab {
    fn open() -> Option<Self> {
        let (binary, kind) = (proxy::installed()?, Kind::any()?);
        let network = Network::lay(&["envoy", TIDEGATES[0], TIDEGATES[1], "store"]);
        let network = network.map_err(|why| skip(&format!("no network namespaces: {why}"))).ok()?;
        let dir = TempDir::new().unwrap();
        let at = |host: &str, port: u16| SocketAddr::from((network.address(host), port));
        let loopback = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let (store, store_relay) =
            network.on("store", || (start_store(kind, dir.path()), Relay::start(at("store", 6379), loopback(6380))));
        let url = format!("redis://{}", at("store", 6379));
        let mut relays = Vec::new();
        let mut tidegates = Vec::new();
        for host in TIDEGATES {
            let (server, relay) = network.on(host, || {
                let dir = TempDir::new().unwrap();
                let flags = ["--grpc-addr", "127.0.0.1:8082", "--drain", "3s", "--store", &url, "--store-required"];
                let command = command(&rules_in(&dir, RULES), &flags);
                (TestServer::spawn(dir, command), Relay::start(at(host, 8081), loopback(8082)))
            });
            tidegates.push(server);
            relays.push(relay);
        }
        let bootstrap = gateway("1s", 10001, &cluster(&TIDEGATES.map(|host| at(host, 8081))));
        let envoy = network.on("envoy", || Envoy::start(&binary, dir.path(), &bootstrap, 1));
        let lab = Self { envoy, tidegates, relays, store_relay, _store: store, network, _dir: dir };
        lab.wait_for_healthy(2);
        lab.wait_for_store(1);
        Some(lab)
    }

    /// Sends so many requests of a partner, one after the other: their statuses, and how long the slowest took.
    fn send(&self, partner: &str, requests: usize) -> (Stats, Duration) {
        self.network.on("envoy", || {
            let mut client = Client::to(self.envoy.gateway);
            let mut slowest = Duration::ZERO;
            let statuses: Vec<_> = (0..requests)
                .map(|_| {
                    let stopwatch = Stopwatch::start();
                    let status = client.get("/", &[("x-partner", partner.as_bytes())]).status;
                    slowest = slowest.max(stopwatch.elapsed());
                    status
                })
                .collect();
            (tally(statuses), slowest)
        })
    }

    /// Sends so many requests of a new partner, all of which the store has counted: on a busy machine some would wait for it for too long.
    fn send_counted(&self, what: &str, requests: usize) -> (Stats, Duration) {
        let mut number = 0;
        wait_for("requests that the store has counted", DEADLINE, || {
            number += 1;
            let before = self.uncounted();
            let sent = self.send(&format!("{what}, {number}"), requests);
            (self.uncounted() == before).then_some(sent)
        })
    }

    /// How many checks were answered without the store.
    fn uncounted(&self) -> u64 {
        let of = |(host, server): (&&str, &TestServer)| {
            let (_, text) = self.network.on(host, || server.http("GET", "/metrics", b""));
            let counts = text.lines().filter(|line| line.starts_with("tidegate_store_checks_down_total{"));
            counts.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum::<u64>()
        };
        TIDEGATES.iter().zip(&self.tidegates).map(of).sum()
    }

    /// Sends requests of partners without a limit that is reached, until this is so.
    fn send_until(&self, what: &str, mut is_so: impl FnMut() -> bool) -> Stats {
        let (mut all, mut number) = (Stats::new(), 0);
        wait_for(what, DEADLINE, || {
            number += 1;
            let (seen, _) = self.send(&format!("{what} {number}"), 10);
            for (status, count) in seen {
                *all.entry(status).or_default() += count;
            }
            is_so().then_some(())
        });
        all
    }

    fn healthy(&self) -> u64 {
        self.network.on("envoy", || self.envoy.stat("cluster.tidegate.membership_healthy"))
    }

    fn wait_for_healthy(&self, replicas: u64) {
        wait_for(&format!("{replicas} healthy replicas"), DEADLINE, || (self.healthy() == replicas).then_some(()));
    }

    /// Waits until both replicas report the store as up, or as down.
    fn wait_for_store(&self, up: u64) {
        for (host, server) in TIDEGATES.iter().zip(&self.tidegates) {
            let ask =
                || server.metric(&format!("tidegate_store_up{{node=\"{}:6379\"}}", self.network.address("store")));
            self.network.on(host, || wait_for(&format!("the store as {up}"), DEADLINE, || (ask() == up).then_some(())));
        }
    }
}

fn start_store(kind: Kind, dir: &Path) -> Store {
    let mut store = Command::new(kind.find().unwrap());
    store.args(["--port", "6380", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]).current_dir(dir);
    let log = File::create(dir.join("store.log")).unwrap();
    let started = store.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
    Store(started)
}

/// With the health check of the examples.
fn cluster(replicas: &[SocketAddr]) -> String {
    let text = fs::read_to_string(crate::tools::in_repository("deploy/envoy/gateway.yaml")).unwrap();
    let (_, checks) = text.split_once("      health_checks:\n").unwrap();
    let endpoint = |address: &SocketAddr| {
        format!(
            "            - endpoint: {{address: {{socket_address: {{address: {}, port_value: {}}}}}}}\n",
            address.ip(),
            address.port()
        )
    };
    let endpoints: String = replicas.iter().map(endpoint).collect();
    format!(
        "    - name: tidegate
      type: STATIC
      connect_timeout: 0.25s
      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          '@type': type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config: {{http2_protocol_options: {{}}}}
      load_assignment:
        cluster_name: tidegate
        endpoints:
        - lb_endpoints:
{endpoints}      health_checks:
{checks}"
    )
}

fn served(seen: &Stats) -> usize {
    seen.get(&200).copied().unwrap_or(0)
}

/// Nobody got an error: what was not served was over its limit.
#[track_caller]
fn without_errors(what: &str, seen: &Stats) {
    assert!(seen.keys().all(|status| [200, 429].contains(status)), "{what}: {seen:?}");
}

#[test]
fn callers_see_what_the_documentation_says() {
    let Some(mut lab) = Lab::open() else { return };
    let (seen, _) = lab.send_counted("all is well", 30);
    assert_eq!((served(&seen), seen.get(&429)), (20, Some(&10)), "both replicas count together: {seen:?}");
    a_tidegate_is_cut_off(&lab);
    a_tidegate_stops(&mut lab);
    a_tidegate_is_slow(&lab);
    the_store_is_slow(&lab);
    the_store_is_cut_off(&lab);
    assert_eq!(lab.send_counted("all is well again", 30).0, Stats::from([(200, 20), (429, 10)]));
}

/// Requests that are sent to it have no answer until the health check has none either.
fn a_tidegate_is_cut_off(lab: &Lab) {
    lab.network.cut_off("two");
    let during = lab.send_until("a cut-off replica", || lab.healthy() == 1);
    let failed = during.get(&500).copied().unwrap_or(0);
    eprintln!("a Tidegate cut off: {during:?} until the health check");
    assert!(failed > 0 && failed < 20, "{during:?}");
    let (seen, _) = lab.send_counted("a replica is cut off", 30);
    assert_eq!((served(&seen), seen.get(&429)), (20, Some(&10)), "the other one counts exactly: {seen:?}");
    lab.network.connect("two");
    lab.wait_for_healthy(2);
    without_errors("after it is back", &lab.send("it is back", 30).0);
}

/// Nobody notices.
fn a_tidegate_stops(lab: &mut Lab) {
    lab.tidegates[1].signal("TERM");
    let during = lab.send_until("a replica that stops", || lab.tidegates[1].process_status("State:").starts_with('Z'));
    eprintln!("a Tidegate stopped: {during:?} until its end");
    without_errors("while it stops", &during);
    let url = format!("redis://{}:6379", lab.network.address("store"));
    lab.tidegates[1] = lab.network.on("two", || {
        let dir = TempDir::new().unwrap();
        let flags = ["--grpc-addr", "127.0.0.1:8082", "--drain", "3s", "--store", &url];
        let command = command(&rules_in(&dir, RULES), &flags);
        TestServer::spawn(dir, command)
    });
    lab.wait_for_healthy(2);
    lab.wait_for_store(1);
}

/// Its answers are late, and come in time.
fn a_tidegate_is_slow(lab: &Lab) {
    lab.relays[1].set_round_trip(SLOW);
    let (seen, slowest) = lab.send_counted("a slow replica", 30);
    assert_eq!((served(&seen), seen.get(&429)), (20, Some(&10)), "{seen:?}");
    assert!(slowest >= SLOW, "{slowest:?}");
    eprintln!("a Tidegate 50 ms slower: {seen:?}, the slowest request {slowest:.0?}");
    lab.relays[1].set_round_trip(Duration::ZERO);
}

/// Slower than --store-timeout, so each replica admits its share of the limit.
fn the_store_is_slow(lab: &Lab) {
    lab.store_relay.set_round_trip(SLOW);
    let during = lab.send_until("a slow store", || lab.errors_of_store());
    without_errors("while the store is slow", &during);
    let (seen, slowest) = lab.send("the store is slow", 60);
    eprintln!("a store 50 ms slower: {seen:?} of a limit of 20, the slowest request {slowest:.0?}");
    without_errors("while the store is slow", &seen);
    assert!((1..=40).contains(&served(&seen)), "{seen:?}");
    lab.store_relay.set_round_trip(Duration::ZERO);
    lab.wait_for_store(1);
}

/// The same, and what was admitted meanwhile is charged when it is back.
fn the_store_is_cut_off(lab: &Lab) {
    let half = "half of a limit";
    let (before, _) = lab.send(half, 10);
    assert_eq!(served(&before), 10);
    lab.network.cut_off("store");
    let during = lab.send_until("a cut-off store", || true);
    lab.wait_for_store(0);
    without_errors("while the store goes", &during);
    let (seen, slowest) = lab.send(half, 60);
    without_errors("without a store", &seen);
    let (new, _) = lab.send("no store", 60);
    without_errors("without a store", &new);
    eprintln!(
        "a store cut off: {seen:?} after 10 of a limit of 20, {new:?} of a new one, the slowest request {slowest:.0?}"
    );
    assert!((1..=20).contains(&served(&seen)), "at most one limit more: {seen:?}");
    assert!((1..=20).contains(&served(&new)), "shares of a limit: {new:?}");
    lab.network.connect("store");
    lab.wait_for_store(1);
    wait_for("charges of what was admitted", DEADLINE, || (served(&lab.send("no store", 1).0) == 0).then_some(()));
}

const SLOW: Duration = Duration::from_millis(50);

impl Lab {
    /// Whether both replicas have found the store too slow.
    fn errors_of_store(&self) -> bool {
        let down = "tidegate_store_breaker_open_total";
        let node = format!("{down}{{node=\"{}:6379\"}}", self.network.address("store"));
        let mut servers = TIDEGATES.iter().zip(&self.tidegates);
        servers.all(|(host, server)| self.network.on(host, || server.metric(&node)) > 0)
    }
}
