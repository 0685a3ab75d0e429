//! Control planes that send too much, too often, or nonsense: decisions are undisturbed, and the log and the work are bounded.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use prost::Message;
use tidegate::api::proto::envoy::service::discovery::v3::DiscoveryRequest;
use tidegate::api::proto::ratelimit::config::ratelimit::v3::{RateLimitConfig, RateLimitDescriptor, RateLimitPolicy};

use crate::control_plane::{Behaviour, ControlPlane};
use crate::replica::{check, limit, limit_becomes, serve};
use crate::server::{DEADLINE, Stopwatch, eventually};
use crate::sets::{Set, TYPE_URL, any};

/// A set of that many rules in one domain.
fn large(version: &str, rules: usize) -> Set {
    let lines: Vec<_> = (0..rules).map(|n| format!("  key={} 1/hour\n", long_value(n))).collect();
    Set::new(version, &format!("large\n{}", lines.concat()))
}

/// As long as the names of routes that control planes make.
fn long_value(n: usize) -> String {
    format!("{}/rule/{n}", "httproute/of-a-namespace/".repeat(8))
}

#[test]
fn a_set_of_five_mebibytes_comes_into_force_without_pings() {
    let (set, more) = (large("1", 100), large("2", 25_000));
    assert!(more.resources[0].value.len() > 5 << 20);
    let plane = ControlPlane::start(set);
    let tap = Tap::before(plane.addr.to_string());
    let server = serve(&format!("http://{}", tap.addr), &[]);
    plane.acked(0, "1");
    let before = plane.push(more);
    plane.acked(before, "2");
    let last = long_value(24_999);
    let answers: Vec<_> = (0..2).map(|_| check(&server, "large", &[("key", &last)])).collect();
    assert_eq!(answers, ["OK", "OVER_LIMIT"]);
    let frames = tap.frames.lock().unwrap().clone();
    let pings = frames.iter().filter(|(kind, flags)| *kind == PING && flags & ACK == 0).count();
    assert!(pings == 0 && frames.len() > 3, "servers made with grpc-go close connections with pings: {frames:?}");
}

#[test]
fn a_set_beyond_the_bound_changes_nothing() {
    let quick = ["--xds-max-bytes", "64KiB", "--xds-retry", "20ms", "--xds-retry-max", "50ms"];
    let plane = ControlPlane::start(Set::new("1", "api\n  key 1/hour\n"));
    let server = serve(&plane.url(), &quick);
    plane.acked(0, "1");
    let before = plane.streams();
    plane.push(large("2", 10_000));
    eventually("more streams", || plane.streams() > before + 3);
    assert_eq!((limit(&server, "api.key"), check(&server, "api", &[("key", "v")])), (Some(1), "OK".to_owned()));
    server.log_until("OutOfRange");
    plane.push(Set::new("3", "api\n  key 5/hour\n"));
    limit_becomes(&server, "api.key", Some(5));
}

/// Servers made with go-control-plane answer a NACK with the same response, at once and for ever.
#[test]
fn nacks_of_a_set_that_is_sent_again_at_once_are_held_back() {
    let plane = ControlPlane::start(Set::new("1", "api\n  key 1000/hour\n"));
    let server = serve(&plane.url(), &[]);
    plane.acked(0, "1");
    plane.behave(Behaviour { resends: true, ..Behaviour::default() });
    let stopwatch = Stopwatch::start();
    let before = plane.push(Set::new("2", "api\n  key 1/fortnight\n"));
    let nacks = || plane.requests_since(before).iter().filter(|request| request.error_detail.is_some()).count();
    eventually("three NACKs", || nacks() >= 3);
    assert!(stopwatch.elapsed() >= Duration::from_secs(3), "the second one after 1 s, the third one after 2 s more");
    assert!(nacks() <= 4 && plane.responses() <= 6, "{} NACKs, {} responses", nacks(), plane.responses());
    assert_eq!(check(&server, "api", &[("key", "v")]), "OK");
    let log = server.log();
    let lines = |text: &str| log.iter().filter(|line| line.contains(text)).count();
    assert_eq!((lines("invalid rate limit unit"), lines("was rejected")), (1, 1), "{log:?}");
    assert_eq!(server.metric("ratelimit_service_config_load_error"), 1);
    assert!(server.metric("tidegate_xds_nacks_total") >= 2);
    // A corrected set ends it.
    plane.behave(Behaviour::default());
    plane.push(Set::new("3", "api\n  key 7/hour\n"));
    limit_becomes(&server, "api.key", Some(7));
}

