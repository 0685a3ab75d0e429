//! Every abuse for some time, next to a steady load: no answer is wrong, and memory is bounded.
//!
//! `TIDEGATE_ABUSE_SECONDS=5 cargo test --release --test service measured -- --nocapture` prints what the load sees before, during and
//! after each (docs/measurements/abuse.txt).

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
type Act = Box<dyn Fn(&TestServer, Stopwatch, Duration) -> Vec<TcpStream>>;

#[test]
fn a_steady_load_gets_its_answers_whatever_others_do() {
    let seconds = std::env::var("TIDEGATE_ABUSE_SECONDS").ok().map(|text| text.parse::<f64>().unwrap());
    let length = seconds.map_or(Duration::from_millis(150), Duration::from_secs_f64);
    let server = TestServer::start(RULES, &["--workers", "1"]);
    let legitimate = Legitimate::start(&server.grpc);
    let resident = server.resident_bytes();
    if seconds.is_some() {
        eprintln!(
            "p50 and p99 in microseconds, of 2,000 checks a second: before, during and 5 s after; most resident MiB"
        );
    }
    for (name, act) in abuses() {
        legitimate.times();
        if seconds.is_some() {
            std::thread::sleep(length);
        }
        let before = legitimate.times();
        let stopwatch = Stopwatch::start();
        let (mut held, mut most) = (Vec::new(), 0);
        while stopwatch.elapsed() < length {
            held.extend(act(&server, stopwatch, length));
            most = most.max(server.resident_bytes());
            if held.len() > 2_000 {
                held.clear();
            }
        }
        let during = legitimate.times();
        drop(held);
        let grown = most.saturating_sub(resident);
        assert!(grown < MAX_GROWTH, "{name}: {} MiB more", grown >> 20);
        if seconds.is_some() {
            std::thread::sleep(Duration::from_secs(5));
            legitimate.times();
            std::thread::sleep(length);
            let after = legitimate.times();
            let shown =
                [before, during, after].map(|times| format!("{:>6} {:>6}", quantile(&times, 50), quantile(&times, 99)));
            eprintln!("{name:<36} {} {:>5}", shown.join("  "), most >> 20);
        }
    }
    legitimate.stop();
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
        let act: Act = Box::new(move |server, since, length| {
            let _ended = flood.send(&server.grpc, |_| since.elapsed() >= length);
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
    let sent = |settings: Vec<u8>, bytes: Vec<u8>| -> Act {
        Box::new(move |server, _, _| {
            let mut stream = Wire::preface(&server.grpc, &settings);
            let _taken = stream.write_all(&bytes);
            vec![stream]
        })
    };
    abuses.push((
        "whole checks that are reset",
        Box::new(move |server, since, length| {
            let mut wire = Wire::open(&server.grpc, &[]);
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
    abuses.push(("idle connections", sent(Vec::new(), Vec::new())));
    abuses.push(("half-open connections", Box::new(|server, _, _| vec![TcpStream::connect(&server.grpc).unwrap()])));
    abuses.push((
        "/metrics that is not read",
        Box::new(|server, _, _| {
            let mut stream = TcpStream::connect(&server.http).unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
            vec![stream]
        }),
    ));
    abuses
}

/// The bounds on incomplete requests and on unread answers, and as much again for what the allocator keeps.
const MAX_GROWTH: u64 = 640 << 20;
