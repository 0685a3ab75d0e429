//! Readers of files, and a connection, that only this crate uses otherwise, for the fuzz targets.

use http::Method;
use http::uri::{Authority, PathAndQuery, Scheme};

use crate::access::{ClientNames, Domains, read_clients, read_tokens};
use crate::http2::server::{Connection, Event, Head, Limits};
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

/// Plays the server's side of an HTTP/2 connection with what a client sends, in these pieces. Requests are answered with the body that they
/// have. Returns what happened, in order (an `odd` request is one that the `http` crate would not take), and what the server has sent.
pub fn http2<'s>(pieces: impl IntoIterator<Item = &'s [u8]>) -> (Vec<String>, Vec<u8>) {
    let mut server = Connection::<Path, Stream>::new(LIMITS);
    let (mut events, mut rest) = (Vec::new(), Vec::new());
    for piece in pieces {
        rest.extend_from_slice(piece);
        let mut input = rest.as_slice();
        loop {
            match server.next(&mut input) {
                Ok(Some(event)) => events.push(answered(&mut server, event)),
                Ok(None) => break,
                Err(violation) => {
                    events.push(violation.to_string());
                    break;
                }
            }
        }
        server.flush();
        let taken = rest.len() - input.len();
        rest.drain(..taken);
    }
    (events, server.pending().to_vec())
}

/// Answers what is complete. Returns what happened.
fn answered(server: &mut Connection<Path, Stream>, event: Event<'_, Path, Stream>) -> String {
    match event {
        Event::Request { id, head, is_whole } => {
            if let Some(state) = server.state(id) {
                state.id = id;
            }
            if is_whole {
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

/// The path of a request.
#[derive(Debug, Default)]
struct Path {
    path: Vec<u8>,
    /// Whether the `http` crate takes its pseudo-header fields for no method or no part of a URI, or drops a part of them.
    is_odd: bool,
}

impl Head for Path {
    fn field(&mut self, name: &[u8], value: &[u8]) {
        self.is_odd |= match name {
            b":method" => Method::from_bytes(value).is_err(),
            b":scheme" => Scheme::try_from(value).is_err(),
            b":authority" => Authority::try_from(value).is_err(),
            b":path" => PathAndQuery::try_from(value).map_or(true, |path| path.as_str().as_bytes() != value),
            _ => false,
        };
        if name == b":path" {
            self.path = value.to_vec();
        }
    }
}

/// Small, so that they are reached.
const LIMITS: Limits = Limits { streams: 8, header_bytes: 16 << 10, window: 20_000, stream_errors: 20 };
