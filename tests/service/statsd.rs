//! Statistics of the running service, as a statsd on this machine receives them.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::{env, thread};

use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;

use crate::TestServer;
use crate::drain::check;
use crate::server::{DEADLINE, ReservedPort, THREE_A_MINUTE, binary, eventually, http, next_minute_if_late, rules_in};

/// What was received.
#[derive(Clone, Default)]
struct Inbox(Arc<Mutex<String>>);

impl Inbox {
    /// Receives what every connection sends, until the test ends.
    fn tcp(listener: TcpListener) -> Self {
        let inbox = Self::default();
        let all = inbox.clone();
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let all = all.clone();
                thread::spawn(move || {
                    let mut bytes = [0; 4096];
                    while let Ok(read @ 1..) = stream.read(&mut bytes) {
                        all.0.lock().unwrap().push_str(std::str::from_utf8(&bytes[..read]).unwrap());
                    }
                });
            }
        });
        inbox
    }

    fn udp(socket: UdpSocket) -> Self {
        let inbox = Self::default();
        let all = inbox.clone();
        thread::spawn(move || {
            let mut bytes = vec![0; 65_536];
            while let Ok(read) = socket.recv(&mut bytes) {
                all.0.lock().unwrap().push_str(std::str::from_utf8(&bytes[..read]).unwrap());
            }
        });
        inbox
    }

    /// The sums of the counters by `NAME` or `NAME TAGS`, of whole lines.
    fn sums(&self) -> BTreeMap<String, u64> {
        let text = self.0.lock().unwrap().clone();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut sums = BTreeMap::new();
        for line in whole.lines() {
            let (name, rest) = line.split_once(':').unwrap_or_else(|| panic!("{line}"));
            let mut parts = rest.split('|');
            let (value, kind) = (parts.next().unwrap(), parts.next().unwrap_or_else(|| panic!("{line}")));
            let name = parts.next_back().map_or_else(|| name.to_owned(), |tags| format!("{name} {tags}"));
            if kind == "c" {
                *sums.entry(name).or_default() += value.parse::<u64>().unwrap();
            }
        }
        sums
    }

    fn wait_for(&self, name: &str, sum: u64) {
        eventually(&format!("{name}: {sum}"), || self.sums().get(name).copied() == Some(sum));
    }
}

/// Checks of one value, of which three a minute are admitted.
async fn checks(server: &TestServer, count: usize) {
    let mut service = RateLimitServiceClient::new(server.channel().await);
    for _ in 0..count {
        service.should_rate_limit(check("key", "v")).await.unwrap();
    }
}

