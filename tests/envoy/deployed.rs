//! The examples under `deploy/envoy/` and in the kustomize overlays, which have the same files: as they are, but for ports, addresses and
//! timeouts.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;

use crate::bootstrap::Gateway;
use crate::client::{Client, Header};
use crate::lab::{Lab, my_turn};
use crate::proxy::{self, Envoy};
use crate::server::{DEADLINE, ReservedPort, TestServer, next_minute_if_late, wait_for};

const SIDECAR: &str = include_str!("../../deploy/envoy/sidecar.yaml");
const GATEWAY: &str = include_str!("../../deploy/envoy/gateway.yaml");
pub(crate) const GATEWAY_RULES: &str = include_str!("../../deploy/envoy/gateway.ratelimit.yaml");
const SHARDED: &str = include_str!("../../deploy/envoy/sharded.yaml");
const STANDBY: &str = include_str!("../../deploy/envoy/active-standby.yaml");
const TCP: &str = include_str!("../../deploy/envoy/tcp.yaml");
const TCP_RULES: &str = include_str!("../../deploy/envoy/tcp.ratelimit.yaml");
const PLAIN: &str = include_str!("../../deploy/envoy/envoy.yaml");
const README: &str = include_str!("../../deploy/envoy/README.md");
const RULES: &str = include_str!("../../deploy/envoy/ratelimit.yaml");

/// Five in a year for each partner: no window ends while a test counts.
const FIVE: &str =
    "domain: partner-api\ndescriptors:\n  - key: partner\n    rate_limit: {unit: year, requests_per_unit: 5}\n";

/// The example with these texts replaced, each of which it must have; on free ports, and with time enough on a busy machine.
fn here(example: &str, service: &ReservedPort, replaced: &[(&str, String)]) -> String {
    let service = format!("port_value: {}}}", service.port);
    let always = [
        ("address: 0.0.0.0, port_value: 10000}", "address: 127.0.0.1, port_value: 0}".to_owned()),
        ("port_value: 9901}", "port_value: 0}".to_owned()),
        ("port_value: 10001}", service),
        (" timeout: 0.25s", " timeout: 20s".to_owned()),
    ];
    always.iter().chain(replaced).fold(example.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "the example has no {from}");
        text.replace(from, to)
    })
}

/// The gateway in front of this Tidegate.
pub(crate) fn gateway_here(rls: &[SocketAddr], service: &ReservedPort) -> String {
    let tidegate = format!("address: localhost, port_value: {}", rls[0].port());
    let replaced = [
        ("address: tidegate.limits.svc.cluster.local, port_value: 8081", tidegate),
        // Only the addresses on which Tidegate listens.
        ("dns_lookup_family: ALL", "dns_lookup_family: V4_ONLY".to_owned()),
        (" timeout: 0.5s", " timeout: 20s".to_owned()),
    ];
    here(GATEWAY, service, &replaced)
}

/// How many of these requests are served; all others are denied.
fn served(client: &mut Client, requests: usize, path: &str, headers: &[Header]) -> usize {
    let statuses = (0..requests).map(|_| client.get(path, headers).status);
    statuses.inspect(|status| assert!([200, 429].contains(status), "{status}")).filter(|status| *status == 200).count()
}

#[test]
fn the_sidecar_is_limited_over_a_unix_socket() {
    let Some(binary) = proxy::installed() else { return };
    let _turn = my_turn();
    let dir = TempDir::new().unwrap();
    let socket = dir.path().join("grpc.sock");
    let _tidegate = TestServer::start(RULES, &["--grpc-addr", &format!("unix:{}", socket.display())]);
    let service = ReservedPort::new();
    let bootstrap = here(SIDECAR, &service, &[("/run/tidegate/grpc.sock", socket.display().to_string())]);
    let envoy = Envoy::start(&binary, dir.path(), &bootstrap, 1);
    next_minute_if_late();
    let mut client = Client::to(envoy.gateway);
    assert_eq!(served(&mut client, 7, "/", &[("x-partner", b"acme")]), 5);
    assert_eq!(served(&mut client, 7, "/", &[]), 7, "without a partner");
    assert_eq!(envoy.rls_errors(), 0);
}

