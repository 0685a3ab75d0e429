//! Frames of HTTP/2 by hand, for peers that no library would be.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::server::DEADLINE;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const ACK: u8 = 1;

/// RFC 9113, section 7.
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;
/// RFC 9113, section 6.5.2.
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;

/// RFC 9113, section 4.1.
pub(crate) fn frame(kind: u8, flags: u8, stream_id: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream_id.to_be_bytes(), payload].concat()
}

/// One setting.
pub(crate) fn setting(name: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

/// The headers of a check, as literals that enter no table.
pub(crate) fn check_headers() -> Vec<u8> {
    headers("/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit")
}

/// The headers of a call, as literals that enter no table.
pub(crate) fn headers(path: &str) -> Vec<u8> {
    let literal = |name: &[u8], value: &str| [name, &[u8::try_from(value.len()).unwrap()], value.as_bytes()].concat();
    [
        vec![0x83, 0x86],
        literal(&[0x04], path),
        literal(&[0x01], "127.0.0.1"),
        literal(&[0x0f, 0x10], "application/grpc"),
        literal(b"\0\x02te", "trailers"),
    ]
    .concat()
}

/// A connection whose peer's frames are read by a thread of their own.
pub(crate) struct Wire {
    stream: TcpStream,
    ended: mpsc::Receiver<Ended>,
}

/// What the server has said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    /// The error of its GOAWAY.
    pub(crate) goaway: Option<u32>,
    /// The frames that it has sent, by kind.
    pub(crate) frames: [usize; 10],
    /// The kind of the last one.
    pub(crate) last: Option<u8>,
}

impl Wire {
    /// A connection with these settings, which reads everything.
    pub(crate) fn open(address: &str, settings: &[u8]) -> Self {
        let stream = Self::preface(address, settings);
        let reading = stream.try_clone().unwrap();
        let (end, ended) = mpsc::channel();
        thread::spawn(move || end.send(read_to_end(reading)));
        Self { stream, ended }
    }

    /// A connection with these settings, of which nothing is read.
    pub(crate) fn preface(address: &str, settings: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        stream.write_all(if settings.is_empty() { &[0, 0, 0, 4, 0, 0, 0, 0, 0] } else { settings }).unwrap();
        stream
    }

    /// Whether the peer took it.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// What the server has said until it closed the connection.
    pub(crate) fn ended(self) -> Ended {
        self.ended.recv_timeout(DEADLINE).expect("the server keeps the connection")
    }

    /// The same; `None` if it is open after this time.
    pub(crate) fn ended_within(&self, time: Duration) -> Option<Ended> {
        self.ended.recv_timeout(time).ok()
    }
}

fn read_to_end(mut stream: TcpStream) -> Ended {
    let mut ended = Ended::default();
    while let Some((kind, _, payload)) = next_frame(&mut stream) {
        if let Some(count) = ended.frames.get_mut(usize::from(kind)) {
            *count += 1;
        }
        ended.last = Some(kind);
        if kind == GOAWAY {
            ended.goaway = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
    }
    ended
}

/// The kind, the flags and the payload of the next frame; `None` at the end.
fn next_frame(stream: &mut TcpStream) -> Option<(u8, u8, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut payload).ok()?;
    Some((head[3], head[4], payload))
}

/// Reads frames until the PING is acknowledged; false when the connection ends, or a GOAWAY comes, before that.
pub(crate) fn is_acknowledged(stream: &mut TcpStream) -> bool {
    loop {
        match next_frame(stream) {
            None | Some((GOAWAY, ..)) => return false,
            Some((PING, ACK, payload)) if payload == b"tidegate" => return true,
            Some(_) => {}
        }
    }
}
