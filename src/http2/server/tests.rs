//! Frames in, frames out.

use super::super::frame::*;
use super::super::hpack::{put_field, put_indexed, put_literal};
use super::request::Head;
use super::*;

/// The path of a request, and its headers other than pseudo-header fields.
#[derive(Debug, Default, PartialEq, Eq)]
struct Path(String);

impl Head for Path {
    fn field(&mut self, name: &[u8], value: &[u8]) {
        if name == b":path" {
            self.0 = String::from_utf8_lossy(value).into_owned();
        }
    }
}

type Server = Connection<Path, u32>;

const LIMITS: Limits = Limits { streams: 3, header_bytes: 64 << 10, window: 100_000, stream_errors: 5 };

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_frame(&mut out, kind, flags, stream, payload);
    out
}

fn opening() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    put_indexed(&mut block, 3);
    put_indexed(&mut block, 6);
    put_field(&mut block, b":path", b"/a");
    for (name, value) in fields {
        put_field(&mut block, name.as_bytes(), value.as_bytes());
    }
    block
}

fn request(id: u32, flags: u8) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, id, &block(&[]))
}

/// A short block of so many headers with 4,000 bytes each.
fn bomb(count: usize) -> Vec<u8> {
    let mut block = block(&[]);
    put_literal(&mut block, true, None, "a", &"b".repeat(4_000));
    (1..count).for_each(|_| put_indexed(&mut block, 62));
    block
}

fn number(code: u32) -> [u8; 4] {
    code.to_be_bytes()
}

/// The events of these bytes as text, in pieces of `size`, each request answered with its body when it is complete.
fn play(server: &mut Server, bytes: &[u8], size: usize) -> Vec<String> {
    let (mut events, mut rest) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(size) {
        rest.extend_from_slice(piece);
        let mut input = rest.as_slice();
        loop {
            match server.next(&mut input) {
                Ok(None) => break,
                Ok(Some(Event::Request { id, head, is_whole })) => {
                    *server.state(id).unwrap() = id;
                    events.push(format!("{id} {} {is_whole}", head.0));
                    if is_whole {
                        server.answer(id, b"whole");
                    }
                }
                Ok(Some(Event::Data { id, payload, is_last })) => {
                    events.push(format!("{id} {} bytes {is_last}", payload.len()));
                    server.release(id, payload.len());
                    if is_last {
                        server.answer(id, payload);
                    }
                }
                Ok(Some(Event::Gone { state })) => events.push(format!("{state} gone")),
                Err(violation) => {
                    events.push(format!("code {}", violation.code));
                    break;
                }
            }
        }
        server.flush();
        let left = input.len();
        rest.drain(..rest.len() - left);
    }
    events
}

/// The frames that wait to be sent, as text, without their payloads but for codes and increments.
fn sent(server: &mut Server) -> Vec<String> {
    let bytes = server.pending().to_vec();
    server.sent(bytes.len());
    let (mut rest, mut frames) = (bytes.as_slice(), Vec::new());
    while let Some((head, after)) = rest.split_first_chunk::<HEAD_BYTES>() {
        let head = FrameHead::read(*head);
        let (payload, after) = after.split_at(head.length);
        rest = after;
        let last = payload.last_chunk().map_or(0, |code: &[u8; 4]| u32::from_be_bytes(*code));
        frames.push(match head.kind {
            DATA => format!("{} DATA {}", head.stream, payload.len()),
            HEADERS if head.has(END_STREAM) => format!("{} END", head.stream),
            HEADERS => format!("{} HEADERS", head.stream),
            RST_STREAM => format!("{} RST {last}", head.stream),
            WINDOW_UPDATE => format!("{} WINDOW {last}", head.stream),
            GOAWAY => format!("GOAWAY {} {last}", u32::from_be_bytes(payload[..4].try_into().unwrap())),
            PING => format!("PING {}", head.flags),
            SETTINGS => format!("SETTINGS {}", head.flags),
            other => format!("kind {other}"),
        });
    }
    frames
}

fn opened() -> Server {
    let mut server = Server::new(LIMITS);
    assert!(play(&mut server, &opening(), 1_000).is_empty());
    assert_eq!(sent(&mut server), ["SETTINGS 0", "0 WINDOW 34465", "SETTINGS 1"]);
    server
}

