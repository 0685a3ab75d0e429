//! A rolling restart as a Deployment of the chart does it, behind a real Envoy with the cluster that the install prints.
//!
//! The parts of Kubernetes are played: its controller by [`Rollout`], the kubelet by [`Pod`], and its DNS by [`Dns`]. What they do is in the
//! rendered chart: surge, probes, preStop, drain, deadlines. Pods have addresses of their own, 127.0.0.2 and so on, and the port of the
//! Service. `ROLLING_RESTARTS=10` restarts that often.

use std::env;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::chart::{self, notes};
use crate::client::{Client, Stats, tally};
use crate::dns::Dns;
use crate::documents::{Documents, Workload, text_of};
use crate::proxy::{self, Envoy};
use crate::run::Running;
use crate::server::{DEADLINE, ReservedPort, Stopwatch, wait_for};
use crate::tools::Tool;

#[test]
fn a_rolling_restart_fails_no_request() {
    let Some(helm) = Tool::helm() else { return };
    let (Some(binary), Some(rendered)) = (proxy::installed(), chart::rendered()) else { return };
    let documents = rendered.iter().find(|documents| documents.name == "two pods").unwrap();
    let port = ReservedPort::new();
    let mut rollout = Rollout::begin(documents, "memory", port.port);
    let dir = TempDir::new().unwrap();
    let service = ReservedPort::new();
    let cluster = cluster(&notes(&helm, &["--set", "replicas=2"]), port.port);
    let envoy = Envoy::start(&binary, dir.path(), &bootstrap(&rollout.dns, &service, &cluster), 2);
    wait_for_healthy(&envoy, 2);
    let restarts = env::var("ROLLING_RESTARTS").map_or(1, |number| number.parse().unwrap());
    let clock = Stopwatch::start();
    // Each request has a partner of its own, so that no limit ends it.
    let seen = under_load(&envoy, &|number| format!("p{number}"), || {
        for _ in 0..restarts {
            rollout.restart();
            wait_for_healthy(&envoy, 2);
        }
    });
    report(restarts, &seen, clock.elapsed());
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [200], "{seen:?}");
    assert!(seen[&200] > 500, "too little traffic to show anything: {seen:?}");
    assert_eq!(envoy.rls_errors(), 0);
}

fn report(restarts: u32, seen: &Stats, within: Duration) {
    eprintln!("{restarts} rolling restarts of two pods in {within:.1?}: {seen:?}");
}

/// Sends requests at a rate while something is done: all their statuses. The partner of a request follows from its number.
pub(crate) fn under_load(envoy: &Envoy, partner: &(impl Fn(u64) -> String + Sync), run: impl FnOnce()) -> Stats {
    let (stop, sent, clock) = (AtomicBool::new(false), AtomicU64::new(0), Stopwatch::start());
    thread::scope(|scope| {
        let (stop, sent) = (&stop, &sent);
        let clients =
            [(); 4].map(|()| scope.spawn(|| send_at_rate(Client::to(envoy.gateway), clock, stop, sent, partner)));
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        stop.store(true, Ordering::Relaxed);
        let statuses: Vec<u16> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        done.unwrap_or_else(|failure| std::panic::resume_unwind(failure));
        tally(statuses)
    })
}

pub(crate) fn wait_for_healthy(envoy: &Envoy, pods: u64) {
    let all = ["membership_total", "membership_healthy"].map(|name| format!("cluster.tidegate.{name}"));
    wait_for("healthy pods, and no others", DEADLINE, || all.iter().all(|name| envoy.stat(name) == pods).then_some(()));
}

/// Takes the next request's turn in a schedule that all clients share, until the end.
fn send_at_rate(
    mut client: Client,
    since: Stopwatch,
    stop: &AtomicBool,
    sent: &AtomicU64,
    partner: &impl Fn(u64) -> String,
) -> Vec<u16> {
    let mut statuses = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let number = sent.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_micros(number * 1_000_000 / PER_SECOND).saturating_sub(since.elapsed()));
        let partner = partner(number);
        statuses.push(client.try_get("/", &[("x-partner", partner.as_bytes())]).map_or(0, |reply| reply.status));
    }
    statuses
}

const PER_SECOND: u64 = 150;

/// The Deployment's controller.
pub(crate) struct Rollout<'d> {
    documents: &'d Documents,
    /// The store's URL in its Secret.
    store: String,
    port: u16,
    pub(crate) dns: Dns,
    pods: Vec<Pod>,
    /// The last byte of the address of the last pod.
    last: u8,
}