#[test]
fn a_flood_of_bad_sets_is_read_slowly_and_logged_once() {
    let flood = Behaviour { floods: 10_000, ..Behaviour::default() };
    let plane = ControlPlane::behaving(Set::new("1", "api\n  key 1/fortnight\n"), flood);
    let server = serve(&plane.url(), &["--start-without-rules"]);
    let spent = || server.metric("tidegate_xds_nacks_total");
    eventually("a second look", || spent() >= 2);
    assert!(spent() < 100, "{} of 10,000", spent());
    let log = server.log();
    assert_eq!(log.iter().filter(|line| line.contains("was rejected")).count(), 1, "{log:?}");
    assert_eq!(check(&server, "api", &[("key", "v")]), "Unavailable: no rate limit configuration loaded");
}

#[test]
fn sets_that_change_all_the_time_are_slowed_down_and_the_last_one_counts() {
    let plane = ControlPlane::start(Set::new("0", "api\n  key 1000/hour\n"));
    let server = serve(&plane.url(), &[]);
    plane.acked(0, "0");
    for version in 1..=100 {
        plane.push(Set::new(&version.to_string(), &format!("api\n  key {version}/hour\n")));
        if version % 10 == 0 {
            assert!(["OK", "OVER_LIMIT"].contains(&check(&server, "api", &[("key", "v")]).as_str()));
        }
    }
    limit_becomes(&server, "api.key", Some(100));
    let loads = server.metric("ratelimit_service_config_load_success");
    assert!(loads <= 60, "{loads} of 101");
}

#[test]
fn deep_and_huge_configurations_are_rejected_and_others_come_into_force() {
    let mut deep = RateLimitDescriptor { key: "k".to_owned(), ..RateLimitDescriptor::default() };
    for _ in 0..60 {
        deep = RateLimitDescriptor { key: "k".to_owned(), descriptors: vec![deep], ..RateLimitDescriptor::default() };
    }
    let deep = RateLimitConfig { name: "deep".into(), domain: "deep".into(), descriptors: vec![deep] };
    let once = Some(RateLimitPolicy { unit: 1, requests_per_unit: 1, ..RateLimitPolicy::default() });
    let wide = RateLimitDescriptor { key: "k".to_owned(), rate_limit: once, ..RateLimitDescriptor::default() };
    let wide = RateLimitConfig { name: "wide".into(), domain: "wide".into(), descriptors: vec![wide; 130_000] };
    let set = Set::new("1", "api\n  key 1/hour\n").with(any(deep.encode_to_vec())).with(any(wide.encode_to_vec()));
    let plane = ControlPlane::start(set);
    let server = serve(&plane.url(), &[]);
    let (_, message) = plane.nacked(0);
    assert!(message.contains("deep:") && message.contains("nested deeper") && message.contains("wide:"), "{message}");
    assert!(message.len() < 20_000, "{} bytes", message.len());
    assert_eq!(limit(&server, "api.key"), Some(1));
}

#[test]
fn a_set_with_ten_thousand_errors_has_a_short_nack_and_a_short_log() {
    let lines: Vec<_> = (0..10_000).map(|n| format!("domain-{n}\n  key 1/fortnight\n")).collect();
    let plane = ControlPlane::start(Set::new("1", &lines.concat()));
    let server = serve(&plane.url(), &[]);
    let (_, message) = plane.nacked(0);
    assert!(message.len() < 20_000 && message.contains("more errors"), "{message}");
    assert!(server.log().len() < 60, "{} lines", server.log().len());
    assert!(server.log().iter().all(|line| line.len() < 2_000));
}

