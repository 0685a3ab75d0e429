//! Peers that make the server keep things: streams, headers and answers.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use prost::Message;

use super::closed;
use super::legitimate::{Legitimate, RULES};
use crate::TestServer;
use crate::drain::check;
use crate::frames::{
    DATA, END_HEADERS, END_STREAM, HEADERS, INITIAL_WINDOW_SIZE, PING, Wire, check_headers, frame, headers,
    is_acknowledged, setting,
};
use crate::server::wait_for;

/// Streams of headers, and nothing else: 60,000 of them.
#[test]
fn headers_without_bodies_occupy_a_bounded_memory() {
    let watched = Watched::start();
    let server = &watched.server;
    let streams: Vec<u8> = (0..4_000).flat_map(|n| frame(HEADERS, END_HEADERS, 2 * n + 1, &check_headers())).collect();
    let mut wires: Vec<_> = (0..15).map(|_| Wire::open(&server.grpc, &[])).collect();
    for wire in &mut wires {
        assert!(wire.send(&streams));
    }
    watched.stop_within(160 << 20);
}

/// Whole checks whose answers nobody has room for: 144,000 of them, somewhat more than the port keeps.
#[test]
fn unread_answers_occupy_a_bounded_memory() {
    let watched = Watched::start();
    let server = &watched.server;
    let body = crate::raw::frame(&check("free", "unread").encode_to_vec());
    let checks: Vec<u8> = (0..4_000)
        .flat_map(|n| {
            let stream = 2 * n + 1;
            [frame(HEADERS, END_HEADERS, stream, &check_headers()), frame(DATA, END_STREAM, stream, &body)].concat()
        })
        .collect();
    let mut wires: Vec<_> = (0..36).map(|_| Wire::open(&server.grpc, &setting(INITIAL_WINDOW_SIZE, 0))).collect();
    for wire in &mut wires {
        // It may be the one that has to go.
        let _taken = wire.send(&checks);
    }
    // They are read in turns of 1 KiB, with pauses.
    wait_for("the end of the one that waits for longest", PROCESSED_WITHIN, || {
        (closed(server, "grpc", "unread") > 0).then_some(())
    });
    watched.stop_within(400 << 20);
}

/// Complete calls that do not end, and calls of reflection whose answers are not read.
#[test]
fn long_calls_are_few() {
    let watched = Watched::start();
    let server = &watched.server;
    let calls = |path: &str, body: &[u8], flags| -> Vec<u8> {
        let calls = (0..4_000).flat_map(|n| {
            let stream = 2 * n + 1;
            [frame(HEADERS, END_HEADERS, stream, &headers(path)), frame(DATA, flags, stream, body)].concat()
        });
        calls.collect()
    };
    let list: &[u8] = &[0, 0, 0, 0, 3, 0x3a, 1, b'*'];
    let streams = [
        calls("/grpc.health.v1.Health/Watch", &[0; 5], END_STREAM),
        calls("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", list, 0),
        calls("/grpc.health.v1.Health/Check", &[0; 4], 0),
    ];
    let mut wires = Vec::new();
    for (index, streams) in streams.iter().cycle().take(15).enumerate() {
        let window = if index % 2 == 0 { 0 } else { 65_535 };
        let mut wire = Wire::open(&server.grpc, &setting(INITIAL_WINDOW_SIZE, window));
        let _taken = wire.send(streams);
        wires.push(wire);
    }
    watched.stop_within(200 << 20);
}

/// Header blocks that grow when they are decoded, from many connections that stop in the middle.
#[test]
fn header_bombs_occupy_a_bounded_memory() {
    let watched = Watched::start();
    let server = &watched.server;
    // A header of 4,000 bytes that enters the table, and then references to it.
    let entry = [&b"\x40\x01a\x7f\xa1\x1e"[..], &[b'x'; 4_000]].concat();
    let bomb = [check_headers(), entry, vec![0xbe; 12_000]].concat();
    let mut wires: Vec<_> = (0..50).map(|_| Wire::open(&server.grpc, &[])).collect();
    for wire in &mut wires {
        for n in 0..20 {
            let _taken = wire.send(&frame(HEADERS, END_HEADERS, 2 * n + 1, &bomb));
        }
        let _taken = wire.send(&frame(HEADERS, 0, 101, &check_headers()));
    }
    watched.stop_within(100 << 20);
}