#[test]
fn a_request_is_answered() {
    let mut server = opened();
    let bytes = [request(1, 0), frame(DATA, END_STREAM, 1, b"body"), request(3, END_STREAM)].concat();
    assert_eq!(play(&mut server, &bytes, 1_000), ["1 /a false", "1 4 bytes true", "3 /a true"]);
    let answers = ["1 HEADERS", "1 DATA 4", "1 END", "3 HEADERS", "3 DATA 5", "3 END"];
    assert_eq!((sent(&mut server), server.open_count()), (answers.map(String::from).to_vec(), 0));
}

/// What each of these leads to, on a connection with stream 1 open, and stream 3 answered: the events, and what is sent.
#[test]
#[allow(clippy::too_many_lines)] // A table.
fn every_frame_has_its_effect() {
    let padded = |padding: u8| [&[padding][..], b"body", &[0; 3]].concat();
    let dependency = |on: u32| [&number(on)[..], &[7]].concat();
    let cases: Vec<(&str, Vec<u8>, &str, &str)> = vec![
        ("padding", frame(DATA, PADDED, 1, &padded(3)), "1 4 bytes false", ""),
        ("too much padding", frame(DATA, PADDED, 1, &padded(9)), "code 1", "GOAWAY 3 1"),
        ("data of a closed stream", frame(DATA, 0, 3, b"x"), "", "3 RST 5"),
        ("data of an idle stream", frame(DATA, 0, 5, b"x"), "code 1", "GOAWAY 3 1"),
        ("data of the connection", frame(DATA, 0, 0, b"x"), "code 1", "GOAWAY 3 1"),
        ("data of an even stream", frame(DATA, 0, 2, b"x"), "code 1", "GOAWAY 3 1"),
        ("headers of an even stream", request(4, 0), "code 1", "GOAWAY 3 1"),
        ("headers of a closed stream", request(3, 0), "code 1", "GOAWAY 3 1"),
        ("headers that are no block", frame(HEADERS, END_HEADERS, 5, &[0x80]), "code 9", "GOAWAY 3 9"),
        (
            "trailers",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x00\x01a\x01b"),
            "1 0 bytes true",
            "1 HEADERS,1 END",
        ),
        ("trailers without an end", frame(HEADERS, END_HEADERS, 1, b"\x00\x01a\x01b"), "1 gone", "1 RST 1"),
        ("trailers with a path", frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x84"), "1 gone", "1 RST 1"),
        (
            "trailers about the connection",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x00\x07upgrade\x03h2c"),
            "1 gone",
            "1 RST 1",
        ),
        (
            "large trailers",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb(17)[block(&[]).len()..]),
            "1 gone",
            "1 RST 1",
        ),
        (
            "trailers that grow",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb(80)[block(&[]).len()..]),
            "code 11",
            "GOAWAY 3 11",
        ),
        ("malformed", frame(HEADERS, END_HEADERS, 5, b"\x83"), "", "5 RST 1"),
        (
            "depends on itself",
            frame(HEADERS, END_HEADERS | PRIORITY, 5, &[&dependency(5)[..], &block(&[])].concat()),
            "",
            "5 RST 1",
        ),
        (
            "with a priority",
            frame(HEADERS, END_HEADERS | PRIORITY, 5, &[&dependency(1)[..], &block(&[])].concat()),
            "5 /a false",
            "",
        ),
        ("a priority", frame(PRIORITY_FRAME, 0, 9, &dependency(1)), "", ""),
        ("a priority on itself", frame(PRIORITY_FRAME, 0, 1, &dependency(1)), "1 gone", "1 RST 1"),
        ("a short priority", frame(PRIORITY_FRAME, 0, 1, &[0; 4]), "1 gone", "1 RST 6"),
        ("reset", frame(RST_STREAM, 0, 1, &[0; 4]), "1 gone", ""),
        ("reset of a closed stream", frame(RST_STREAM, 0, 3, &[0; 4]), "", ""),
        ("reset of an idle stream", frame(RST_STREAM, 0, 5, &[0; 4]), "code 1", "GOAWAY 3 1"),
        ("short reset", frame(RST_STREAM, 0, 1, &[0; 3]), "code 6", "GOAWAY 3 6"),
        ("ping", frame(PING, 0, 0, &[1; 8]), "", "PING 1"),
        ("pong that was not asked for", frame(PING, ACK, 0, &[1; 8]), "", ""),
        ("short ping", frame(PING, 0, 0, &[1; 7]), "code 6", "GOAWAY 3 6"),
        ("ping of a stream", frame(PING, 0, 1, &[1; 8]), "code 1", "GOAWAY 3 1"),
        ("push", frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]), "code 1", "GOAWAY 3 1"),
        ("goaway", frame(GOAWAY, 0, 0, &[0; 8]), "", ""),
        ("settings", frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]), "", "SETTINGS 1"),
        ("the acknowledgement", frame(SETTINGS, ACK, 0, &[]), "", ""),
        ("a second one", frame(SETTINGS, ACK, 0, &[]).repeat(2), "code 1", "GOAWAY 3 1"),
        ("settings of five bytes", frame(SETTINGS, 0, 0, &[0; 5]), "code 6", "GOAWAY 3 6"),
        ("a window of 2^31", frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]), "code 3", "GOAWAY 3 3"),
        ("push of 2", frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2]), "code 1", "GOAWAY 3 1"),
        ("frames of 16383", frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0x3f, 0xff]), "code 1", "GOAWAY 3 1"),
        ("an unknown setting", frame(SETTINGS, 0, 0, &[0, 99, 0, 0, 0, 0]), "", "SETTINGS 1"),
        ("window of nothing", frame(WINDOW_UPDATE, 0, 1, &[0; 4]), "1 gone", "1 RST 1"),
        ("window too large", frame(WINDOW_UPDATE, 0, 1, &number(MAX_STREAM_ID)), "1 gone", "1 RST 3"),
        ("window of the connection", frame(WINDOW_UPDATE, 0, 0, &[0; 4]), "code 1", "GOAWAY 3 1"),
        ("the same, too large", frame(WINDOW_UPDATE, 0, 0, &number(MAX_STREAM_ID)), "code 3", "GOAWAY 3 3"),
        ("window of an idle stream", frame(WINDOW_UPDATE, 0, 5, &number(1)), "code 1", "GOAWAY 3 1"),
        ("unknown", frame(0xfe, 0xff, 7, &[1; 100]), "", ""),
        ("continuation", frame(CONTINUATION, 0, 1, &[]), "code 1", "GOAWAY 3 1"),
        ("interrupted", [frame(HEADERS, 0, 5, &[]), frame(PING, 0, 0, &[0; 8])].concat(), "code 1", "GOAWAY 3 1"),
        (
            "in parts",
            [frame(HEADERS, 0, 5, &block(&[])[..2]), frame(CONTINUATION, END_HEADERS, 5, &block(&[])[2..])].concat(),
            "5 /a false",
            "",
        ),
        (
            "more than content-length",
            frame(HEADERS, END_HEADERS | END_STREAM, 5, &block(&[("content-length", "1")])),
            "",
            "5 RST 1",
        ),
        ("too large", frame(HEADERS, END_HEADERS | END_STREAM, 5, &bomb(17)), "", "5 END"),
        ("abuse", frame(HEADERS, END_HEADERS, 5, &bomb(80)), "code 11", "GOAWAY 5 11"),
        (
            "without end",
            [frame(HEADERS, 0, 5, &[]), frame(CONTINUATION, 0, 5, &[]).repeat(6)].concat(),
            "code 11",
            "GOAWAY 3 11",
        ),
        ("a frame of 16385", frame(DATA, 0, 1, &[0; 16_385]), "code 6", "GOAWAY 3 6"),
    ];
    for (name, bytes, events, answer) in cases {
        let mut server = opened();
        play(&mut server, &[request(1, 0), request(3, END_STREAM)].concat(), 1_000);
        sent(&mut server);
        let seen = play(&mut server, &bytes, 1 << 20);
        if !events.is_empty() || !answer.is_empty() || !name.starts_with("more than the window") {
            assert_eq!((seen.join(","), sent(&mut server).join(",")), (events.to_owned(), answer.to_owned()), "{name}");
        }
    }
}

