//! Every abuse for some time, next to a steady load: no answer is wrong, and memory is bounded.
//!
//! `TIDEGATE_ABUSE_SECONDS=5 cargo test --test service measured -- --nocapture` prints what the load sees before, during and after each
//! (docs/measurements/abuse.txt); `TIDEGATE_ABUSE_ONLY=SETTINGS` does it for those with such a name. What the abuser does to the machine is
//! measured too: it then sends the same to ports that take everything and do nothing with it.

use std::collections::VecDeque;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use prost::Message;

use super::floods::floods;
use super::legitimate::{Legitimate, RULES};
use crate::TestServer;
use crate::drain::check;
use crate::frames::{
    DATA, END_HEADERS, END_STREAM, HEADERS, INITIAL_WINDOW_SIZE, RST_STREAM, Wire, check_headers, frame, headers,
    setting,
};
use crate::server::Stopwatch;

/// What an abuser does again and again; what it returns is kept open until the abuse is over.
type Act = Box<dyn Fn(&Ports, Stopwatch, Duration) -> Vec<TcpStream>>;

/// Who is abused.
struct Ports {
    grpc: String,
    http: String,
}

#[test]
fn a_steady_load_gets_its_answers_whatever_others_do() {
    let seconds = std::env::var("TIDEGATE_ABUSE_SECONDS").ok().map(|text| text.parse::<f64>().unwrap());
    let length = seconds.map_or(Duration::from_millis(150), Duration::from_secs_f64);
    let server = TestServer::start(RULES, &["--workers", "1"]);
    let legitimate = Legitimate::start(&server.grpc);
    let resident = server.resident_bytes();
    let ports = Ports { grpc: server.grpc.clone(), http: server.http.clone() };
    let mut elsewhere = None;
    if seconds.is_some() {
        share_cores(&server);
        elsewhere = Some(sink());
        eprintln!(
            "p50 and p99 in microseconds, of 2,000 checks a second: before, while something else is abused, during the abuse and 5 s \
             after; most resident MiB"
        );
    }
    let only = std::env::var("TIDEGATE_ABUSE_ONLY").unwrap_or_default();
    for (name, act) in abuses().into_iter().filter(|(name, _)| name.contains(&only)) {
        legitimate.times();
        if seconds.is_some() {
            std::thread::sleep(length);
        }
        let before = legitimate.times();
        let control = elsewhere.as_ref().map(|sink| {
            let held = abuse(&act, sink, length, || {});
            let times = legitimate.times();
            drop(held);
            std::thread::sleep(Duration::from_millis(500));
            times
        });
        legitimate.times();
        let mut most = 0;
        let mut looked = Stopwatch::start();
        let held = abuse(&act, &ports, length, || {
            if looked.elapsed() >= Duration::from_millis(20) {
                most = most.max(server.resident_bytes());
                looked = Stopwatch::start();
            }
        });
        most = most.max(server.resident_bytes());
        let during = legitimate.times();
        drop(held);
        let grown = most.saturating_sub(resident);
        assert!(grown < MAX_GROWTH, "{name}: {} MiB more", grown >> 20);
        if seconds.is_some() {
            std::thread::sleep(Duration::from_secs(5));
            legitimate.times();
            std::thread::sleep(length);
            let after = legitimate.times();
            let control = control.unwrap_or_default();
            let shown = [before, control, during, after]
                .map(|times| format!("{:>6} {:>6}", quantile(&times, 50), quantile(&times, 99)));
            eprintln!("{name:<36} {} {:>5}", shown.join("  "), most >> 20);
        }
    }
    legitimate.stop();
}

/// Does this until the time is over, with the connections of the last [`HELD`] times open. Returns those.
fn abuse(act: &Act, ports: &Ports, length: Duration, mut each: impl FnMut()) -> VecDeque<TcpStream> {
    let stopwatch = Stopwatch::start();
    let mut held = VecDeque::new();
    while stopwatch.elapsed() < length {
        held.extend(act(ports, stopwatch, length));
        each();
        std::thread::sleep(PAUSE);
        if held.len() > HELD {
            held.pop_front();
        }
    }
    held
}

/// The connections of an abuser.
const HELD: usize = 2_000;

/// Between two connections, so that the load has a part of its core.
const PAUSE: Duration = Duration::from_micros(200);

/// Accepts every connection, and reads what it sends, on the core of the server.
fn sink() -> Ports {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, started) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            sender.send(thread_id()).unwrap();
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move { tokio::io::copy(&mut stream, &mut tokio::io::sink()).await });
            }
        });
    });
    let thread = started.recv().unwrap();
    util_linux(&["taskset", "-pc", "0", &thread]);
    Ports { grpc: address.clone(), http: address }
}

fn thread_id() -> String {
    let thread = std::fs::read_link("/proc/thread-self").unwrap();
    thread.file_name().unwrap().to_str().unwrap().to_owned()
}

fn util_linux(command: &[&str]) {
    let done = std::process::Command::new(command[0]).args(&command[1..]).output();
    assert!(done.is_ok_and(|done| done.status.success()), "{} of util-linux is needed to measure", command[0]);
}

