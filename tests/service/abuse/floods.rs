//! Floods of frames: each has an end with a reason, and nobody else notices.

use std::time::Duration;

use super::closed;
use super::legitimate::{Legitimate, RULES};
use crate::TestServer;
use crate::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, PING,
    PRIORITY, PROTOCOL_ERROR, RST_STREAM, WINDOW_UPDATE, Wire, check_headers, frame, setting,
};
use crate::server::eventually;

/// What an abuser sends: first this, and then piece after piece.
pub(super) struct Flood {
    pub(super) name: &'static str,
    opening: Vec<u8>,
    piece: fn(u32) -> Vec<u8>,
}

impl Flood {
    /// Sends pieces on a new connection until it is closed, or `is_over`; whether it was closed.
    pub(super) fn send(&self, address: &str, is_over: impl Fn(u32) -> bool) -> (Wire, bool) {
        let mut wire = Wire::open(address, &[]);
        let mut ended = !wire.send(&self.opening);
        for n in (0..u32::MAX / 4).step_by(100) {
            if ended || is_over(n) {
                break;
            }
            let some: Vec<u8> = (n..n + 100).flat_map(self.piece).collect();
            ended = !wire.send(&some);
        }
        (wire, ended)
    }
}

fn open_streams(count: u32) -> Vec<u8> {
    (0..count).flat_map(|n| frame(HEADERS, END_HEADERS, 2 * n + 1, &check_headers())).collect()
}

pub(super) fn floods() -> Vec<Flood> {
    let flood = |name, opening, piece| Flood { name, opening, piece };
    let one_stream = || open_streams(1);
    vec![
        flood("rapid reset", vec![], |n| {
            let stream = 2 * n + 1;
            let headers = frame(HEADERS, END_HEADERS, stream, &check_headers());
            [headers, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
        }),
        flood("CONTINUATION", frame(HEADERS, 0, 1, &check_headers()), |_| frame(CONTINUATION, 0, 1, &[])),
        flood("CONTINUATION with headers", frame(HEADERS, 0, 1, &check_headers()), |_| {
            frame(CONTINUATION, 0, 1, &b"\0\x01a\x01b".repeat(3_000))
        }),
        flood("SETTINGS", open_streams(4_000), |n| setting(INITIAL_WINDOW_SIZE, 60_000 + n % 2)),
        flood("PING", vec![], |_| frame(PING, 0, 0, &[7; 8])),
        flood("PING that nobody asked for", vec![], |_| frame(PING, ACK, 0, &[7; 8])),
        flood("empty DATA", one_stream(), |_| frame(DATA, 0, 1, &[])),
        flood("window of the connection", vec![], |_| frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())),
        flood("window of a stream", one_stream(), |_| frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes())),
        flood("PRIORITY", vec![], |n| frame(PRIORITY, 0, 2 * n + 1, &[0, 0, 0, 0, 1])),
        flood("unknown frames", vec![], |_| frame(0xfe, 0, 0, &[])),
        flood("streams beyond the bound", open_streams(4_000), |n| {
            frame(HEADERS, END_HEADERS, 8_001 + 2 * n, &check_headers())
        }),
    ]
}

#[test]
fn each_flood_is_ended_and_counted_while_others_get_their_answers() {
    let server = TestServer::start(RULES, &["--workers", "1"]);
    let legitimate = Legitimate::start(&server.grpc);
    for flood in floods() {
        let before = closed(&server, "grpc", "flood");
        let (wire, ended) = flood.send(&server.grpc, |n| n >= 2_000_000);
        assert!(ended, "{}: two millions were taken", flood.name);
        let ended = wire.ended();
        // What the server says may be lost when it closes a connection with unread bytes.
        assert!(matches!(ended.goaway, None | Some(ENHANCE_YOUR_CALM)), "{}: {ended:?}", flood.name);
        eventually(&format!("{} in the metric", flood.name), || closed(&server, "grpc", "flood") > before);
    }
    legitimate.stop();
}

#[test]
fn the_peer_learns_the_reason() {
    let server = TestServer::start(RULES, &["--workers", "1"]);
    // No more than the budget and a little, so that the server has read it all when it closes.
    let mut wire = Wire::open(&server.grpc, &[]);
    for _ in 0..60 {
        wire.send(&setting(INITIAL_WINDOW_SIZE, 70_000));
    }
    let ended = wire.ended();
    assert_eq!(ended.goaway, Some(ENHANCE_YOUR_CALM), "{ended:?}");
    assert_eq!(ended.frames[usize::from(GOAWAY)], 1);
}

#[test]
fn what_was_asked_before_a_violation_is_answered_first() {
    let server = TestServer::start(RULES, &["--workers", "1", "--http2", "lean"]);
    let mut wire = Wire::open(&server.grpc, &[]);
    let body = crate::raw::frame(&prost::Message::encode_to_vec(&crate::drain::check("free", "before")));
    let check = [frame(HEADERS, END_HEADERS, 1, &check_headers()), frame(DATA, END_STREAM, 1, &body)].concat();
    assert!(wire.send(&[check, frame(PING, 0, 1, &[0; 8])].concat()));
    let ended = wire.ended();
    let headers_and_trailers = ended.frames[usize::from(HEADERS)];
    assert_eq!((headers_and_trailers, ended.last, ended.goaway), (2, Some(GOAWAY), Some(PROTOCOL_ERROR)), "{ended:?}");
}

/// The other ports are served by hyper.
#[test]
fn floods_of_the_http_ports_are_ended_too() {
    let server = TestServer::start(RULES, &[]);
    for (port, address) in [("http", &server.http), ("admin", &server.admin)] {
        for (name, piece) in [
            ("PING", frame(PING, 0, 0, &[7; 8])),
            ("SETTINGS", setting(INITIAL_WINDOW_SIZE, 70_000)),
            ("PRIORITY", frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 3])),
        ] {
            let before = closed(&server, port, "flood");
            let mut wire = Wire::open(address, &[]);
            let some = piece.repeat(100);
            assert!((0..20_000).any(|_| !wire.send(&some)), "{port}, {name}: two millions were taken");
            wire.ended();
            eventually(&format!("{port}, {name} in the metric"), || closed(&server, port, "flood") > before);
        }
    }
}

#[test]
fn whole_checks_that_are_reset_are_no_flood() {
    let server = TestServer::start(RULES, &["--workers", "1"]);
    let legitimate = Legitimate::start(&server.grpc);
    let mut wire = Wire::open(&server.grpc, &[]);
    let body = crate::raw::frame(&prost::Message::encode_to_vec(&crate::drain::check("free", "reset")));
    for n in 0..30_000_u32 {
        let stream = 2 * n + 1;
        let headers = frame(HEADERS, END_HEADERS, stream, &check_headers());
        let data = frame(DATA, END_STREAM, stream, &body);
        let reset = frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
        assert!(wire.send(&[headers, data, reset].concat()), "check {n}");
    }
    assert_eq!(wire.ended_within(Duration::from_millis(200)), None, "an Envoy whose checks time out sends this");
    legitimate.stop();
}