/// Wherever the bytes are cut, the events and what is sent are the same.
#[test]
fn bytes_may_be_cut_anywhere() {
    let bytes = [
        opening(),
        request(1, 0),
        frame(DATA, PADDED, 1, b"\x02body\0\0"),
        frame(HEADERS, 0, 3, &block(&[("a", "b")])[..5]),
        frame(CONTINUATION, END_HEADERS, 3, &block(&[("a", "b")])[5..]),
        frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0]),
        frame(DATA, END_STREAM, 1, b"body"),
        frame(PING, 0, 0, &[7; 8]),
        frame(RST_STREAM, 0, 3, &[0; 4]),
        frame(DATA, 0, 3, b"late"),
        frame(0xab, 0, 0, &[0; 30]),
        request(5, END_STREAM),
        request(2, 0),
    ]
    .concat();
    let whole = |size| {
        let mut server = Server::new(LIMITS);
        let events = play(&mut server, &bytes, size);
        (events, server.pending().to_vec())
    };
    let expected = whole(1 << 20);
    assert_eq!(expected.0.last().map(String::as_str), Some("code 1"));
    for size in 1..bytes.len() {
        assert_eq!(whole(size), expected, "pieces of {size}");
    }
}

#[test]
fn what_the_windows_do_not_allow_waits() {
    let mut server = opened();
    // Streams begin with a window of 3.
    play(&mut server, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 3]), 1_000);
    play(&mut server, &[request(1, END_STREAM), request(3, END_STREAM)].concat(), 1_000);
    assert_eq!(sent(&mut server), ["SETTINGS 1", "1 HEADERS", "1 DATA 3", "3 HEADERS", "3 DATA 3"]);
    assert_eq!((server.unsent(), server.open_count()), ((10, 2), 2));
    play(&mut server, &frame(WINDOW_UPDATE, 0, 3, &number(1)), 1_000);
    assert_eq!(sent(&mut server), ["3 DATA 1"]);
    play(&mut server, &frame(RST_STREAM, 0, 1, &[0; 4]), 1_000);
    assert_eq!((server.unsent(), server.room(1), server.room(3)), ((5, 1), None, Some(0)));
    // All windows grow by 997.
    play(&mut server, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 3, 0xe8]), 1_000);
    assert_eq!(sent(&mut server), ["SETTINGS 1", "3 DATA 1", "3 END"]);
    assert_eq!((server.unsent(), server.open_count()), ((0, 0), 0));
    // They may become negative.
    play(&mut server, &request(5, 0), 1_000);
    assert_eq!(server.send_data(5, &[0; 2_000]), 1_000);
    play(&mut server, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]), 1_000);
    assert!(!play(&mut server, &frame(WINDOW_UPDATE, 0, 5, &number(900)), 1_000).contains(&"code 3".to_owned()));
    assert_eq!(server.room(5), Some(0));
    play(&mut server, &frame(WINDOW_UPDATE, 0, 5, &number(101)), 1_000);
    assert_eq!(server.room(5), Some(1));
}

