//! One connection with what nghttp2's encoder says, while both sides change the sizes of their tables.

use std::fmt::Write;
use std::{env, fs};

use tidegate::fuzzed::{Header, Http2};

/// Every block is read as what it was written from, and our answers are the ones that nghttp2 has read (`scripts/header-blocks check`).
/// `UPDATE_DOCS=1 cargo test --test http2` writes them again.
#[test]
fn blocks_of_nghttp2_and_our_answers() {
    let mut server = Http2::new(true);
    server.receive(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    server.receive(&frame(SETTINGS, 0, 0, &[]));
    server.take_sent();
    let (mut expected, mut answers, mut stream) = (Vec::new(), String::new(), 1);
    for line in REQUESTS.lines().filter(|line| !line.starts_with('#')) {
        let (kind, rest) = line.split_once(' ').unwrap();
        if kind == "table" {
            let [a, b, c, d] = u32::to_be_bytes(rest.parse().unwrap());
            server.receive(&frame(SETTINGS, 0, 0, &[0, HEADER_TABLE_SIZE, a, b, c, d]));
            server.take_sent();
            writeln!(answers, "{line}").unwrap();
            continue;
        }
        let words: Vec<_> = rest.split(' ').map(bytes).collect();
        let fields: Vec<Header> = words[1..].chunks(2).map(|field| (field[0].clone(), field[1].clone())).collect();
        let regular: Vec<_> = fields.iter().filter(|(name, _)| name[0] != b':').cloned().collect();
        send(&mut server, stream, &words[0], kind == "request");
        let blocks = blocks(&server.take_sent());
        if kind == "request" {
            let status = (b":status".to_vec(), b"200".to_vec());
            let echo: Vec<_> = std::iter::once(status).chain(regular.iter().cloned()).collect();
            assert_eq!(blocks.len(), 1, "{line}");
            put_line(&mut answers, &blocks[0], &echo);
        } else {
            let field = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
            assert_eq!(blocks.len(), 2, "{line}");
            put_line(&mut answers, &blocks[0], &[field(":status", "200"), field("content-type", "application/grpc")]);
            put_line(&mut answers, &blocks[1], &[field("grpc-status", "0")]);
        }
        expected.push((stream, regular));
        stream += 2;
    }
    assert!(expected.len() > 100, "{}", expected.len());
    for (read, expected) in server.finish().headers.into_iter().zip(expected) {
        assert_eq!(read, expected);
    }
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http2/ours.txt"), &answers).unwrap();
    } else {
        assert!(answers == ANSWERS, "other answers than in tests/http2/ours.txt: {UPDATE}");
    }
}

/// Sends a block in frames of a third of it, and a body if there is one.
fn send(server: &mut Http2, stream: u32, block: &[u8], is_whole: bool) {
    let mut parts = block.chunks(block.len().div_ceil(3)).peekable();
    let mut kind = HEADERS;
    while let Some(part) = parts.next() {
        let mut flags = if parts.peek().is_none() { END_HEADERS } else { 0 };
        if is_whole && kind == HEADERS {
            flags |= END_STREAM;
        }
        server.receive(&frame(kind, flags, stream, part));
        kind = CONTINUATION;
    }
    if !is_whole {
        server.receive(&frame(DATA, END_STREAM, stream, b"body"));
    }
}

/// The header blocks among these frames.
fn blocks(mut sent: &[u8]) -> Vec<Vec<u8>> {
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    while let Some(([a, b, c, kind, ..], rest)) = sent.split_first_chunk::<9>() {
        let (payload, rest) = rest.split_at(usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).unwrap());
        match *kind {
            HEADERS => blocks.push(payload.to_vec()),
            CONTINUATION => blocks.last_mut().unwrap().extend_from_slice(payload),
            _ => {}
        }
        sent = rest;
    }
    blocks
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn put_line(lines: &mut String, block: &[u8], fields: &[Header]) {
    write!(lines, "answer {}", hex(block)).unwrap();
    for (name, value) in fields {
        write!(lines, " {} {}", hex(name), hex(value)).unwrap();
    }
    lines.push('\n');
}

fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "-".to_owned();
    }
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn bytes(hex: &str) -> Vec<u8> {
    let hex = hex.trim_matches('-').as_bytes();
    hex.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

const REQUESTS: &str = include_str!("nghttp2.txt");
const ANSWERS: &str = include_str!("ours.txt");
const UPDATE: &str =
    "`UPDATE_DOCS=1 cargo test --test http2` writes them, `scripts/header-blocks check` has to read them";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const HEADER_TABLE_SIZE: u8 = 1;
