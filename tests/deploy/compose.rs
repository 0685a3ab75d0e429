//! The services of `deploy/compose/compose.yaml`, run as plain processes: the same commands and files, on free ports of this machine.
//!
//! Of Grafana, which is no package of Debian, there is what matters here: the queries of its dashboard, sent to the real Prometheus as it would.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;
use crate::documents::{list, parse, text_of};
use crate::proxy::{self, Envoy};
use crate::server::{DEADLINE, ReservedPort, TestServer, binary, next_minute_if_late, run, wait_for};
use crate::tools::{Tool, in_repository};

/// The file of compose, and where its volumes are here.
struct Compose {
    services: Value,
    dir: TempDir,
}

impl Compose {
    fn read() -> Self {
        let text = fs::read_to_string(in_repository("deploy/compose/compose.yaml")).unwrap();
        Self { services: parse(&text).remove(0)["services"].clone(), dir: TempDir::new().unwrap() }
    }

    /// The command of a service, with its paths here.
    fn command(&self, service: &str) -> Vec<String> {
        list(&self.services[service]["command"]).iter().map(|arg| self.here(service, text_of(arg))).collect()
    }

    /// A path of a service's container, perhaps behind a flag, as it is here: of a file of the repository, or in a directory for a volume.
    fn here(&self, service: &str, text: &str) -> String {
        let Some(at) = text.find('/') else { return text.to_owned() };
        let (before, path) = text.split_at(at);
        let mounted = list(&self.services[service]["volumes"]).iter().find_map(|volume| {
            let mut parts = text_of(volume).split(':');
            let (source, target) = (parts.next()?, parts.next()?);
            let below = path.strip_prefix(target).filter(|below| below.is_empty() || below.starts_with('/'))?;
            Some(format!("{before}{}{below}", self.source(source)))
        });
        mounted.unwrap_or_else(|| text.to_owned())
    }

    fn source(&self, source: &str) -> String {
        if source.starts_with('.') {
            return in_repository(&format!("deploy/compose/{source}"));
        }
        let volume = self.dir.path().join(source);
        fs::create_dir_all(&volume).unwrap();
        volume.to_string_lossy().into_owned()
    }

    /// The file that the container has at this path.
    fn file(&self, service: &str, path: &str) -> String {
        fs::read_to_string(self.here(service, path)).unwrap()
    }

    fn tidegate(&self) -> TestServer {
        let mut command = Command::new(binary());
        // A container has ports of its own.
        let args = self.command("tidegate").into_iter().map(|arg| arg.replace("0.0.0.0:9090", "127.0.0.1:0"));
        command.args(args).args(["--http-addr=127.0.0.1:0", "--admin-addr=127.0.0.1:0"]).stdout(Stdio::null());
        TestServer::spawn(TempDir::new().unwrap(), command)
    }

    /// Envoy starts once Tidegate is healthy, which its health check says.
    fn is_healthy(&self) -> bool {
        let test = list(&self.services["tidegate"]["healthcheck"]["test"]).iter().skip(2);
        let args: Vec<_> = test.map(|arg| self.here("tidegate", text_of(arg))).collect();
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        run(&args, "").0 == Some(0)
    }

    fn envoy(&self, binary: &Path, service: &ReservedPort) -> Envoy {
        let config = self.services["envoy"]["command"][1].as_str().unwrap();
        let text = self.file("envoy", config);
        let moved = [
            ("/run/tidegate/grpc.sock", self.here("envoy", "/run/tidegate/grpc.sock")),
            ("address: 0.0.0.0, port_value: 10000}", "address: 127.0.0.1, port_value: 0}".to_owned()),
            ("port_value: 9901}", "port_value: 0}".to_owned()),
            ("port_value: 10001}", format!("port_value: {}}}", service.port)),
            (" timeout: 0.25s", " timeout: 20s".to_owned()),
        ];
        let text = moved.iter().fold(text, |text, (from, to)| {
            assert!(text.contains(from), "{config} has no {from}");
            text.replace(from, to)
        });
        Envoy::start(binary, self.dir.path(), &text, 1)
    }

