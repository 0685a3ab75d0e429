//! Readers of files, and a connection, that only this crate uses otherwise, for the fuzz targets.

use std::collections::BTreeMap;

use http::Method;
use http::uri::{Authority, PathAndQuery, Scheme};

use crate::access::{ClientNames, Domains, read_clients, read_tokens};
use crate::http2::server::{Connection, Event, Field, Head, Limits};
use crate::net::check_pem;

/// Reads a file of `--admin-tokens`. Returns the number of tokens.
///
/// # Errors
/// What the log would say.
pub fn tokens(text: &[u8]) -> Result<usize, String> {
    read_tokens(text)
}

/// Reads a file of `--access`. Returns whether a client whose certificate has these names may check all domains, some, or none.
///
/// # Errors
/// What the log would say.
pub fn clients(text: &[u8], uris: Vec<String>, dns: Vec<String>) -> Result<&'static str, String> {
    let domains = read_clients(text, &ClientNames { uris, dns })?;
    Ok(match domains {
        Domains::All => "all",
        Domains::Only(some) if some.is_empty() => "none",
        Domains::Only(_) => "some",
    })
}

/// Reads the PEM files of a port as at a reload. Returns when the certificate expires, in seconds since the epoch.
///
/// # Errors
/// What the log would say.
pub fn pem(cert: &[u8], key: &[u8], client_ca: Option<&[u8]>) -> Result<i64, String> {
    check_pem(cert, key, client_ca)
}

/// What has come of a connection.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Played {
    /// What happened, in order; a request is `odd` if the `http` or the `h2` crate would not take it.
    pub events: Vec<String>,
    /// What the server has sent.
    pub sent: Vec<u8>,
    /// The headers of requests by stream, without pseudo-header fields, in order.
    pub headers: BTreeMap<u32, Vec<Header>>,
}

/// The name and the value of a header.
pub type Header = (Vec<u8>, Vec<u8>);

/// Plays the server's side of an HTTP/2 connection with what a client sends, in these pieces. Requests are answered with the body that they
/// have, or with their path.
pub fn http2<'s>(pieces: impl IntoIterator<Item = &'s [u8]>) -> Played {
    let mut server = Http2::new(false);
    for piece in pieces {
        server.receive(piece);
    }
    server.finish()
}

/// The server's side of an HTTP/2 connection.
#[derive(Debug)]
pub struct Http2 {
    server: Connection<Fields, Stream>,
    /// The beginning of a frame.
    rest: Vec<u8>,
    has_mirror: bool,
    played: Played,
}

impl Http2 {
    /// A new connection. With a mirror a request without a body is answered with the headers that it has, and no body.
    pub fn new(has_mirror: bool) -> Self {
        Self { server: Connection::new(LIMITS), rest: Vec::new(), has_mirror, played: Played::default() }
    }

    /// Does what this part of what a client sends asks for.
    pub fn receive(&mut self, piece: &[u8]) {
        self.rest.extend_from_slice(piece);
        let mut input = self.rest.as_slice();
        loop {
            match self.server.next(&mut input) {
                Ok(Some(event)) => {
                    if let Event::Request { id, head, .. } = &event {
                        self.played.headers.insert(*id, head.headers.clone());
                    }
                    self.played.events.push(answered(&mut self.server, event, self.has_mirror));
                }
                Ok(None) => break,
                Err(violation) => {
                    self.played.events.push(violation.to_string());
                    break;
                }
            }
        }
        self.server.flush();
        let taken = self.rest.len() - input.len();
        self.rest.drain(..taken);
    }

    /// Takes what is to be sent.
    pub fn take_sent(&mut self) -> Vec<u8> {
        let sent = self.server.pending().to_vec();
        self.server.sent(sent.len());
        sent
    }

    /// What has come of it, with what was not taken.
    pub fn finish(mut self) -> Played {
        self.played.sent = self.take_sent();
        self.played
    }
}

/// Answers what is complete. Returns what happened.
fn answered(server: &mut Connection<Fields, Stream>, event: Event<'_, Fields, Stream>, has_mirror: bool) -> String {
    match event {
        Event::Request { id, head, is_whole } => {
            if let Some(state) = server.state(id) {
                state.id = id;
            }
            if is_whole && has_mirror {
                let status: Field<'_> = (b":status", b"200");
                let fields = head.headers.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
                let fields: Vec<_> = std::iter::once(status).chain(fields).collect();
                server.send_headers(id, &fields, true);
            } else if is_whole {
                server.answer(id, &head.path);
            }
            let oddity = if head.is_odd { " odd" } else { "" };
            format!("request {id} {is_whole} {}{oddity}", head.path.escape_ascii())
        }
        Event::Data { id, payload, is_last } => {
            server.release(id, payload.len());
            let body = server.state(id).map(|state| {
                state.body.extend_from_slice(payload);
                if is_last { std::mem::take(&mut state.body) } else { Vec::new() }
            });
            if is_last {
                server.answer(id, &body.unwrap_or_default());
            }
            format!("data {id} {} {is_last}", payload.len())
        }
        Event::Gone { state } => format!("gone {}", state.id),
    }
}

/// What is known of a request.
#[derive(Debug, Default)]
struct Stream {
    id: u32,
    /// What has arrived of its body.
    body: Vec<u8>,
}

/// The headers of a request.
#[derive(Debug, Default)]
struct Fields {
    path: Vec<u8>,
    /// Whether the `http` crate takes its pseudo-header fields for no method or no part of a URI, or drops a part of them; or the `h2` crate its
    /// `content-length` for too long.
    is_odd: bool,
    /// The other ones.
    headers: Vec<Header>,
}

impl Head for Fields {
    fn field(&mut self, name: &[u8], value: &[u8]) {
        self.is_odd |= match name {
            b":method" => Method::from_bytes(value).is_err(),
            b":scheme" => Scheme::try_from(value).is_err(),
            b":authority" => Authority::try_from(value).is_err(),
            b":path" => PathAndQuery::try_from(value).map_or(true, |path| path.as_str().as_bytes() != value),
            b"content-length" => value.len() > 19,
            _ => false,
        };
        if name == b":path" {
            self.path = value.to_vec();
        }
        if name.first() != Some(&b':') {
            self.headers.push((name.to_vec(), value.to_vec()));
        }
    }
}

/// Small, so that they are reached.
const LIMITS: Limits = Limits { streams: 8, header_bytes: 16 << 10, window: 20_000, stream_errors: 20 };