/// The load and the abuser would be on other machines: the server gets a core, they get the other one, and the abuser has only the time that
/// the load leaves; nothing else on that core delays the load.
fn share_cores(server: &TestServer) {
    let (server, own) = (server.pid().to_string(), std::process::id().to_string());
    for command in [
        &["taskset", "--all-tasks", "-pc", "0", &server][..],
        &["taskset", "--all-tasks", "-pc", "1", &own],
        &["chrt", "--all-tasks", "--fifo", "--pid", "1", &own],
        &["chrt", "--idle", "--pid", "0", &thread_id()],
    ] {
        util_linux(command);
    }
}

fn quantile(times: &[Duration], percent: usize) -> u128 {
    times.get(times.len() * percent / 100).map_or(0, Duration::as_micros)
}

fn abuses() -> Vec<(&'static str, Act)> {
    let mut abuses: Vec<(&'static str, Act)> = vec![(
        "nothing",
        Box::new(|_, _, _| {
            std::thread::sleep(Duration::from_millis(20));
            Vec::new()
        }),
    )];
    for flood in floods() {
        let name = flood.name;
        let act: Act = Box::new(move |ports, since, length| {
            let _ended = flood.send(&ports.grpc, |_| since.elapsed() >= length);
            Vec::new()
        });
        abuses.push((name, act));
    }
    let body = crate::raw::frame(&check("free", "unread").encode_to_vec());
    let whole = move |n: u32| {
        [frame(HEADERS, END_HEADERS, 2 * n + 1, &check_headers()), frame(DATA, END_STREAM, 2 * n + 1, &body)].concat()
    };
    let reset = {
        let whole = whole.clone();
        move |n: u32| [whole(n), frame(RST_STREAM, 0, 2 * n + 1, &8_u32.to_be_bytes())].concat()
    };
    let unread: Vec<u8> = (0..4_000).flat_map(whole).collect();
    let open: Vec<u8> = (0..4_000).flat_map(|n| frame(HEADERS, END_HEADERS, 2 * n + 1, &check_headers())).collect();
    let watches: Vec<u8> = (0..4_000)
        .flat_map(|n| {
            let headers = frame(HEADERS, END_HEADERS, 2 * n + 1, &headers("/grpc.health.v1.Health/Watch"));
            [headers, frame(DATA, END_STREAM, 2 * n + 1, &[0; 5])].concat()
        })
        .collect();
    let entry = [&b"\x40\x01a\x7f\xa1\x1e"[..], &[b'x'; 4_000]].concat();
    let bomb = [check_headers(), entry, vec![0xbe; 12_000]].concat();
    let bombs: Vec<u8> = (0..50).flat_map(|n| frame(HEADERS, END_HEADERS, 2 * n + 1, &bomb)).collect();
    abuses.push((
        "whole checks that are reset",
        Box::new(move |ports, since, length| {
            let mut wire = Wire::open(&ports.grpc, &[]);
            for n in (0..1_000_000).step_by(100) {
                let some: Vec<u8> = (n..n + 100).flat_map(&reset).collect();
                if since.elapsed() >= length || !wire.send(&some) {
                    break;
                }
            }
            Vec::new()
        }),
    ));
    abuses.push(("slow reads: no window for answers", sent(setting(INITIAL_WINDOW_SIZE, 0), unread)));
    abuses.push(("slow writes: headers and no body", sent(Vec::new(), open)));
    abuses.push(("long calls: health/Watch", sent(Vec::new(), watches)));
    abuses.push(("header bombs", sent(Vec::new(), bombs)));
    abuses.extend(of_connections());
    abuses
}

/// Opens a connection and sends this.
fn sent(settings: Vec<u8>, bytes: Vec<u8>) -> Act {
    Box::new(move |ports, _, _| {
        let mut stream = Wire::preface(&ports.grpc, &settings);
        let _taken = stream.write_all(&bytes);
        vec![stream]
    })
}

/// Connections that ask for nothing, or read nothing.
fn of_connections() -> Vec<(&'static str, Act)> {
    vec![
        ("idle connections", sent(Vec::new(), Vec::new())),
        ("half-open connections", Box::new(|ports, _, _| vec![TcpStream::connect(&ports.grpc).unwrap()])),
        (
            "2,000 connections that close at once",
            Box::new(|ports, _, _| {
                let open = |_| TcpStream::connect(&ports.grpc).unwrap();
                drop((0..HELD).map(open).collect::<Vec<_>>());
                std::thread::sleep(Duration::from_millis(100));
                Vec::new()
            }),
        ),
        (
            "/metrics that is not read",
            Box::new(|ports, _, _| {
                let mut stream = TcpStream::connect(&ports.http).unwrap();
                stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
                vec![stream]
            }),
        ),
    ]
}

/// The bounds on incomplete requests and on unread answers, and as much again for what the allocator keeps.
const MAX_GROWTH: u64 = 640 << 20;
