//! The dashboard and the Prometheus rules under `deploy/` name what there is, and a real promtool takes them, and the
//! metrics of a real server.
//!
//! `PROMTOOL_BIN` names promtool (`./test` looks for one). Without it the tests that need it say `SKIPPED` and pass.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use std::{env, fs, thread};

use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate::telemetry::names::{METRICS, MetricKind};

use crate::control_plane::ControlPlane;
use crate::server::{ReservedPort, TestServer, http};
use crate::sets::Set;

const DASHBOARD: &str = "deploy/grafana/tidegate.json";
const RULES: &str = "deploy/prometheus/alerts.yaml";
/// Tests of [`RULES`] in promtool's own form.
const TESTS: &str = "deploy/prometheus/alerts.test.yaml";
const CONFIG: &str = "deploy/prometheus/prometheus.yaml";

fn read(path: &str) -> String {
    fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Every name that a series may have.
fn known() -> BTreeSet<String> {
    let suffixes = |kind| match kind {
        MetricKind::Counter | MetricKind::Gauge => &[""][..],
        MetricKind::Histogram => &["_bucket", "_sum", "_count"][..],
    };
    let names =
        METRICS.iter().flat_map(|metric| suffixes(metric.kind).iter().map(|end| format!("{}{end}", metric.name)));
    names.collect()
}

/// The names of the series that an expression asks for: words that are no function, keyword, label or number.
fn series(expression: &str) -> Vec<String> {
    const KEYWORDS: [&str; 9] = ["by", "without", "on", "ignoring", "and", "or", "unless", "bool", "offset"];
    let (mut found, mut rest, mut depth) = (Vec::new(), expression, 0);
    let mut labels_follow = false;
    while let Some(c) = rest.chars().next() {
        if let Some(inside) = ['{', '[', '"'].iter().position(|open| *open == c) {
            let close = ['}', ']', '"'][inside];
            rest = rest[1..].split_once(close).unwrap_or_else(|| panic!("no {close} in {expression}")).1;
            continue;
        }
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"_:$".contains(c)).unwrap_or(rest.len());
        let word = &rest[..end];
        if word.is_empty() {
            match c {
                '(' if labels_follow || depth > 0 => depth += 1,
                ')' if depth > 0 => depth -= 1,
                _ => {}
            }
            labels_follow &= c == ' ';
            rest = &rest[c.len_utf8()..];
            continue;
        }
        rest = &rest[end..];
        let is_call = ["(", " by (", " without ("].iter().any(|after| rest.starts_with(after));
        if KEYWORDS.contains(&word) {
            labels_follow = KEYWORDS[..4].contains(&word);
        } else if depth == 0 && !is_call && !word.starts_with(|c: char| c.is_ascii_digit()) {
            found.push(word.to_owned());
        }
    }
    found
}

#[test]
fn series_are_found_in_expressions() {
    for (expression, expected) in [
        ("up{job=\"a\"} == 0", vec!["up"]),
        ("sum by (le, job) (rate(a_bucket{x=~\"b|c\"}[5m])) > 0.5", vec!["a_bucket"]),
        ("a > 0.9 * b or sum without (x) (c) / on (y) d:e", vec!["a", "b", "c", "d:e"]),
        ("label_values(m{job=~\"$job\"}, instance)", vec!["m", "instance"]),
    ] {
        assert_eq!(series(expression), expected, "{expression}");
    }
}

#[test]
fn the_prometheus_rules_name_what_there_is() {
    let mut known = known();
    known.insert("up".to_owned());
    let text = read(RULES);
    let of = |key: &str| {
        let lines = text.lines().filter_map(|line| line.trim_start_matches([' ', '-']).strip_prefix(key));
        lines.map(|value| value.trim().to_owned()).collect::<Vec<_>>()
    };
    known.extend(of("record:"));
    let expressions = of("expr:");
    assert!(expressions.len() > 10, "{expressions:?}");
    for expression in expressions {
        let named = series(&expression);
        assert!(!named.is_empty() && named.iter().all(|name| known.contains(name)), "{named:?} in {expression}");
    }
}

#[test]
fn the_dashboard_names_what_there_is() {
    let known = known();
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let mut expressions = Vec::new();
    collect(&dashboard, &mut expressions);
    assert!(expressions.len() > 30, "{expressions:?}");
    for expression in expressions {
        let asked = match expression.strip_prefix("label_values(") {
            Some(query) => query.rsplit_once(',').unwrap().0,
            None => &expression,
        };
        let named = series(asked);
        assert!(!named.is_empty() && named.iter().all(|name| known.contains(name)), "{named:?} in {expression}");
    }
    let ids: Vec<_> = dashboard["panels"].as_array().unwrap().iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "panels have ids of their own");
}