/// Peers that send everything but the end, and peers that send nothing.
#[test]
fn half_open_and_silent_connections_cost_little() {
    let watched = Watched::start();
    let server = &watched.server;
    let silent: Vec<_> = (0..300).map(|_| TcpStream::connect(&server.grpc).unwrap()).collect();
    let half: Vec<_> = (0..300)
        .map(|_| {
            let mut stream = Wire::preface(&server.grpc, &[]);
            stream.write_all(&frame(HEADERS, END_HEADERS, 1, &check_headers())).unwrap();
            stream.write_all(&frame(DATA, 0, 1, &[0, 0, 0])).unwrap();
            stream
        })
        .collect();
    watched.stop_within(60 << 20);
    drop((silent, half));
}

/// Connections on which nothing was sent have no room for HTTP/2 or TLS yet.
#[test]
fn two_thousand_silent_connections_take_less_than_8_kib_each() {
    let watched = Watched::start();
    let silent: Vec<_> = (0..2_000).map(|_| TcpStream::connect(&watched.server.grpc).unwrap()).collect();
    wait_for("all to be accepted", PROCESSED_WITHIN, || {
        let (_, metrics) = watched.server.http("GET", "/metrics", b"");
        let open = metrics.lines().find_map(|line| line.strip_prefix("tidegate_connections "));
        (open?.parse::<u64>().ok()? > 2_000).then_some(())
    });
    watched.stop_within(16 << 20);
    drop(silent);
}

/// Connections of our own HTTP/2 that have been answered keep no buffers: `scripts/idle-connections` says how little a release build keeps.
#[test]
fn two_thousand_idle_connections_take_less_than_12_kib_each() {
    let watched = Watched::start_with(&["--http2", "lean"]);
    let body = crate::raw::frame(&check("free", "idle").encode_to_vec());
    let check = [frame(HEADERS, END_HEADERS, 1, &check_headers()), frame(DATA, END_STREAM, 1, &body)].concat();
    let asked = [check, frame(PING, 0, 0, b"tidegate")].concat();
    let idle: Vec<_> = (0..2_000)
        .map(|_| {
            let mut stream = Wire::preface(&watched.server.grpc, &[]);
            stream.write_all(&asked).unwrap();
            assert!(is_acknowledged(&mut stream));
            stream
        })
        .collect();
    watched.stop_within(24 << 20);
    drop(idle);
}

/// A server with one worker, legitimate clients, and its memory at the start.
struct Watched {
    server: TestServer,
    legitimate: Legitimate,
    resident: u64,
}

impl Watched {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(args: &[&str]) -> Self {
        let server = TestServer::start(RULES, &[&["--workers", "1"], args].concat());
        let legitimate = Legitimate::start(&server.grpc);
        Self { resident: server.resident_bytes(), server, legitimate }
    }

    /// The server has processed what it was sent, and has not grown by more than this; no legitimate answer was wrong.
    #[track_caller]
    fn stop_within(self, most: u64) {
        let (mut last, mut largest) = (0, 0);
        // It is done when it no longer grows.
        wait_for("an end of the growth", PROCESSED_WITHIN, || {
            let now = self.server.resident_bytes();
            largest = now.max(largest);
            thread::sleep(Duration::from_millis(300));
            (std::mem::replace(&mut last, now).abs_diff(now) < SOME_PAGES).then_some(())
        });
        let grown = largest.saturating_sub(self.resident);
        assert!(grown < most, "{} MiB more", grown >> 20);
        self.legitimate.stop();
    }
}

/// Turns of connections that have not earned them are small, and a machine with other things to do is slow.
const PROCESSED_WITHIN: Duration = Duration::from_mins(5);

/// By which the memory of a server changes that has nothing left to process.
const SOME_PAGES: u64 = 256 << 10;
