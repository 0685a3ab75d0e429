//! The server's side of an HTTP/2 connection (RFC 9113), as a pure function of bytes.
//!
//! [`Connection::next`] takes the frames that have arrived, one after the other, and returns what they mean: a request, a part of its body, a
//! stream that is gone. Answers and everything that the protocol asks for go into one buffer, [`Connection::pending`]. Nothing here reads a
//! clock or a socket: what depends on time (pings, timeouts, the age of a connection) and on other connections is up to who drives it.
//!
//! What a peer can make it keep is bounded by [`Limits`] and the constants of these files; what it can make it do is bounded by the length of
//! what it sends, and by `net::Metered`, which counts frames that ask for nothing.

mod frames;
mod goodbye;
mod headers;
mod peer;
mod request;
mod send;
mod streams;

use std::collections::VecDeque;
use std::sync::Arc;

pub(crate) use request::Head;
pub(crate) use send::Field;

use self::goodbye::Ending;
use self::headers::Gathered;
use self::peer::PeerSettings;
use self::request::Requests;
use self::streams::Streams;
use super::frame::{
    CONTINUATION, DEFAULT_MAX_FRAME, DEFAULT_WINDOW, FRAME_SIZE_ERROR, HEAD_BYTES, Head as FrameHead, PREFACE,
    PROTOCOL_ERROR, SETTINGS, SETTINGS_INITIAL_WINDOW_SIZE, SETTINGS_MAX_CONCURRENT_STREAMS,
    SETTINGS_MAX_HEADER_LIST_SIZE, WINDOW_UPDATE, put_frame, put_head,
};

/// What a peer may do on a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Streams that are open at the same time; others are rejected (error code 7).
    pub(crate) streams: u32,
    /// The headers of a request, as section 6.5.2 counts them: beyond, the answer is 431. A block in a quarter more frames than that
    /// needs is ENHANCE_YOUR_CALM.
    pub(crate) header_bytes: u32,
    /// The window of the connection and of each stream: beyond, FLOW_CONTROL_ERROR.
    pub(crate) window: u32,
    /// Errors of single streams in the life of a connection: beyond, ENHANCE_YOUR_CALM.
    pub(crate) stream_errors: u32,
}

/// A connection, with requests whose headers are read as `H`. Each stream has a `T` of who drives it.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is about another frame, independent of the others")]
pub(crate) struct Connection<H, T> {
    limits: Limits,
    /// The bytes to send.
    out: Vec<u8>,
    requests: Requests<H>,
    /// A header block whose end has not arrived.
    gathered: Option<Gathered>,
    streams: Streams<T>,
    peer: PeerSettings,
    /// The bytes that the peer may send on the connection.
    receive_window: i64,
    /// The bytes that may be sent on the connection.
    send_window: i64,
    /// The bytes that were read since the window was renewed last.
    unannounced: u32,
    /// The largest stream that the peer has opened.
    last_id: u32,
    /// Whether the preface has been skipped.
    is_opened: bool,
    /// Whether our settings have been acknowledged.
    is_acknowledged: bool,
    ending: Ending,
    /// Errors of streams.
    stream_errors: u32,
    /// Whether our ping was answered.
    has_pong: bool,
    /// Streams with an answer of which the windows have not allowed everything; the bytes of these answers, and their number.
    blocked: VecDeque<u32>,
    unsent_bytes: usize,
    unsent_count: usize,
    /// Whether the peer has changed a window since the last [`flush`](Self::flush).
    windows_have_changed: bool,
}

/// What has arrived.
#[derive(Debug)]
pub(crate) enum Event<'b, H, T> {
    /// A request; `is_whole`: it has no body.
    Request { id: u32, head: Arc<H>, is_whole: bool },
    /// A part of its body, in whose windows it counts until it is [released](Connection::release); `is_last`: the request is complete.
    Data { id: u32, payload: &'b [u8], is_last: bool },
    /// The peer has reset a stream, or it was reset because of what the peer sent on it. It must not be answered any more.
    Gone { state: T },
}

/// The peer has violated the protocol. After [`flush`](Connection::flush) a GOAWAY frame with this code is the last of the bytes to send; then the
/// connection has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} (code {code})")]
pub(crate) struct Violation {
    /// The error code of HTTP/2.
    pub(crate) code: u32,
    /// What the peer did.
    pub(crate) what: &'static str,
}

/// The same for one stream, which is reset.
type StreamError = u32;

fn violation(code: u32, what: &'static str) -> Violation {
    Violation { code, what }
}