#[test]
fn answers_share_the_window_of_the_connection() {
    let mut server = opened();
    play(&mut server, &frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]), 1_000);
    play(&mut server, &[request(1, 0), request(3, 0)].concat(), 1_000);
    sent(&mut server);
    assert!(server.answer(1, &vec![0; 65_534]) && server.answer(3, b"whole") && !server.answer(3, b"again"));
    assert_eq!(sent(&mut server).last().map(String::as_str), Some("3 DATA 1"));
    play(&mut server, &frame(WINDOW_UPDATE, 0, 0, &number(100)), 1_000);
    // The request was not complete: the peer need not send the rest.
    assert_eq!(sent(&mut server), ["3 DATA 4", "3 END", "3 RST 0"]);
}

#[test]
fn a_peer_keeps_to_our_windows() {
    for (frames, release, expected) in [(6, false, &[][..]), (7, false, &["GOAWAY 1 3"]), (20, true, &[])] {
        let mut server = opened();
        play(&mut server, &request(1, 0), 1_000);
        let mut resets = Vec::new();
        for _ in 0..frames {
            let bytes = frame(DATA, 0, 1, &[0; 16_384]);
            let mut input = bytes.as_slice();
            if let Ok(Some(Event::Data { id, payload, .. })) = server.next(&mut input)
                && release
            {
                server.release(id, payload.len());
            }
            server.flush();
            resets.extend(
                sent(&mut server).into_iter().filter(|frame| frame.contains("RST") || frame.contains("GOAWAY")),
            );
        }
        assert_eq!(resets, expected, "{frames}");
    }
}