#[test]
fn the_gateway_limits_what_its_comment_says() {
    let service = ReservedPort::new();
    let bootstrap = |rls: &[SocketAddr], _: &Path| gateway_here(rls, &service);
    let Some(mut lab) = Lab::open_with(GATEWAY_RULES, Gateway::default(), &[], bootstrap) else { return };
    healthy(&lab, 1);
    next_minute_if_late();
    let mut client = lab.client();
    assert_eq!(served(&mut client, 7, "/", &[("x-partner", b"acme")]), 5, "a partner");
    assert_eq!(served(&mut client, 5, "/v1/payments/7", &[("x-partner", b"globex")]), 3, "payments");
    // Each response costs 400: the third one takes what is left, and more.
    assert_eq!(exports(&lab, &mut client), 3, "exports");
    let batch: [(&str, &[u8]); 2] = [("x-partner", b"globex"), ("x-units", b"40")];
    assert_eq!(served(&mut client, 3, "/v1/batch", &batch), 2, "batches of 40 units, of which there are 100");
    let bearer = bearer();
    let reply = client.get("/", &[("authorization", bearer.as_bytes())]);
    let limits = reply.header("x-ratelimit-limit").unwrap();
    assert!(
        reply.status == 200 && limits.contains("name=\"tenant\"") && limits.contains("name=\"address\""),
        "{limits}"
    );
    let forged = bearer.replace("XsdX48", "XsdX49");
    assert_eq!(client.get("/", &[("authorization", forged.as_bytes())]).status, 401, "a token that nobody signed");
    lab.tidegate().crash();
    assert_eq!(client.get("/v1/payments/7", &[("x-partner", b"other")]).status, 503, "must not be overrun");
    assert_eq!(client.get("/", &[("x-partner", b"acme")]).status, 200, "passes without an answer");
}

#[test]
fn connections_are_limited_by_address() {
    let service = ReservedPort::new();
    let bootstrap = |rls: &[SocketAddr], _: &Path| {
        let tidegate = ("port_value: 8081}", format!("port_value: {}}}", rls[0].port()));
        here(TCP, &service, &[tidegate, (" timeout: 0.5s", " timeout: 20s".to_owned())])
    };
    let Some(lab) = Lab::open_with(TCP_RULES, Gateway::default(), &[], bootstrap) else { return };
    healthy(&lab, 1);
    // The minute may end once meanwhile.
    let served = (0..11).take_while(|_| lab.client().try_get("/", &[]).is_ok_and(|reply| reply.status == 200)).count();
    assert!((5..=10).contains(&served), "{served}");
    let stat = |name: &str| lab.envoy.stat(&format!("ratelimit.gateway.{name}"));
    assert_eq!((stat("ok"), stat("over_limit"), stat("error")), (served as u64, 1, 0));
}

/// The filter of the README in front of the one that asks Tidegate, which costs nothing what it denies.
#[test]
fn a_local_limit_comes_first() {
    let service = ReservedPort::new();
    let (_, snippet) = README.split_once("```yaml\n- name: envoy.filters.http.local_ratelimit\n").unwrap();
    let (snippet, _) = snippet.split_once("```").unwrap();
    let bucket = "{max_tokens: 1000, tokens_per_fill: 1000, fill_interval: 1s}";
    assert!(snippet.contains(bucket), "{snippet}");
    let snippet = snippet.replace(bucket, "{max_tokens: 20, tokens_per_fill: 20, fill_interval: 3600s}");
    let local = format!("- name: envoy.filters.http.local_ratelimit\n{snippet}");
    let indent = " ".repeat(18);
    let local: String = local.lines().flat_map(|line| [&indent, line, "\n"]).collect();
    let bootstrap = |rls: &[SocketAddr], _: &Path| {
        let replaced = [
            (
                "                  - name: envoy.filters.http.ratelimit\n",
                format!("{local}                  - name: envoy.filters.http.ratelimit\n"),
            ),
            ("port_value: 8081}", format!("port_value: {}}}", rls[0].port())),
            (" timeout: 0.5s", " timeout: 20s".to_owned()),
        ];
        here(&PLAIN.replace("127.0.0.1, port_value: 10000", "0.0.0.0, port_value: 10000"), &service, &replaced)
    };
    let Some(lab) = Lab::open_with(RULES, Gateway::default(), &[], bootstrap) else { return };
    assert_eq!(served(&mut lab.client(), 25, "/", &[("x-partner", b"globex")]), 20);
    assert_eq!(requests(&lab.replicas[0]), 20, "what is denied before costs Tidegate nothing");
}

/// The token in the comment of the gateway.
pub(crate) fn bearer() -> String {
    let token = GATEWAY.lines().find_map(|line| line.strip_prefix("#   eyJ")).unwrap();
    format!("Bearer eyJ{token}")
}

/// How many exports are served, each after the one before is charged.
fn exports(lab: &Lab, client: &mut Client) -> usize {
    for served in 0..10 {
        let before = requests(&lab.replicas[0]);
        let status = client.get("/v1/export/1", &[("x-partner", b"initech")]).status;
        if status == 429 {
            return served;
        }
        assert_eq!(status, 200);
        wait_for("the charge after the response", DEADLINE, || {
            (requests(&lab.replicas[0]) >= before + 2).then_some(())
        });
    }
    panic!("ten exports of 400 units were served within 1,000")
}

