//! From `tidegate init` to the first 429: `deploy/envoy/envoy.yaml`, changed as deploy/envoy/README.md says, with the comment at the top of the
//! rules as the only source.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use crate::bootstrap::Gateway;
use crate::client::{Client, Reply};
use crate::lab::Lab;
use crate::server::{ReservedPort, run};

const ENVOY: &str = include_str!("../../deploy/envoy/envoy.yaml");

type Headers = &'static [(&'static str, &'static [u8])];

/// The starter's case, the headers of a client of it, and how many of its requests are served at once.
const STARTERS: [(&str, Headers, usize); 5] = [
    ("per-partner", &[("x-partner", b"globex")], 100),
    ("per-user-tenant-node", &[("x-user", b"u1"), ("x-tenant", b"t1"), ("x-node", b"n1")], 500),
    ("queue", &[("x-client", b"c1")], 115),
    ("ban", &[], 10),
    ("headers", &[("x-client", b"c1")], 30),
];

#[test]
fn each_starter_limits_what_goes_through_envoy() {
    for (case, headers, limit) in STARTERS {
        let (_, rules, _) = run(&["init", case], "");
        let service = ReservedPort::new();
        let bootstrap = |rls: &[SocketAddr], _: &Path| changed(case, &rules, [service.port, rls[0].port()]);
        let Some(lab) = Lab::open_with(&rules, Gateway::default(), &[], bootstrap) else { return };
        let (served, denial) = if case == "queue" {
            until_denied(at_the_same_time(lab.envoy.gateway, 2 * limit, headers))
        } else {
            let mut client = lab.client();
            until_denied((0..=2 * limit).map(|_| client.get("/", headers)))
        };
        // The minute may have ended meanwhile. Of a queue, denials come before the turn of those that wait.
        assert!((limit..=2 * limit).contains(&served) || case == "queue", "{case}: 429 after {served} of {limit}");
        if case == "headers" {
            assert!(denial.number("retry-after") <= 30 && denial.body.starts_with('{'), "{denial:?}");
            assert!(denial.header("x-ratelimit-limit").is_some(), "{denial:?}");
        }
        assert_eq!(lab.envoy.rls_errors(), 0, "{case}");
    }
}

/// How many replies came before the first denial, and that.
fn until_denied(replies: impl IntoIterator<Item = Reply>) -> (usize, Reply) {
    let (served, denial) = replies.into_iter().enumerate().find(|(_, reply)| reply.status != 200).unwrap();
    assert_eq!(denial.status, 429, "{denial:?}");
    (served, denial)
}

/// Replies to so many requests, as they come. Those that wait for their turn when nobody listens any more end with Envoy.
fn at_the_same_time(
    peer: SocketAddr,
    requests: usize,
    headers: &'static [(&'static str, &'static [u8])],
) -> mpsc::Receiver<Reply> {
    let (sender, replies) = mpsc::channel();
    for _ in 0..requests {
        let sender = sender.clone();
        thread::spawn(move || {
            let reply = Client::to(peer).try_get("/", headers);
            reply.map(|reply| drop(sender.send(reply)))
        });
    }
    replies
}

/// The example's Envoy with what the rules need of it, on free ports.
fn changed(case: &str, rules: &str, [service, tidegate]: [u16; 2]) -> String {
    let domain = rules.lines().find(|line| line.starts_with("domain: ")).unwrap();
    let comment: Vec<_> = rules.lines().map_while(|line| line.strip_prefix('#')).collect();
    let (before, from) = ENVOY.split_once("rate_limits:\n").unwrap();
    let (_, after) = from.split_once("\n\n").unwrap();
    let actions = comment.iter().filter(|line| line.trim_start().starts_with("- "));
    let indent = " ".repeat(28);
    let actions: String = actions.flat_map(|line| [&indent, *line, "\n"]).collect();
    let mut text = format!("{before}rate_limits:\n{actions}\n{after}");
    // The timeout of the comment, or one for a busy machine: it is not what is tested.
    let timeout = comment.iter().find_map(|line| line.trim().strip_prefix("timeout: ")).unwrap_or("20s");
    let ports = [("9901", &0), ("10000", &0), ("10001", &service), ("8081", &tidegate)]
        .map(|(port, to)| (format!("port_value: {port}}}"), format!("port_value: {to}}}")));
    let others = [
        ("domain: partner-api", domain.to_owned()),
        (" timeout: 0.25s", format!(" timeout: {timeout}")),
        (" timeout: 0.5s", " timeout: 20s".to_owned()),
    ];
    for (from, to) in ports.into_iter().chain(others.map(|(from, to)| (from.to_owned(), to))) {
        assert!(text.contains(&from), "{case}: the example has no {from}");
        text = text.replace(&from, &to);
    }
    if case == "headers" {
        let of_envoy = ["enable_x_ratelimit_headers", "enable_retry_after_header"];
        text =
            text.lines().filter(|line| !of_envoy.iter().any(|name| line.contains(name))).collect::<Vec<_>>().join("\n");
    }
    text
}