#[test]
fn more_streams_than_allowed_are_rejected_and_too_many_errors_are_the_end() {
    let mut server = opened();
    let all: Vec<_> = [1, 3, 5, 7].iter().map(|id| request(*id, 0)).collect();
    assert_eq!(play(&mut server, &all.concat(), 1_000), ["1 /a false", "3 /a false", "5 /a false"]);
    assert_eq!(sent(&mut server), ["7 RST 7"]);
    // What comes on a stream that was reset is ignored.
    let late = [frame(DATA, 0, 7, b"late"), frame(HEADERS, END_HEADERS | END_STREAM, 7, b"\x00\x01a\x01b")].concat();
    assert!(play(&mut server, &late, 1_000).is_empty() && sent(&mut server).is_empty());
    let more: Vec<_> = (9..).step_by(2).take(5).map(|id| request(id, 0)).collect();
    assert_eq!(play(&mut server, &more.concat(), 1_000), ["code 11"]);
    assert_eq!(sent(&mut server).last().map(String::as_str), Some("GOAWAY 17 11"));
    assert!(server.is_over() && play(&mut server, &request(99, 0), 1_000).is_empty());
}

#[test]
fn a_connection_ends_when_what_was_open_is_answered() {
    let mut server = opened();
    play(&mut server, &request(1, 0), 1_000);
    server.shut_down();
    server.shut_down();
    assert_eq!(sent(&mut server), ["GOAWAY 2147483647 0", "PING 0"]);
    // The peer does not know yet.
    assert_eq!(play(&mut server, &request(3, 0), 1_000), ["3 /a false"]);
    play(&mut server, &frame(PING, ACK, 0, b"goodbye!"), 1_000);
    assert_eq!(sent(&mut server), ["GOAWAY 3 0"]);
    let late = [request(5, 0), frame(DATA, END_STREAM, 5, b"x"), frame(RST_STREAM, 0, 5, &[0; 4])].concat();
    assert!(play(&mut server, &late, 1_000).is_empty() && sent(&mut server).is_empty());
    assert!(server.answer(1, b"x") && !server.is_over() && server.answer(3, b"x") && server.is_over());
}

#[test]
fn what_came_before_a_violation_is_answered_before_the_end() {
    let mut server = opened();
    let bytes = [request(1, END_STREAM), frame(PING, 0, 1, &[0; 8]), request(3, END_STREAM)].concat();
    let mut input = bytes.as_slice();
    assert!(matches!(server.next(&mut input), Ok(Some(Event::Request { id: 1, .. }))));
    assert!(server.next(&mut input).is_err());
    assert!(matches!(server.next(&mut input), Ok(None)), "nothing more is read");
    server.answer(1, b"late");
    server.flush();
    server.flush();
    assert_eq!(
        (sent(&mut server).join(","), server.is_over()),
        ("1 HEADERS,1 DATA 4,1 END,GOAWAY 1 1".to_owned(), true)
    );
}

#[test]
fn a_ping_is_answered_once() {
    let mut server = opened();
    server.ping();
    assert_eq!((sent(&mut server), server.take_pong()), (vec!["PING 0".to_owned()], false));
    play(&mut server, &frame(PING, ACK, 0, b"tidegate"), 1_000);
    assert_eq!((server.take_pong(), server.take_pong()), (true, false));
}

#[test]
fn what_is_no_http2_is_the_end() {
    for (bytes, code) in [
        (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(), "code 1"),
        ([PREFACE, &frame(PING, 0, 0, &[0; 8])].concat(), "code 1"),
        ([PREFACE, &frame(SETTINGS, ACK, 0, &[])].concat(), "code 1"),
    ] {
        assert_eq!(play(&mut Server::new(LIMITS), &bytes, 1_000), [code]);
    }
}