impl<H: Head, T: Default> Connection<H, T> {
    /// A new connection; our SETTINGS are among the bytes to send.
    pub(crate) fn new(limits: Limits) -> Self {
        let mut out = Vec::with_capacity(64);
        let settings = [
            (SETTINGS_MAX_CONCURRENT_STREAMS, limits.streams),
            (SETTINGS_INITIAL_WINDOW_SIZE, limits.window),
            (SETTINGS_MAX_HEADER_LIST_SIZE, limits.header_bytes),
        ];
        put_head(&mut out, SETTINGS, 0, 0, settings.len() * SETTING_BYTES);
        for (name, value) in settings {
            out.extend_from_slice(&name.to_be_bytes());
            out.extend_from_slice(&value.to_be_bytes());
        }
        let window = i64::from(limits.window).max(DEFAULT_WINDOW);
        if let Some(more) = u32::try_from(window - DEFAULT_WINDOW).ok().filter(|more| *more > 0) {
            put_frame(&mut out, WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
        }
        Self {
            limits,
            out,
            requests: Requests::new(limits.header_bytes),
            gathered: None,
            streams: Streams::default(),
            peer: PeerSettings::default(),
            receive_window: window,
            send_window: DEFAULT_WINDOW,
            unannounced: 0,
            last_id: 0,
            is_opened: false,
            is_acknowledged: false,
            ending: Ending::default(),
            stream_errors: 0,
            has_pong: false,
            blocked: VecDeque::new(),
            unsent_bytes: 0,
            unsent_count: 0,
            windows_have_changed: false,
        }
    }

    /// Reads the next event of `input`, of which complete frames are taken; `None`: the rest is incomplete, and has to be there again when more has
    /// arrived. After the last event, [`flush`](Self::flush).
    ///
    /// # Errors
    /// The peer has violated the protocol. What came before can be answered until [`flush`](Self::flush).
    pub(crate) fn next<'b>(&mut self, input: &mut &'b [u8]) -> Result<Option<Event<'b, H, T>>, Violation> {
        if self.ending.has_failed() {
            *input = &[];
            return Ok(None);
        }
        self.advance(input).inspect_err(|violation| self.fail_later(violation.code))
    }

    fn advance<'b>(&mut self, input: &mut &'b [u8]) -> Result<Option<Event<'b, H, T>>, Violation> {
        if !self.is_opened {
            let Some((preface, rest)) = input.split_at_checked(PREFACE.len()) else { return Ok(None) };
            if preface != PREFACE {
                return Err(violation(PROTOCOL_ERROR, "the connection does not begin as HTTP/2"));
            }
            (self.is_opened, *input) = (true, rest);
        }
        while let Some((head, rest)) = input.split_first_chunk::<HEAD_BYTES>() {
            let head = FrameHead::read(*head);
            if head.length > DEFAULT_MAX_FRAME {
                return Err(violation(FRAME_SIZE_ERROR, "a frame is longer than allowed"));
            }
            if !self.peer.has_greeted() && head.kind != SETTINGS {
                return Err(violation(PROTOCOL_ERROR, "the first frame is not SETTINGS"));
            }
            if self.gathered.as_ref().is_some_and(|block| (head.kind, head.stream) != (CONTINUATION, block.id())) {
                return Err(violation(PROTOCOL_ERROR, "a header block is interrupted"));
            }
            let Some((payload, rest)) = rest.split_at_checked(head.length) else { return Ok(None) };
            *input = rest;
            if let Some(event) = self.frame(head, payload)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// What belongs to an open stream.
    pub(crate) fn state(&mut self, id: u32) -> Option<&mut T> {
        self.streams.get_mut(id).map(|stream| &mut stream.state)
    }

    /// What belongs to the open streams.
    pub(crate) fn states(&mut self) -> impl Iterator<Item = &mut T> {
        self.streams.iter_mut().map(|(_, stream)| &mut stream.state)
    }

    /// The number of open streams.
    pub(crate) fn open_count(&self) -> usize {
        self.streams.len()
    }

    /// The bytes to send.
    pub(crate) fn pending(&self) -> &[u8] {
        &self.out
    }

    /// Removes the first `count` bytes of [`pending`](Self::pending), which were sent.
    pub(crate) fn sent(&mut self, count: usize) {
        if count < self.out.len() {
            self.out.drain(..count);
            return;
        }
        self.out.clear();
        self.out.shrink_to(KEPT_BYTES);
    }

    /// Whether so much waits to be sent that nothing more should be read.
    pub(crate) fn is_clogged(&self) -> bool {
        self.out.len() >= MAX_OUT_BYTES
    }
}

const SETTING_BYTES: usize = 6;

/// Bytes that wait to be sent before nothing more is read: several turns' answers. A peer that does not read is not read from.
const MAX_OUT_BYTES: usize = 256 << 10;

/// The capacity for bytes to send that an idle connection keeps.
const KEPT_BYTES: usize = 1 << 10;

#[cfg(test)]
mod tests;