    fn prometheus(&self, tool: &Tool, metrics: &str) -> Prometheus {
        // It reads the rules next to its configuration, which has the address of the container, and asks every second here.
        let config = self.file("prometheus", "/etc/prometheus/prometheus.yaml");
        let moved = config.replace("tidegate:9090", metrics).replace("scrape_interval: 5s", "scrape_interval: 1s");
        assert!(moved.contains(metrics) && moved.contains("scrape_interval: 1s"), "{config}");
        let dir = self.dir.path().join("prometheus");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("prometheus.yaml"), moved).unwrap();
        fs::write(dir.join("alerts.yaml"), self.file("prometheus", "/etc/prometheus/alerts.yaml")).unwrap();
        let args = self.command("prometheus").into_iter().map(|arg| match arg.split_once('=') {
            Some(("--config.file", _)) => format!("--config.file={}", dir.join("prometheus.yaml").display()),
            _ => arg,
        });
        Prometheus::start(tool.command().args(args).arg("--web.listen-address=127.0.0.1:0"))
    }
}

/// A running Prometheus, killed when it is dropped.
struct Prometheus {
    process: Child,
    address: SocketAddr,
}

impl Prometheus {
    fn start(command: &mut Command) -> Self {
        let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut process = started.unwrap();
        let log = BufReader::new(process.stderr.take().unwrap());
        let (found, listening) = mpsc::channel();
        thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                if let Some((_, address)) = line.split_once("msg=\"Listening on\" address=") {
                    let _gone = found.send(address.trim().parse().unwrap());
                }
            }
        });
        let address = listening.recv_timeout(DEADLINE).expect("Prometheus says where it listens");
        let is_ready = || Client::to(address).get("/-/ready", &[]).status == 200;
        wait_for("a ready Prometheus", DEADLINE, || is_ready().then_some(()));
        Self { process, address }
    }

    /// The series that an expression returns.
    fn query(&self, expression: &str) -> Vec<Value> {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("query", expression).finish();
        let reply = Client::to(self.address).get(&format!("/api/v1/query?{query}"), &[]);
        let answer: Value = serde_json::from_str(&reply.body).unwrap_or_else(|_| panic!("{reply:?}"));
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        list(&answer["data"]["result"]).to_vec()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _status = self.process.wait();
    }
}

#[test]
fn the_services_of_compose_run_and_the_dashboard_has_series() {
    let (Some(binary), Some(tool)) = (proxy::installed(), Tool::prometheus()) else { return };
    let compose = Compose::read();
    let tidegate = compose.tidegate();
    wait_for("a healthy Tidegate", DEADLINE, || compose.is_healthy().then_some(()));
    let service = ReservedPort::new();
    let envoy = compose.envoy(&binary, &service);
    let log = tidegate.log_until("metrics=");
    let metrics = log.iter().find_map(|line| line.split_once(" metrics=")).unwrap().1;
    let prometheus = compose.prometheus(&tool, metrics.split(' ').next().unwrap());
    wait_for("the first scrape", DEADLINE, || (!prometheus.query("tidegate_build_info").is_empty()).then_some(()));

    // What compose's README shows, and what gives the other panels something to show.
    next_minute_if_late();
    let mut client = Client::to(envoy.gateway);
    let statuses = [(); 6].map(|()| client.get("/", &[("x-partner", b"acme")]).status);
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429]);
    let socket = compose.here("tidegate", "unix:/run/tidegate/grpc.sock");
    let (status, _, error) = run(&["ask", "--addr", &socket, "--domain", "unknown", "--descriptor", "a=b"], "");
    assert_eq!(status, Some(0), "{error}");
    let admin = format!("http://{}", tidegate.admin);
    let lifted = ["settings", "set", "--domain", "partner-api", "shadow_mode", "true", "--admin-addr", &admin];
    let (status, _, error) = run(&lifted, "");
    assert_eq!(status, Some(0), "{error}");

    for expression in expressions() {
        wait_for(&expression, DEADLINE, || (!prometheus.query(&expression).is_empty()).then_some(()));
    }
}

/// The queries of the dashboard, with its variables as they are at first: all of them.
fn expressions() -> Vec<String> {
    let text = fs::read_to_string(in_repository("deploy/grafana/tidegate.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut panels: Vec<_> = list(&dashboard["panels"]).iter().collect();
    panels.extend(list(&dashboard["panels"]).iter().flat_map(|panel| list(&panel["panels"])));
    let targets = panels.into_iter().flat_map(|panel| list(&panel["targets"]));
    let expressions = targets.map(|target| {
        let all = ["$job", "$instance", "$domain"]
            .iter()
            .fold(text_of(&target["expr"]).to_owned(), |text, variable| text.replace(variable, ".*"));
        all.replace("$__rate_interval", "1m")
    });
    let all: Vec<_> = expressions.collect();
    assert!(all.len() > 30 && all.iter().all(|expression| !expression.contains('$')), "{all:?}");
    all
}
