//! Engines of several nodes, and one behind TLS: replicas follow, and a limit stays one limit.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use tidegate::api::proto::envoy::service::ratelimit::v3::RateLimitRequest;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_response::Code;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tonic::transport::Channel;

use crate::engines::{Cluster, Engine, Kind, Sentinels};
use crate::replicas::{ALGORITHMS, admitted, replica};
use crate::server::certificates::{ca, issue};
use crate::server::{TestServer, eventually_async, rules_in, run};

async fn count(channel: &Channel, key: &str, value: &str, checks: usize) -> usize {
    let mut count = 0;
    for _ in 0..checks {
        count += usize::from(admitted(channel, &[(key, value)]).await);
    }
    count
}

fn waited(server: &TestServer) -> u64 {
    server.metric("tidegate_store_checks_waited_total")
}

/// Waits until a check of this counter asks and is answered.
async fn until_asked(server: &TestServer, channel: &Channel, key: &str, value: &str) -> usize {
    let mut count = 0;
    eventually_async("an answer of the store", async || {
        let before = (waited(server), down(server));
        count += usize::from(admitted(channel, &[(key, value)]).await);
        waited(server) > before.0 && down(server) == before.1
    })
    .await;
    count
}

fn down(server: &TestServer) -> u64 {
    server.metric("tidegate_store_checks_down_total{domain=\"api\",answer=\"deny\"}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_count_together_on_a_cluster_over_a_failover() {
    for kind in Kind::installed() {
        let cluster = Cluster::start(kind);
        let deny = &["--store-when-down", "deny"];
        let servers = [replica(ALGORITHMS, &cluster.url(), deny), replica(ALGORITHMS, &cluster.url(), deny)];
        let channels = [servers[0].channel().await, servers[1].channel().await];
        let values: Vec<String> = (0..12).map(|number| format!("value-{number}")).collect();
        let mut counts = vec![0; values.len()];
        for (value, counted) in values.iter().zip(&mut counts) {
            for (server, channel) in servers.iter().zip(&channels) {
                *counted += until_asked(server, channel, "sliding", value).await;
                *counted += count(channel, "sliding", value, 4).await;
            }
        }
        for replica in &cluster.nodes[3..] {
            replica.run::<()>(&["CLUSTER", "FAILOVER"]);
        }
        for (value, counted) in values.iter().zip(&mut counts) {
            for (server, channel) in servers.iter().zip(&channels) {
                *counted += until_asked(server, channel, "sliding", value).await;
                *counted += count(channel, "sliding", value, 30).await;
            }
            assert_eq!(*counted, 25, "{kind:?}: {value}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_is_followed() {
    let Some(kind) = Kind::any() else { return };
    let cluster = Cluster::start(kind);
    let server = replica(ALGORITHMS, &cluster.url(), &["--store-when-down", "deny"]);
    let channel = server.channel().await;
    let mut counted = until_asked(&server, &channel, "bucket", "x").await;
    let mut moved = None;
    for (at, node) in cluster.nodes[..3].iter().enumerate() {
        let keys: Vec<String> = node.run(&["KEYS", "tg1:*"]);
        moved = moved.or(keys.into_iter().find(|key| !key.contains("{replicas}")).map(|key| (at, key)));
    }
    let (from, key) = moved.unwrap();
    let (source, target) = (&cluster.nodes[from], &cluster.nodes[(from + 1) % 3]);
    let slot = source.run::<u64>(&["CLUSTER", "KEYSLOT", &key]).to_string();
    let ids: [String; 2] = [source.run(&["CLUSTER", "MYID"]), target.run(&["CLUSTER", "MYID"])];
    target.run::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &ids[0]]);
    source.run::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &ids[1]]);
    counted += count(&channel, "bucket", "x", 3).await;
    source.run::<String>(&["MIGRATE", "127.0.0.1", &target.port.to_string(), &key, "0", "5000"]);
    // ASK: the key is there already, the slot not yet.
    counted += count(&channel, "bucket", "x", 3).await;
    for node in &cluster.nodes[..3] {
        node.run::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &ids[1]]);
    }
    counted += until_asked(&server, &channel, "bucket", "x").await;
    counted += count(&channel, "bucket", "x", 40).await;
    assert_eq!(counted, 25, "{:?}", server.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_or_nothing_over_several_slots_gives_back() {
    let Some(kind) = Kind::any() else { return };
    let cluster = Cluster::start(kind);
    for sharing in ["exact", "leased"] {
        let config = format!(
            "domain: api
sharing: {sharing}
charge: all_or_nothing
descriptors:
- {{key: user, rate_limit: {{unit: year, requests_per_unit: 4}}}}
- {{key: tenant, rate_limit: {{unit: year, requests_per_unit: 10}}}}
"
        );
        let server = replica(&config, &cluster.url(), &["--store-when-down", "deny", "--store-prefix", sharing]);
        let channel = server.channel().await;
        eventually_async("every node is up", async || admitted(&channel, &[("user", "warm"), ("tenant", "up")]).await)
            .await;
        for (user, expected) in [("a", 4), ("b", 4), ("c", 2)] {
            let mut counted = 0;
            for _ in 0..8 {
                counted += usize::from(admitted(&channel, &[("user", user), ("tenant", "t")]).await);
            }
            assert_eq!(counted, expected, "{sharing}: {user}");
        }
        // What the denied checks of c were charged is given back.
        let mut counted = 0;
        eventually_async("two hits that are left", async || {
            counted += usize::from(admitted(&channel, &[("user", "c"), ("tenant", "u")]).await);
            counted == 2
        })
        .await;
        assert!(!admitted(&channel, &[("user", "c"), ("tenant", "u")]).await, "{sharing}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_of_one_check_are_in_the_slot_that_the_rules_name() {
    let Some(kind) = Kind::any() else { return };
    let cluster = Cluster::start(kind);
    let rules = |slot: &str| {
        format!(
            "domain: api
charge: all_or_nothing
{slot}
descriptors:
- key: tenant
  rate_limit: {{unit: year, requests_per_unit: 6, algorithm: sliding_log}}
  descriptors: [{{key: user, rate_limit: {{unit: year, requests_per_unit: 4, algorithm: sliding_log}}}}]
"
        )
    };
    // Without it no script can charge both.
    let dir = tempfile::tempdir().unwrap();
    let config = rules_in(&dir, &rules(""));
    let (code, _, errors) =
        run(&["serve", "--config", &config, "--grpc-addr", "127.0.0.1:0", "--store", &cluster.url()], "");
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("rules.yaml:6") && errors.contains("slot"), "{errors}");
    let server = replica(&rules("sharing: {slot: tenant}"), &cluster.url(), &["--store-when-down", "deny"]);
    let channel = server.channel().await;
    let entry = |key: &str, value: &str| Entry { key: key.to_owned(), value: value.to_owned() };
    let check = |user: &str| RateLimitRequest {
        domain: "api".to_owned(),
        descriptors: vec![
            RateLimitDescriptor { entries: vec![entry("tenant", "big")], ..Default::default() },
            RateLimitDescriptor { entries: vec![entry("tenant", "big"), entry("user", user)], ..Default::default() },
        ],
        ..Default::default()
    };
    let admits = async |user: &str| {
        let mut service = RateLimitServiceClient::new(channel.clone());
        service.should_rate_limit(check(user)).await.unwrap().into_inner().overall_code() == Code::Ok
    };
    let mut counts = [0; 2];
    eventually_async("every node is up", async || {
        counts[0] += u32::from(admits("a").await);
        counts[0] > 0
    })
    .await;
    for _ in 0..8 {
        counts[0] += u32::from(admits("a").await);
    }
    for _ in 0..8 {
        counts[1] += u32::from(admits("b").await);
    }
    assert_eq!(counts, [4, 2], "four of each user, six of the tenant");
    let keys = cluster.nodes.iter().take(3).flat_map(|node| node.run::<Vec<String>>(&["KEYS", "tg1:*"]));
    let slots: Vec<String> = keys
        .filter(|key| !key.contains("{replicas}"))
        .filter_map(|key| Some(key.split_once('}')?.0.to_owned()))
        .collect();
    assert!(slots.len() >= 3 && slots.iter().all(|slot| *slot == slots[0]), "{slots:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_follow_the_masters_of_a_cluster() {
    let Some(kind) = Kind::any() else { return };
    let cluster = Cluster::start(kind);
    let config = ALGORITHMS.replace("sharing: exact", "sharing: {when_down: deny}");
    let servers = [replica(&config, &cluster.url(), &[]), replica(&config, &cluster.url(), &[])];
    let channels = [servers[0].channel().await, servers[1].channel().await];
    let values: Vec<String> = (0..8).map(|number| format!("value-{number}")).collect();
    let mut counts = vec![0; values.len()];
    for is_after in [false, true] {
        for (value, counted) in values.iter().zip(&mut counts) {
            for channel in &channels {
                *counted += count(channel, "first", value, if is_after { 40 } else { 4 }).await;
            }
            assert!(*counted <= 25, "{kind:?}: {value}: {counted}");
        }
        if !is_after {
            for replica in &cluster.nodes[3..] {
                replica.run::<()>(&["CLUSTER", "FAILOVER"]);
            }
        }
    }
    for (value, counted) in values.iter().zip(&mut counts) {
        let mut number = 0;
        eventually_async("the whole limit is admitted", async || {
            number += 1;
            *counted += usize::from(admitted(&channels[number % 2], &[("first", value)]).await);
            *counted >= 24
        })
        .await;
        assert!(*counted <= 25, "{kind:?}: {value}: {counted}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_master_that_sentinels_name_is_followed() {
    for kind in Kind::installed() {
        let mut set = Sentinels::start(kind);
        let server = replica(ALGORITHMS, &set.url(), &["--store-when-down", "deny"]);
        let channel = server.channel().await;
        let mut counted = until_asked(&server, &channel, "sliding", "x").await;
        counted += count(&channel, "sliding", "x", 40).await;
        assert_eq!(counted, 25, "{kind:?}");
        set.master.kill();
        counted += until_asked(&server, &channel, "sliding", "x").await;
        counted += count(&channel, "sliding", "x", 60).await;
        assert!((25..=50).contains(&counted), "{kind:?}: {counted}, at most one more limit");
        let new = set.replica.address();
        assert!(server.log().iter().any(|line| line.contains("the nodes of the store") && line.contains(&new)));
    }
}

/// A listener with TLS that asks clients for a certificate of this CA, in front of an engine.
async fn tls_in_front_of(engine: &Engine, dir: &std::path::Path) -> u16 {
    let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
    let certificates = |name: &str| -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(&read(name)).map(Result::unwrap).collect()
    };
    let mut roots = RootCertStore::empty();
    roots.add(certificates("ca.pem").remove(0)).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let key = PrivateKeyDer::from_pem_slice(&read("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_client_cert_verifier(verifier).with_single_cert(certificates("server.pem"), key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, address) = (listener.local_addr().unwrap().port(), engine.address());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, address) = (acceptor.clone(), address.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut engine = TcpStream::connect(address).await.unwrap();
                let _ended = copy_bidirectional(&mut stream, &mut engine).await;
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_checks_names_and_shows_a_certificate() {
    let Some(kind) = Kind::any() else { return };
    let engine = Engine::start(kind);
    let dir = tempfile::tempdir().unwrap();
    let authority = ca(dir.path(), "ca");
    for (name, host) in [("server", "localhost"), ("client", "tidegate")] {
        issue(dir.path(), name, &authority, host, 2099);
    }
    ca(dir.path(), "other");
    let port = tls_in_front_of(&engine, dir.path()).await;
    let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let (trusted, cert, key) = (path("ca.pem"), path("client.pem"), path("client.key"));
    let flags = ["--store-ca", &trusted, "--store-cert", &cert, "--store-key", &key];
    let url = format!("rediss://localhost:{port}");
    let server = replica(ALGORITHMS, &url, &flags);
    let channel = server.channel().await;
    assert_eq!(count(&channel, "first", "x", 30).await, 25);
    assert!(waited(&server) >= 25);
    let check = |url: &str, flags: &[&str]| {
        let command = [&["store", "check", url][..], flags].concat();
        tokio::task::block_in_place(|| run(&command, ""))
    };
    let (code, stdout, stderr) = check(&url, &flags);
    assert!(code == Some(0) && stdout.ends_with("\nok\n"), "{stdout}{stderr}");
    let other = path("other.pem");
    for (url, flags, part) in [
        (&url, &["--store-ca", &other, "--store-cert", &cert, "--store-key", &key][..], "signed by no trusted CA"),
        (&format!("rediss://127.0.0.1:{port}"), &flags, "is for another host"),
    ] {
        let (code, _, stderr) = check(url, flags);
        assert!(code == Some(1) && stderr.contains(part), "{flags:?}: {stderr}");
    }
}