const OVER: &str = "ratelimit.service.rate_limit.api.key.over_limit";
const ALL: &str = "ratelimit.service.rate_limit.api.key.total_hits";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_hit_is_sent_once_and_the_last_ones_at_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let inbox = Inbox::tcp(listener);
    let flags = ["--statsd", &url, "--statsd-interval", "100ms", "--drain", "0s", "--metrics-label", "zone=a.b"];
    let mut server = TestServer::start(THREE_A_MINUTE, &flags);
    next_minute_if_late();
    checks(&server, 5).await;
    inbox.wait_for(&format!("{OVER}.__zone=a_b"), 2);
    inbox.wait_for(&format!("{ALL}.__zone=a_b"), 5);
    checks(&server, 4).await;
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    inbox.wait_for(&format!("{ALL}.__zone=a_b"), 9);
    inbox.wait_for("ratelimit_server.ShouldRateLimit.total_requests.__zone=a_b", 9);
    inbox.wait_for("ratelimit.service.config_load_success.__zone=a_b", 1);
    let text = inbox.0.lock().unwrap().clone();
    assert!(text.contains("ratelimit_server.ShouldRateLimit.response_time.__zone=a_b:"), "{text}");
    assert!(text.contains("tidegate_counters.__zone=a_b:1|g"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dogstatsd_by_the_variables_of_the_reference() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port().to_string();
    let inbox = Inbox::udp(socket);
    let dir = tempfile::tempdir().unwrap();
    let rules = rules_in(&dir, THREE_A_MINUTE);
    let mut command = Command::new(binary());
    command.args(["serve", "--as-ratelimit"]).env_clear().stdin(Stdio::null()).stderr(Stdio::piped());
    command.envs([("GRPC_HOST", "127.0.0.1"), ("GRPC_PORT", "0"), ("HOST", "127.0.0.1"), ("PORT", "0")]);
    command.envs([("DEBUG_HOST", "127.0.0.1"), ("DEBUG_PORT", "0"), ("TIDEGATE_ADMIN_ADDR", "127.0.0.1:0")]);
    command.envs([("TIDEGATE_CONFIG", &*rules), ("USE_STATSD", "false"), ("USE_DOG_STATSD", "true")]);
    command.envs([("STATSD_HOST", "127.0.0.1"), ("STATSD_PORT", &*port), ("STATS_FLUSH_INTERVAL", "100ms")]);
    command.envs([("EXTRA_TAGS", "git-commit:1.2"), ("USE_DOG_STATSD_MOGRIFIERS", "HITS")]);
    command.envs([
        ("DOG_STATSD_MOGRIFIER_HITS_PATTERN", r"^ratelimit\.service\.rate_limit\.([^.]+)\.(.*)\.([^.]+)$"),
        ("DOG_STATSD_MOGRIFIER_HITS_NAME", "ratelimit.service.rate_limit.$3"),
        ("DOG_STATSD_MOGRIFIER_HITS_TAGS", "domain:$1,descriptor:$2"),
    ]);
    let server = TestServer::spawn(dir, command);
    next_minute_if_late();
    checks(&server, 5).await;
    inbox.wait_for("ratelimit.service.rate_limit.over_limit #git-commit:1_2,domain:api,descriptor:key", 2);
    inbox.wait_for("ratelimit.service.config_load_success #git-commit:1_2", 1);
    eventually("a metric whose labels are tags", || {
        let text = inbox.0.lock().unwrap().clone();
        text.contains("tidegate_rule_limit:3|g|#git-commit:1_2,domain:api,rule:api.key,limit:1,period:60\n")
    });
    let log = server.log().join("\n");
    assert!(log.contains("USE_DOG_STATSD_MOGRIFIERS=HITS") && log.contains("pushing statistics to udp://"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_nobody_receives_checks_go_on_and_counts_wait() {
    let port = ReservedPort::new();
    let url = format!("tcp://127.0.0.1:{}", port.port);
    let server = TestServer::start(THREE_A_MINUTE, &["--statsd", &url, "--statsd-interval", "100ms"]);
    next_minute_if_late();
    checks(&server, 5).await;
    eventually("flushes that fail", || server.metric("tidegate_statsd_flush_failures_total") >= 5);
    assert_eq!(server.metric("tidegate_statsd_flushes_total"), 0);
    let reported = |log: &[String]| log.iter().filter(|line| line.contains("does not receive")).count();
    assert_eq!(reported(&server.log()), 1);
    let address: SocketAddr = format!("127.0.0.1:{}", port.port).parse().unwrap();
    drop(port);
    let inbox = Inbox::tcp(TcpListener::bind(address).unwrap());
    inbox.wait_for(OVER, 2);
    server.log_until("receives again");
    checks(&server, 1).await;
    inbox.wait_for(ALL, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statsd_that_does_not_read_holds_up_neither_checks_nor_the_end() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", silent.local_addr().unwrap());
    let flags = ["--statsd", &url, "--statsd-interval", "100ms", "--drain", "0s"];
    let mut server = TestServer::start(THREE_A_MINUTE, &flags);
    checks(&server, 500).await;
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}

/// A process that ends when it is dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

/// Prometheus' statsd_exporter, by `STATSD_EXPORTER_BIN`, with the mapping of the reference's Compose example.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statsd_exporter_understands_it() {
    let Some(program) = env::var_os("STATSD_EXPORTER_BIN") else {
        eprintln!("SKIPPED: STATSD_EXPORTER_BIN does not name the program");
        return;
    };
    let (web, tcp) = (ReservedPort::new(), ReservedPort::new());
    let (web_port, tcp_port) = (web.port, tcp.port);
    drop((web, tcp));
    let dir = tempfile::tempdir().unwrap();
    let mapping = dir.path().join("mapping.yaml");
    std::fs::write(&mapping, MAPPING).unwrap();
    let mut command = Command::new(program);
    command.arg(format!("--web.listen-address=127.0.0.1:{web_port}"));
    command.arg(format!("--statsd.listen-tcp=127.0.0.1:{tcp_port}")).arg("--statsd.listen-udp=");
    command.arg(format!("--statsd.mapping-config={}", mapping.display()));
    let exporter = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let _exporter = Ended(exporter);
    let address = format!("127.0.0.1:{web_port}");
    eventually("statsd_exporter", || std::net::TcpStream::connect(&address).is_ok());

    let url = format!("tcp://127.0.0.1:{tcp_port}");
    let server = TestServer::start(THREE_A_MINUTE, &["--statsd", &url, "--statsd-interval", "100ms"]);
    next_minute_if_late();
    checks(&server, 5).await;
    let expected = [
        "ratelimit_service_rate_limit_over_limit{domain=\"api\",key1=\"key\"} 2",
        "ratelimit_service_rate_limit_total_hits{domain=\"api\",key1=\"key\"} 5",
        "ratelimit_service_total_requests{grpc_method=\"ShouldRateLimit\"} 5",
        "tidegate_counters 1",
    ];
    let mut shown = String::new();
    let deadline = crate::server::Stopwatch::start();
    while !expected.iter().all(|line| shown.lines().any(|shown| shown == *line)) {
        assert!(deadline.elapsed() < DEADLINE, "{shown}\n{}", server.log().join("\n"));
        shown = http(&address, "GET", "/metrics", b"").1;
        thread::sleep(std::time::Duration::from_millis(20));
    }
    let count = shown.lines().find(|line| line.starts_with("ratelimit_service_response_time_seconds_count{"));
    assert!(count.is_some(), "{shown}");
    assert!(
        shown.contains("statsd_exporter_sample_errors_total{reason=\"malformed_line\"} 0")
            || !shown.contains("malformed_line"),
        "{shown}"
    );
}

/// After `examples/prom-statsd-exporter/conf.yaml` there.
const MAPPING: &str = r#"
mappings:
  - {match: "ratelimit.service.rate_limit.*.*.over_limit", name: "ratelimit_service_rate_limit_over_limit", labels: {domain: "$1", key1: "$2"}}
  - {match: "ratelimit.service.rate_limit.*.*.total_hits", name: "ratelimit_service_rate_limit_total_hits", labels: {domain: "$1", key1: "$2"}}
  - {match: "ratelimit_server.*.total_requests", name: "ratelimit_service_total_requests", labels: {grpc_method: "$1"}}
  - {match: "ratelimit_server.*.response_time", name: "ratelimit_service_response_time_seconds", observer_type: histogram, labels: {grpc_method: "$1"}}
"#;
