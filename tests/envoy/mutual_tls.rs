//! Envoy and Tidegate with mutual TLS: who is served, and a certificate that is replaced under load.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bootstrap::Gateway;
use crate::client::{Header, tally};
use crate::lab::Lab;
use crate::server::certificates::{ca, issue, issue_client};
use crate::server::{http, wait_for};

const RULES: &str = r"
domain: partner-api
descriptors:
  - key: partner
    rate_limit: {unit: year, requests_per_unit: 1000000}
";
const ACME: &[Header] = &[("x-partner", b"acme")];

/// Two CAs, certificates of servers and of clients, and a file that gives one client its domain.
fn certificates() -> TempDir {
    let dir = TempDir::new().unwrap();
    let (ours, theirs) = (ca(dir.path(), "ours"), ca(dir.path(), "theirs"));
    for (name, last_year) in [("server", 2100), ("outdated", 2020), ("old_client", 2020)] {
        issue(dir.path(), name, &ours, "127.0.0.1", last_year);
    }
    issue(dir.path(), "elsewhere", &ours, "elsewhere.example.org", 2100);
    issue_client(dir.path(), "gateway", &ours, &["spiffe://cluster.local/ns/edge/sa/gateway"]);
    issue_client(dir.path(), "cart", &ours, &["spiffe://cluster.local/ns/shop/sa/cart"]);
    issue_client(dir.path(), "stranger", &theirs, &["spiffe://cluster.local/ns/edge/sa/gateway"]);
    let access = "clients: [{san: 'spiffe://cluster.local/ns/edge/*', domains: [partner-api]}]";
    fs::write(dir.path().join("access.yaml"), access).unwrap();
    dir
}

/// Tidegate's flags: its certificate, and clients of our CA only.
fn server_flags(dir: &Path, server: &str) -> Vec<String> {
    let file = |name: &str| dir.join(name).display().to_string();
    let flags = [
        ("--grpc-tls-cert", format!("{server}.pem")),
        ("--grpc-tls-key", format!("{server}.key")),
        ("--grpc-tls-client-ca", "ours.pem".to_owned()),
        ("--access", "access.yaml".to_owned()),
    ];
    flags.into_iter().flat_map(|(flag, name)| [flag.to_owned(), file(&name)]).collect()
}

/// Envoy's bootstrap: it shows the certificate of `client`, and trusts the CA for a server of this address.
fn bootstrap(gateway: Gateway, dir: &Path, client: &str, trusted: &str) -> impl FnOnce(&[SocketAddr], &Path) -> String {
    let file = |name: String| json!({"filename": dir.join(name)});
    let context = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {
            "tls_certificates": [{"certificate_chain": file(format!("{client}.pem")), "private_key": file(format!("{client}.key"))}],
            "validation_context": {
                "trusted_ca": file(format!("{trusted}.pem")),
                "match_typed_subject_alt_names": [{"san_type": "IP_ADDRESS", "matcher": {"exact": "127.0.0.1"}}],
            },
        },
    });
    move |rls, lab_dir| {
        let mut config: Value = serde_json::from_str(&gateway.bootstrap(rls, &lab_dir.join("service.sock"))).unwrap();
        let clusters = config["static_resources"]["clusters"].as_array_mut().unwrap();
        let tidegate = clusters.iter_mut().find(|cluster| cluster["name"] == "tidegate").unwrap();
        tidegate["transport_socket"] = json!({"name": "envoy.transport_sockets.tls", "typed_config": context});
        // Connections that end after some requests, so that there are handshakes all the time.
        let options =
            &mut tidegate["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"];
        options["common_http_protocol_options"] = json!({"max_requests_per_connection": 10});
        config.to_string()
    }
}

const CLOSED: Gateway =
    Gateway { fail_closed: true, timeout: "5s", workers: 1, replicas: 1, health_checks: false, charge_after: false };

#[test]
fn only_who_shows_the_right_certificate_is_served() {
    let dir = certificates();
    // The client's certificate, the CA that Envoy trusts, the server's certificate; and what a request is answered.
    let cases = [
        ("gateway", "ours", "server", 200),
        ("stranger", "ours", "server", 500),
        ("old_client", "ours", "server", 500),
        ("cart", "ours", "server", 500),
        ("gateway", "theirs", "server", 500),
        ("gateway", "ours", "outdated", 500),
        ("gateway", "ours", "elsewhere", 500),
    ];
    for (client, trusted, server, expected) in cases {
        let flags = server_flags(dir.path(), server);
        let bootstrap = bootstrap(CLOSED, dir.path(), client, trusted);
        let Some(mut lab) = Lab::open_with(RULES, CLOSED, &flags, bootstrap) else { return };
        let replies = [(); 3].map(|()| lab.client().get("/", ACME).status);
        assert_eq!(replies, [expected; 3], "{client}, {trusted}, {server}");
        let metrics = http(&lab.tidegate().http, "GET", "/metrics", b"").1;
        let has = |line: &str| metrics.lines().any(|shown| shown.starts_with(line) && !shown.ends_with(" 0"));
        let denied = "tidegate_access_denied_checks_total{domain=\"partner-api\"}";
        assert_eq!(has(denied), client == "cart", "{client}, {trusted}, {server}: {metrics}");
        let failed = "tidegate_tls_failed_handshakes_total{port=\"grpc\"}";
        let is_handshake = expected == 500 && client != "cart";
        assert_eq!(has(failed), is_handshake, "{client}, {trusted}, {server}: {metrics}");
    }
}