impl<'d> Rollout<'d> {
    /// All replicas, ready.
    pub(crate) fn begin(documents: &'d Documents, store: &str, port: u16) -> Self {
        let replicas = documents.only("Deployment")["spec"]["replicas"].as_u64().unwrap();
        let mut last = 1;
        let pods: Vec<_> = (0..replicas).map(|_| Pod::start(documents, store, port, &mut last)).collect();
        let dns = Dns::start(NAME, CACHED, pods.iter().map(|pod| pod.address).collect());
        Self { documents, store: store.to_owned(), port, dns, pods, last }
    }

    /// Replaces all pods: a new one is started, and when it is available an old one is stopped, whose end nobody waits for.
    pub(crate) fn restart(&mut self) {
        let spec = &self.documents.only("Deployment")["spec"];
        let strategy = &spec["strategy"]["rollingUpdate"];
        assert_eq!((strategy["maxSurge"].as_u64(), strategy["maxUnavailable"].as_u64()), (Some(1), Some(0)));
        let available_after = Duration::from_secs(spec["minReadySeconds"].as_u64().unwrap_or(0));
        let mut ending = Vec::new();
        for _ in 0..self.pods.len() {
            let new = Pod::start(self.documents, &self.store, self.port, &mut self.last);
            self.pods.push(new);
            self.publish();
            thread::sleep(available_after);
            let old = self.pods.remove(0);
            self.publish();
            ending.push(old.stop(self.documents));
        }
        for pod in ending {
            pod.join().unwrap();
        }
    }

    /// Stops all pods, of which nobody asks anything any more.
    pub(crate) fn end(self) {
        for pod in &self.pods {
            pod.running.server.signal("TERM");
        }
        for mut pod in self.pods {
            assert!(pod.running.server.ended(DEADLINE).success(), "{}", pod.address);
        }
    }

    fn publish(&self) {
        self.dns.set(self.pods.iter().map(|pod| pod.address).collect());
    }
}

/// A pod, as the kubelet starts and stops it.
struct Pod {
    address: Ipv4Addr,
    running: Running,
}

impl Pod {
    /// It is ready.
    fn start(documents: &Documents, store: &str, port: u16, last: &mut u8) -> Self {
        *last += 1;
        let address = Ipv4Addr::new(127, 0, 0, *last);
        let running = Running::start_at(documents, store, &format!("{address}:{port}"));
        let get = &server(documents)["readinessProbe"]["httpGet"];
        wait_for("readiness", DEADLINE, || (running.get(text_of(&get["path"]), false).0 == 200).then_some(()));
        Self { address, running }
    }

    fn stop(mut self, documents: &Documents) -> JoinHandle<()> {
        let hook = server(documents)["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap();
        let grace = documents.only("Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64();
        let after_the_hook = Duration::from_secs(grace.unwrap() - hook);
        thread::spawn(move || {
            thread::sleep(Duration::from_secs(hook));
            self.running.server.signal("TERM");
            let status = self.running.server.ended(after_the_hook);
            assert!(status.success(), "{} ended with {status}", self.address);
        })
    }
}

fn server(documents: &Documents) -> &Value {
    documents.workloads().find_map(Workload::server).unwrap()
}

/// The name of the Service.
const NAME: &str = "shop-tidegate.limits.svc.cluster.local";

/// What caches of DNS add to the age of an answer: the life of one of CoreDNS for a Service.
const CACHED: Duration = Duration::from_secs(5);

/// The cluster that the install prints, with the port of here.
pub(crate) fn cluster(notes: &str, port: u16) -> String {
    let text = chart::cluster(notes);
    let address = format!("address: {NAME}, port_value: ");
    assert!(text.contains(&format!("{address}8081")), "{text}");
    text.replace(&format!("{address}8081"), &format!("{address}{port}"))
}

/// The gateway, which resolves names by this DNS in place of the machine's.
pub(crate) fn bootstrap(dns: &Dns, service: &ReservedPort, cluster: &str) -> String {
    let resolver = "typed_dns_resolver_config:
  name: envoy.network.dns_resolver.cares
  typed_config:
    '@type': type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig
    resolvers: [{socket_address: {address: 127.0.0.1, port_value: DNS_PORT}}]
    dns_resolver_options: {no_default_search_domain: true}
";
    let resolver = resolver.replace("DNS_PORT", &dns.address.port().to_string());
    // On a busy machine an answer may take longer than Envoy waits in production; the timeout is not what is tested.
    resolver + &gateway("20s", service.port, cluster)
}

/// Envoy in front of a service that it plays, too: it denies what it has no answer for within the timeout.
pub(crate) fn gateway(timeout: &str, service: u16, cluster: &str) -> String {
    let indent = cluster.lines().next().map_or(0, |line| line.len() - line.trim_start().len());
    let cluster: String = cluster.lines().flat_map(|line| ["  ", &line[indent.min(line.len())..], "\n"]).collect();
    let text = include_str!("gateway.envoy.yaml").replace("SERVICE_PORT", &service.to_string());
    text.replace("RLS_TIMEOUT", timeout) + &cluster
}
