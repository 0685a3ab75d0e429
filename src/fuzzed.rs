//! Readers of files, and a connection, that only this crate uses otherwise, for the fuzz targets.

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

/// Plays the server's side of an HTTP/2 connection with what a client sends, in pieces of `size` bytes. Requests are answered with the body that they
/// have. Returns what happened, in order, and what the server has sent.
pub fn http2(sent: &[u8], size: usize) -> (Vec<String>, Vec<u8>) {
    let mut server = Connection::<Path, u32>::new(LIMITS);
    let (mut events, mut rest) = (Vec::new(), Vec::new());
    for piece in sent.chunks(size.max(1)) {
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
fn answered(server: &mut Connection<Path, u32>, event: Event<'_, Path, u32>) -> String {
    match event {
        Event::Request { id, head, is_whole } => {
            if let Some(state) = server.state(id) {
                *state = id;
            }
            if is_whole {
                server.answer(id, &head.0);
            }
            format!("request {id} {is_whole} {}", head.0.escape_ascii())
        }
        Event::Data { id, payload, is_last } => {
            server.release(id, payload.len());
            if is_last {
                server.answer(id, payload);
            }
            format!("data {id} {} {is_last}", payload.len())
        }
        Event::Gone { state } => format!("gone {state}"),
    }
}

/// The path of a request.
#[derive(Debug, Default)]
struct Path(Vec<u8>);

impl Head for Path {
    fn field(&mut self, name: &[u8], value: &[u8]) {
        if name == b":path" {
            self.0 = value.to_vec();
        }
    }
}

/// Small, so that they are reached.
const LIMITS: Limits = Limits { streams: 8, header_bytes: 16 << 10, window: 20_000, stream_errors: 20 };