/// Certificate and key are replaced as in a Secret, by one link, while there are new connections all the time.
#[test]
fn a_certificate_that_is_replaced_under_load_fails_no_request() {
    let dir = certificates();
    let own = ca(dir.path(), "rotated");
    for (version, year) in [("v1", 2090), ("v2", 2091), ("v3", 2092)] {
        fs::create_dir(dir.path().join(version)).unwrap();
        issue(&dir.path().join(version), "live", &own, "127.0.0.1", year);
    }
    let point_to = |version: &str| {
        symlink(version, dir.path().join("..new")).unwrap();
        fs::rename(dir.path().join("..new"), dir.path().join("..data")).unwrap();
    };
    point_to("v1");
    for file in ["live.pem", "live.key"] {
        symlink(format!("..data/{file}"), dir.path().join(file)).unwrap();
    }
    let flags = server_flags(dir.path(), "live");
    let Some(mut lab) = Lab::open_with(RULES, CLOSED, &flags, bootstrap(CLOSED, dir.path(), "gateway", "rotated"))
    else {
        return;
    };
    let port = lab.tidegate().http.clone();
    let expiry = || {
        let metrics = http(&port, "GET", "/metrics", b"").1;
        let line =
            metrics.lines().find(|line| line.starts_with("tidegate_tls_cert_expiry_timestamp_seconds{port=\"grpc\"}"));
        line.unwrap().to_owned()
    };
    let stop = AtomicBool::new(false);
    let seen = thread::scope(|scope| {
        let stop = &stop;
        let clients = [lab.client(), lab.client()].map(|mut client| {
            scope.spawn(move || {
                let mut statuses = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    statuses.push(client.try_get("/", ACME).map_or(0, |reply| reply.status));
                }
                statuses
            })
        });
        let rotated = std::panic::catch_unwind(|| {
            for version in ["v2", "v3"] {
                let before = expiry();
                point_to(version);
                wait_for("the new certificate", Duration::from_secs(20), || (expiry() != before).then_some(()));
            }
        });
        stop.store(true, Ordering::Relaxed);
        let statuses: Vec<u16> = clients.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        rotated.unwrap_or_else(|failure| std::panic::resume_unwind(failure));
        tally(statuses)
    });
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [200], "{seen:?}");
    assert_eq!(lab.envoy.rls_errors(), 0);
    assert!(lab.envoy.stat("cluster.tidegate.ssl.handshake") > 2, "there were new connections");
}

/// The cluster `ratelimit_cluster` that Envoy Gateway 1.9 gives to Envoy, but for the name of its host, and with files in place of SDS: TLS up to 1.3, no
/// name is sent, the CA alone is checked, a certificate is shown if it is asked for. Its certificates have only the name `*.envoy-gateway-system`.
#[test]
fn the_cluster_that_envoy_gateway_generates() {
    let dir = TempDir::new().unwrap();
    let (ours, theirs) = (ca(dir.path(), "ours"), ca(dir.path(), "theirs"));
    for (name, authority) in [("server", &ours), ("envoy", &ours), ("stranger", &theirs)] {
        issue(dir.path(), name, authority, "*.envoy-gateway-system", 2100);
    }
    let file = |name: &str| dir.path().join(name).display().to_string();
    let as_deployed =
        ["--grpc-tls-cert".to_owned(), file("server.pem"), "--grpc-tls-key".to_owned(), file("server.key")];
    let asking = [&as_deployed[..], &["--grpc-tls-client-ca".to_owned(), file("ours.pem")]].concat();
    // What Tidegate is started with, the certificate that Envoy has, the CA that it trusts; and what a request is answered.
    for (flags, client, trusted, expected) in [
        (&as_deployed[..], "envoy", "ours", 200),
        (&asking[..], "envoy", "ours", 200),
        (&asking[..], "stranger", "ours", 500),
        (&as_deployed[..], "envoy", "theirs", 500),
    ] {
        let source = |name: String| json!({"filename": file(&name)});
        let context = json!({
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "common_tls_context": {
                "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"},
                "tls_certificates": [{
                    "certificate_chain": source(format!("{client}.pem")), "private_key": source(format!("{client}.key")),
                }],
                "validation_context": {"trusted_ca": source(format!("{trusted}.pem"))},
            },
        });
        let bootstrap = move |rls: &[SocketAddr], lab_dir: &Path| {
            let mut config: Value =
                serde_json::from_str(&CLOSED.bootstrap(rls, &lab_dir.join("service.sock"))).unwrap();
            let clusters = config["static_resources"]["clusters"].as_array_mut().unwrap();
            let tidegate = clusters.iter_mut().find(|cluster| cluster["name"] == "tidegate").unwrap();
            tidegate["transport_socket"] = json!({"name": "envoy.transport_sockets.tls", "typed_config": context});
            tidegate["per_connection_buffer_limit_bytes"] = json!(32_768);
            tidegate["typed_extension_protocol_options"] = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {
                    "initial_connection_window_size": 1_048_576, "initial_stream_window_size": 65_536,
                }},
            }});
            config.to_string()
        };
        let Some(lab) = Lab::open_with(RULES, CLOSED, flags, bootstrap) else { return };
        let replies = [(); 3].map(|()| lab.client().get("/", ACME).status);
        assert_eq!(replies, [expected; 3], "{client}, {trusted}, {flags:?}");
    }
}