const HEALTHY: &str = "cluster.tidegate.membership_healthy";

pub(crate) fn healthy(lab: &Lab, replicas: u64) {
    wait_for("healthy replicas", DEADLINE, || (lab.envoy.stat(HEALTHY) == replicas).then_some(()));
}

/// Two replicas at the ports of the example, each with a data directory, and two workers of Envoy.
fn pair(example: &'static str) -> Option<(TempDir, Lab)> {
    let service = ReservedPort::new();
    let bootstrap = move |rls: &[SocketAddr], _: &Path| {
        let ports = [("port_value: 8081}", 0), ("port_value: 8091}", 1)]
            .map(|(from, replica)| (from, format!("port_value: {}}}", rls[replica].port())));
        let quick = [(" interval: 1s", " interval: 0.2s".to_owned()), (" timeout: 0.5s", " timeout: 5s".to_owned())];
        here(example, &service, &[ports.as_slice(), &quick].concat())
    };
    let kept = TempDir::new().unwrap();
    let flags = ["--data-dir".to_owned(), format!("{}/REPLICA", kept.path().display())];
    let lab = Lab::open_with(FIVE, Gateway { workers: 2, replicas: 2, ..Gateway::default() }, &flags, bootstrap)?;
    healthy(&lab, 2);
    Some((kept, lab))
}

/// The first replica stops, and keeps its counters.
fn stop(lab: &mut Lab) {
    lab.tidegate().signal("TERM");
    lab.tidegate().wait();
    healthy(lab, 1);
}

/// It is there again, with them.
fn come_back(lab: &mut Lab) {
    lab.tidegate().restart();
    healthy(lab, 2);
}

const PARTNERS: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];

/// How many of seven requests of each partner are served, each on a connection of its own, so that both workers have some.
fn served_of_each(lab: &Lab) -> Vec<usize> {
    let of =
        |partner: &&str| (0..7).map(|_| served(&mut lab.client(), 1, "/", &[("x-partner", partner.as_bytes())])).sum();
    PARTNERS.iter().map(of).collect()
}

/// Limits are exact over two replicas without anything shared; a replica that is away loses the counts of its partners alone.
#[test]
fn sharded_checks_are_limited_exactly() {
    let Some((_kept, mut lab)) = pair(SHARDED) else { return };
    assert_eq!(served_of_each(&lab), [5; PARTNERS.len()]);
    let asked = lab.replicas.iter().map(requests).collect::<Vec<_>>();
    assert!(asked.iter().all(|count| *count > 0), "{asked:?}");
    assert_eq!(served_of_each(&lab), [0; PARTNERS.len()], "nothing is left");
    stop(&mut lab);
    let again = served_of_each(&lab);
    assert!(again.iter().all(|served| [0, 5].contains(served)), "{again:?}");
    assert!(again.contains(&0) && again.contains(&5), "only the partners of the other replica have counts: {again:?}");
    come_back(&mut lab);
    assert_eq!(served_of_each(&lab), [0; PARTNERS.len()], "they go on where they were");
}

fn requests(replica: &TestServer) -> u64 {
    replica.metric(r#"ratelimit_service_total_requests{grpc_method="ShouldRateLimit"}"#)
}

/// One counts; the other one takes over when it is away, from 0.
#[test]
fn the_standby_takes_over() {
    let Some((_kept, mut lab)) = pair(STANDBY) else { return };
    assert_eq!(served_of_each(&lab), [5; PARTNERS.len()]);
    assert_eq!(requests(&lab.replicas[1]), 0, "the standby was asked");
    stop(&mut lab);
    assert_eq!(served_of_each(&lab), [5; PARTNERS.len()], "from 0, and exact again");
    assert_eq!(requests(&lab.replicas[1]), 7 * PARTNERS.len() as u64);
    come_back(&mut lab);
    assert_eq!(served_of_each(&lab), [0; PARTNERS.len()], "the first one goes on where it was");
    assert_eq!(requests(&lab.replicas[1]), 7 * PARTNERS.len() as u64, "the standby is asked no more");
}

/// Every example of the directory is started by a test.
#[test]
fn no_example_is_left_out() {
    let dir = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/envoy")).unwrap();
    let mut names: Vec<_> = dir.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let tested = [
        "active-standby.yaml",
        "envoy.yaml",
        "gateway.ratelimit.yaml",
        "gateway.yaml",
        "ratelimit.yaml",
        "sharded.yaml",
        "sidecar.yaml",
        "tcp.ratelimit.yaml",
        "tcp.yaml",
    ];
    assert_eq!(
        names.iter().filter(|name| name.rsplit_once('.').is_some_and(|(_, end)| end == "yaml")).collect::<Vec<_>>(),
        tested.iter().collect::<Vec<_>>()
    );
}