/// Every expression and query below a value.
fn collect(value: &Value, expressions: &mut Vec<String>) {
    match value {
        Value::Object(pairs) => {
            for (key, value) in pairs {
                match value.as_str() {
                    Some(text) if key == "expr" || (key == "query" && text != "prometheus") => {
                        expressions.push(text.to_owned());
                    }
                    _ => collect(value, expressions),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, expressions)),
        _ => {}
    }
}

#[test]
fn promtool_takes_the_rules_and_the_example() {
    let Some(promtool) = promtool("promtool_takes_the_rules_and_the_example") else { return };
    for (command, what, file) in [("check", "rules", RULES), ("check", "config", CONFIG), ("test", "rules", TESTS)] {
        let file = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
        let (success, output) = run(&promtool, &[command, what, &file], "");
        assert!(success, "{output}");
    }
}

/// It minds the reference's names, which are as they must be, and takes the counters that are counted here for a type of
/// metric; nothing else.
#[test]
fn promtool_takes_the_metrics_of_a_server() {
    let Some(promtool) = promtool("promtool_takes_the_metrics_of_a_server") else { return };
    let text = scrape();
    let (_, output) = run(&promtool, &["check", "metrics"], &text);
    let accepted = |line: &str| {
        line.starts_with("ratelimit_service_") || line.ends_with("metric name should not include type 'counter'")
    };
    let minded = output.lines().filter(|line| !accepted(line));
    assert_eq!(minded.collect::<Vec<_>>(), [""; 0], "{text}");
    assert!(output.contains("_total"), "{output}");
}

/// Every metric that the documentation has is in a scrape of a server that has done a little of everything.
#[test]
fn a_scrape_has_every_metric() {
    let text = scrape();
    for metric in METRICS {
        let kind = match metric.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        let line = format!("# TYPE {} {kind}", metric.name);
        assert!(text.lines().any(|shown| shown == line), "no {line:?} in\n{text}");
    }
    let limit = r#"tidegate_rule_limit{domain="api",rule="api.key",limit="1",period="60"} 3"#;
    let second = r#"tidegate_rule_limit{domain="api",rule="api.two",limit="2",period="0.5"} 9"#;
    for line in [limit, second] {
        assert!(text.lines().any(|shown| shown == line), "no {line:?} in\n{text}");
    }
    // The first decision is sampled.
    let sampled = r#"tidegate_decision_seconds_bucket{le="+Inf"} "#;
    let sampled = text.lines().find_map(|line| line.strip_prefix(sampled)).unwrap();
    assert_ne!(sampled, "0", "{text}");
}

/// The metrics of a server that has decided about some checks.
fn scrape() -> String {
    let dir = TempDir::new().unwrap();
    let config = dir.path().join("rules.yaml");
    fs::write(&config, CONFIGURATION).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let [cert, key_file] = ["cert.pem", "key.pem"].map(|name| dir.path().join(name).to_string_lossy().into_owned());
    fs::write(&cert, certificate.pem()).unwrap();
    fs::write(&key_file, key.serialize_pem()).unwrap();
    // A store that is not there has every metric of one, and limits are counted here.
    let port = ReservedPort::new();
    let store = format!("redis://127.0.0.1:{}", port.port);
    let tls = ["--grpc-tls-cert", &cert, "--grpc-tls-key", &key_file];
    let flags = [&tls[..], &["--store", &store, "--statsd", "udp://127.0.0.1:9"]].concat();
    let server = TestServer::start_file(&config, &flags);
    server.log_until("the store is down");
    for domain in ["api", "api", "unknown"] {
        let check = json!({"domain": domain, "descriptors": [{"entries": [{"key": "key", "value": "v"}]}]});
        server.http("POST", "/json", check.to_string().as_bytes());
    }
    let address = format!("http://{}", server.admin);
    let setting = ["settings", "set", "--domain", "api", "enabled", "true", "--admin-addr", &address];
    assert_eq!(crate::server::run(&setting, "").0, Some(0));
    http(&server.admin, "GET", "/metrics", b"").1 + &scrape_of_control_plane()
}

/// What a server has more that gets its rules from a control plane.
fn scrape_of_control_plane() -> String {
    let plane = ControlPlane::start(Set::new("1", ""));
    let server = TestServer::spawn(TempDir::new().unwrap(), server_of(&plane.url()));
    plane.acked(0, "1");
    let text = http(&server.admin, "GET", "/metrics", b"").1;
    let lines: Vec<_> = text.lines().filter(|line| line.contains("tidegate_xds_")).collect();
    lines.join("\n") + "\n"
}

fn server_of(xds: &str) -> Command {
    let mut command = Command::new(crate::server::binary());
    let ports = ["--grpc-addr", "--http-addr", "--admin-addr"].map(|flag| [flag, "127.0.0.1:0"]);
    command.args(["serve", "--xds", xds]).args(ports.as_flattened());
    command
}

const CONFIGURATION: &str = "
domain: api
usage: {by: [key]}
descriptors:
- {key: key, rate_limit: {unit: minute, requests_per_unit: 3}}
- key: two
  rate_limits:
  - {unit: hour, requests_per_unit: 100, enabled: false}
  - {period: 500ms, requests_per_unit: 9}
";

/// Where promtool is; without one the test is skipped, which is said.
fn promtool(test: &str) -> Option<String> {
    let named = env::var("PROMTOOL_BIN").ok();
    let found = named.unwrap_or_else(|| "promtool".to_owned());
    let runs = !found.is_empty() && Command::new(&found).arg("--version").output().is_ok();
    if !runs {
        let why = "there is no promtool (./test looks for one; PROMTOOL_BIN names it)";
        let _ = std::io::stderr().write_all(format!("SKIPPED: {test}: {why}\n").as_bytes());
    }
    runs.then_some(found)
}

/// Whether it succeeded, and what it printed.
fn run(program: &str, arguments: &[&str], input: &str) -> (bool, String) {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_owned());
    let writer = thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}