/// Decoded, each of the 33 million would take fifty bytes.
#[test]
fn a_set_of_nothing_but_empty_resources_is_rejected_before_it_is_decoded() {
    let type_url = [&[0x22, u8::try_from(TYPE_URL.len()).unwrap()], TYPE_URL.as_bytes()].concat();
    let nonce = [0x2a, 1, b'n'];
    let length = (64 << 20) - type_url.len() - nonce.len();
    let message = [&[0x12, 0].repeat(length / 2)[..], &type_url, &nonce].concat();
    let resources = length / 2;
    let (addr, nacks) = send_raw(&message);
    let server = serve(&format!("http://{addr}"), &["--start-without-rules"]);
    let nack = nacks.recv_timeout(DEADLINE).unwrap();
    assert_eq!(nack.response_nonce, "n");
    let message = nack.error_detail.unwrap().message;
    assert_eq!(message, format!("the set: {resources} resources, at most 10000 are allowed"));
    let peak = server.process_status("VmHWM:").strip_suffix(" kB").unwrap().parse::<u64>().unwrap() >> 10;
    assert!(peak < 400, "{peak} MiB");
    assert_eq!(check(&server, "api", &[("key", "v")]), "Unavailable: no rate limit configuration loaded");
}

/// A control plane that sends these bytes as a response to the first request, and what it is answered with an error.
fn send_raw(message: &[u8]) -> (std::net::SocketAddr, mpsc::Receiver<DiscoveryRequest>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (addr, (sender, nacks)) = (listener.local_addr().unwrap(), mpsc::channel());
    listener.set_nonblocking(true).unwrap();
    let frame = [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), message].concat();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let (stream, _) = tokio::net::TcpListener::from_std(listener).unwrap().accept().await.unwrap();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let (request, mut respond) = connection.accept().await.unwrap().unwrap();
            tokio::spawn(async move { while connection.accept().await.is_some() {} });
            let head = http::Response::builder().header("content-type", "application/grpc").body(()).unwrap();
            let mut body = respond.send_response(head, false).unwrap();
            body.send_data(frame.into(), false).unwrap();
            let (mut received, mut requests) = (Vec::new(), request.into_body());
            while let Some(Ok(bytes)) = requests.data().await {
                requests.flow_control().release_capacity(bytes.len()).unwrap();
                received.extend_from_slice(&bytes);
                while let Some(length) = received.get(1..5).map(|length| u32::from_be_bytes(length.try_into().unwrap()))
                {
                    let end = 5 + usize::try_from(length).unwrap();
                    if received.len() < end {
                        break;
                    }
                    let request = DiscoveryRequest::decode(&received[5..end]).unwrap();
                    received.drain(..end);
                    if request.error_detail.is_some() {
                        let _test_has_ended = sender.send(request);
                    }
                }
            }
        });
    });
    (addr, nacks)
}

const PING: u8 = 6;
const ACK: u8 = 1;

/// A proxy that notes the type and the flags of each HTTP/2 frame of the client.
struct Tap {
    addr: std::net::SocketAddr,
    frames: Arc<Mutex<Vec<(u8, u8)>>>,
}

impl Tap {
    fn before(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (addr, frames) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let noted = Arc::clone(&frames);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(&server) else { return };
                let (mut back, mut answers) = (client.try_clone().unwrap(), far.try_clone().unwrap());
                thread::spawn(move || std::io::copy(&mut answers, &mut back));
                let noted = Arc::clone(&noted);
                thread::spawn(move || note_frames(client, far, &noted));
            }
        });
        Self { addr, frames }
    }
}

fn note_frames(mut client: TcpStream, mut far: TcpStream, noted: &Mutex<Vec<(u8, u8)>>) -> Option<()> {
    let mut preface = [0; 24];
    client.read_exact(&mut preface).ok()?;
    far.write_all(&preface).ok()?;
    loop {
        let mut head = [0; 9];
        client.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut body = vec![0; length as usize];
        client.read_exact(&mut body).ok()?;
        noted.lock().unwrap().push((head[3], head[4]));
        far.write_all(&head).ok()?;
        far.write_all(&body).ok()?;
    }
}
