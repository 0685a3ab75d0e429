//! One HTTP/2 connection as a state machine on bytes: received bytes become counted answers, checks that are due become bytes
//! to send.
//!
//! Nothing here reads a clock or a socket. Memory is bounded, whatever a server sends: frames, header blocks and answers have
//! maximum lengths, and bytes to send are made only while the peer reads them.

use super::call_status::CallStatuses;
use super::failure::Failure;
use super::schedule::Schedule;
use super::stats::Stats;
use super::streams::Streams;
use super::template::{Form, Template};
use super::traffic::Picks;
use crate::api::rls::overall_code;
use crate::http2::frame::{
    ACK, CANCEL, CONTINUATION, DATA, DEFAULT_MAX_FRAME, DEFAULT_TABLE, DEFAULT_WINDOW, END_HEADERS, END_STREAM, GOAWAY,
    HEAD_BYTES, HEADERS, Head, MAX_STREAM_ID, MAX_WINDOW, PING, PREFACE, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS,
    SETTINGS_ENABLE_PUSH, SETTINGS_HEADER_TABLE_SIZE, SETTINGS_INITIAL_WINDOW_SIZE, SETTINGS_MAX_CONCURRENT_STREAMS,
    SETTINGS_MAX_FRAME_SIZE, WINDOW_UPDATE, put_frame, put_head, unpadded,
};

/// A protocol error of the server, which ends the connection with all checks on it.
pub(super) type Violation = &'static str;

/// One connection.
#[derive(Clone, Debug)]
pub(super) struct Session {
    streams: Streams,
    /// The maximum number of open streams set by the user.
    allowed: usize,
    peer: Peer,
    /// The send window of the connection.
    window: i64,
    /// Bytes of DATA received since the last WINDOW_UPDATE.
    taken: u32,
    /// An incomplete header block, its stream, and whether it ends the stream.
    block: Option<(u32, bool, Vec<u8>)>,
    upload: Option<Upload>,
    /// Whether our headers are in the peer's dynamic table.
    announced_headers: bool,
    statuses: CallStatuses,
    going_away: bool,
    out: Vec<u8>,
}

/// The SETTINGS of the peer.
#[derive(Clone, Copy, Debug)]
struct Peer {
    /// Whether they have been received.
    greeted: bool,
    max_streams: usize,
    max_frame: usize,
    initial_window: i64,
    /// The smallest size of its header table so far, in bytes.
    least_table: usize,
}

/// A check whose message exceeds the peer's window.
#[derive(Clone, Debug)]
struct Upload {
    stream: u32,
    rest: Vec<u8>,
    window: i64,
}

impl Session {
    /// A connection with up to `streams` checks in flight; its preface is ready to be sent.
    pub(super) fn new(streams: usize) -> Self {
        Self::starting_with(streams, 1)
    }

    /// The same, with another first stream than number 1.
    fn starting_with(streams: usize, first_id: u32) -> Self {
        let mut out = PREFACE.to_vec();
        let setting = |(name, value): (u16, u32)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat();
        put_frame(&mut out, SETTINGS, 0, 0, &OUR_SETTINGS.map(setting).concat());
        put_frame(&mut out, WINDOW_UPDATE, 0, 0, &(OUR_WINDOW - FIRST_WINDOW).to_be_bytes());
        let peer = Peer {
            greeted: false,
            max_streams: usize::MAX,
            max_frame: DEFAULT_MAX_FRAME,
            initial_window: DEFAULT_WINDOW,
            least_table: DEFAULT_TABLE,
        };
        Self {
            streams: Streams::new(streams, first_id),
            allowed: streams,
            peer,
            window: DEFAULT_WINDOW,
            taken: 0,
            block: None,
            upload: None,
            announced_headers: false,
            statuses: CallStatuses::new(),
            going_away: false,
            out,
        }
    }

    /// Whether the peer has sent its SETTINGS, so that it uses HTTP/2.
    pub(super) fn greeted(&self) -> bool {
        self.peer.greeted
    }

    /// The number of checks in flight.
    pub(super) fn under_way(&self) -> usize {
        self.streams.open_count()
    }

    /// Whether no more check can be sent on this connection, and none is in flight: it has to be replaced.
    pub(super) fn is_spent(&self) -> bool {
        (self.going_away || self.streams.used_up()) && self.streams.open_count() == 0
    }

    /// Whether a check could be sent now.
    pub(super) fn has_room(&self) -> bool {
        self.peer.greeted
            && !self.going_away
            && self.upload.is_none()
            && self.streams.open_count() < self.allowed.min(self.peer.max_streams)
            && !self.streams.used_up()
            && self.out.len() < MAX_OUT
    }

    /// The bytes to send.
    pub(super) fn pending(&self) -> &[u8] {
        &self.out
    }

    /// Removes the first `count` bytes of [`pending`](Self::pending), which were sent.
    pub(super) fn sent(&mut self, count: usize) {
        self.out.drain(..count.min(self.out.len()));
    }

    /// Makes the checks that are due, as far as they can be sent.
    pub(super) fn fill(&mut self, now_ns: u64, schedule: &mut Schedule, template: &mut Template, picks: &mut Picks) {
        while self.has_room() {
            let Some(due_ns) = schedule.take_due(now_ns) else { return };
            let Some(stream) = self.streams.open(due_ns) else { return };
            let form = self.form(template.table_bytes());
            self.out.extend_from_slice(template.headers(form, stream));
            let body = template.body_bytes();
            #[allow(clippy::cast_possible_wrap)] // A message is far shorter.
            let cost = body as i64;
            if cost <= self.window.min(self.peer.initial_window) && body <= self.peer.max_frame {
                self.window -= cost;
                self.out.extend_from_slice(template.data(stream, picks));
            } else {
                let body = template.data(stream, picks).get(HEAD_BYTES..).unwrap_or_default();
                self.upload = Some(Upload { stream, rest: body.to_vec(), window: self.peer.initial_window });
                self.send_upload();
            }
        }
    }

    /// The form of the next headers.
    fn form(&mut self, table_bytes: usize) -> Form {
        // A table that has shrunk would need an update in the next block: such a peer gets all headers in full.
        if self.peer.least_table < DEFAULT_TABLE || table_bytes > DEFAULT_TABLE {
            Form::Plain
        } else if std::mem::replace(&mut self.announced_headers, true) {
            Form::Later
        } else {
            Form::First
        }
    }

    /// Processes received bytes. Returns how many: the rest is an incomplete frame.
    ///
    /// # Errors
    /// The server violated the protocol; the connection cannot be used any more.
    pub(super) fn receive(&mut self, bytes: &[u8], now_ns: u64, stats: &mut Stats) -> Result<usize, Violation> {
        let mut rest = bytes;
        while let Some((head, after)) = rest.split_first_chunk::<HEAD_BYTES>() {
            let head = Head::read(*head);
            if head.length > DEFAULT_MAX_FRAME {
                return Err("a frame is longer than allowed, or this is not HTTP/2");
            }
            if !self.peer.greeted && (head.kind != SETTINGS || head.has(ACK)) {
                return Err("the connection does not begin with SETTINGS, so this is not HTTP/2");
            }
            let Some((payload, after)) = after.split_at_checked(head.length) else { break };
            self.frame(head, payload, now_ns, stats)?;
            rest = after;
        }
        if self.out.len() > 2 * MAX_OUT {
            return Err("the server requests more acknowledgements than it reads");
        }
        Ok(bytes.len() - rest.len())
    }

    /// LiveCounts all checks in flight as failed: the connection is lost, or the time is over.
    pub(super) fn abandon(&mut self, failure: Failure, said: &str, stats: &mut Stats) {
        for due_ns in self.streams.close_above(0) {
            stats.fail(due_ns, failure, said);
        }
    }

    fn frame(&mut self, head: Head, payload: &[u8], now_ns: u64, stats: &mut Stats) -> Result<(), Violation> {
        if self.block.as_ref().is_some_and(|(id, ..)| (head.kind, head.stream) != (CONTINUATION, *id)) {
            return Err("a header block is interrupted");
        }
        match head.kind {
            DATA => self.data(head, payload, stats),
            HEADERS => {
                let mut block = unpadded(head, payload).ok_or(BAD_PADDING)?;
                if head.has(PRIORITY) {
                    block = block.get(PRIORITY_BYTES..).ok_or("a HEADERS frame is too short")?;
                }
                if head.has(END_HEADERS) {
                    return self.headers(head.stream, head.has(END_STREAM), block, now_ns, stats);
                }
                self.block = Some((head.stream, head.has(END_STREAM), block.to_vec()));
                Ok(())
            }
            CONTINUATION => self.continuation(head, payload, now_ns, stats),
            RST_STREAM => {
                let code = number(payload, 0).ok_or("a RST_STREAM frame is too short")?;
                self.fail(head.stream, Failure::from_reset(code), "", stats);
                Ok(())
            }
            SETTINGS => self.settings(head, payload),
            PING if payload.len() != PING_BYTES => Err("a PING frame has the wrong length"),
            PING => {
                if !head.has(ACK) {
                    put_frame(&mut self.out, PING, ACK, 0, payload);
                }
                Ok(())
            }
            GOAWAY => self.go_away(payload, stats),
            WINDOW_UPDATE => self.window_update(head.stream, payload),
            PUSH_PROMISE => Err("a PUSH_PROMISE although push is disabled"),
            // PRIORITY and unknown kinds are ignored.
            _ => Ok(()),
        }
    }

    fn continuation(&mut self, head: Head, payload: &[u8], now_ns: u64, stats: &mut Stats) -> Result<(), Violation> {
        let (stream, ends, mut block) = self.block.take().ok_or("a CONTINUATION frame without a header block")?;
        block.extend_from_slice(payload);
        if block.len() > MAX_BLOCK {
            return Err("a header block is longer than 64 KiB");
        }
        if head.has(END_HEADERS) {
            return self.headers(stream, ends, &block, now_ns, stats);
        }
        self.block = Some((stream, ends, block));
        Ok(())
    }

    fn data(&mut self, head: Head, payload: &[u8], stats: &mut Stats) -> Result<(), Violation> {
        self.take_in(head.length);
        let payload = unpadded(head, payload).ok_or(BAD_PADDING)?;
        let Some(stream) = self.streams.get_mut(head.stream) else { return self.check_known(head.stream) };
        let read = if !stream.opened {
            Err("the answer begins without headers")
        } else if stream.body.is_empty() && stream.code.is_none() && is_whole(payload) {
            read_message(payload).map(|code| stream.code = Some(code))
        } else {
            stream.body.extend_from_slice(payload);
            match (stream.code, is_whole(&stream.body)) {
                (Some(_), _) if !stream.body.is_empty() => Err("the answer has more than one message"),
                (_, true) => read_message(&stream.body).map(|code| {
                    stream.code = Some(code);
                    stream.body.clear();
                }),
                _ if stream.body.len() > MAX_ANSWER => Err("the answer is longer than 1 MiB"),
                _ => Ok(()),
            }
        };
        match read {
            Err(what) => self.fail_stream(head.stream, Failure::Malformed, what, stats),
            Ok(()) if head.has(END_STREAM) => {
                self.fail(head.stream, Failure::Malformed, "the answer ends without a gRPC status", stats);
            }
            Ok(()) => {}
        }
        Ok(())
    }

    fn headers(&mut self, id: u32, ends: bool, block: &[u8], now_ns: u64, stats: &mut Stats) -> Result<(), Violation> {
        let call_status = self.statuses.get(block)?;
        let Some(stream) = self.streams.get_mut(id) else { return self.check_known(id) };
        if !stream.opened {
            match call_status.status {
                Some(200) => stream.opened = true,
                // Informational responses precede the answer.
                Some(100..=199) if !ends => return Ok(()),
                Some(http_status) => {
                    self.fail_stream(id, Failure::Http(http_status), "", stats);
                    return Ok(());
                }
                None => return Err("an answer begins without a status"),
            }
        } else if !ends {
            return Err("trailers do not end their stream");
        }
        if !ends {
            return Ok(());
        }
        let (code, whole) = (stream.code, stream.body.is_empty());
        match (call_status.grpc, code) {
            (Some(0), Some(code @ (OK | OVER_LIMIT))) if whole => {
                if let Some(due_ns) = self.close(id) {
                    stats.answer(due_ns, now_ns, code == OVER_LIMIT);
                }
            }
            (Some(0), Some(_)) if whole => self.fail(id, Failure::NoCode, "", stats),
            (Some(0), _) => self.fail(id, Failure::Malformed, "the message is incomplete", stats),
            (Some(grpc_status), _) => {
                let said = call_status.message.clone();
                self.fail(id, Failure::from_grpc_status(grpc_status), &said, stats);
            }
            (None, _) => self.fail(id, Failure::Malformed, "the answer ends without a gRPC status", stats),
        }
        Ok(())
    }

    fn settings(&mut self, head: Head, payload: &[u8]) -> Result<(), Violation> {
        if head.has(ACK) {
            return Ok(());
        }
        let (settings, []) = payload.as_chunks::<SETTING_BYTES>() else {
            return Err("a SETTINGS frame has the wrong length");
        };
        for [name_high, name_low, value @ ..] in settings.iter().copied() {
            let value = u32::from_be_bytes(value);
            let size = usize::try_from(value).unwrap_or(usize::MAX);
            match u16::from_be_bytes([name_high, name_low]) {
                SETTINGS_HEADER_TABLE_SIZE => self.peer.least_table = self.peer.least_table.min(size),
                SETTINGS_MAX_CONCURRENT_STREAMS => self.peer.max_streams = size,
                SETTINGS_MAX_FRAME_SIZE => {
                    let allowed = DEFAULT_MAX_FRAME..1 << 24;
                    self.peer.max_frame = Some(size).filter(|size| allowed.contains(size)).ok_or(BAD_SETTING)?;
                }
                SETTINGS_INITIAL_WINDOW_SIZE => {
                    let window = Some(i64::from(value)).filter(|window| *window <= MAX_WINDOW).ok_or(BAD_SETTING)?;
                    if let Some(upload) = &mut self.upload {
                        upload.window += window - self.peer.initial_window;
                    }
                    self.peer.initial_window = window;
                }
                _ => {}
            }
        }
        self.peer.greeted = true;
        put_frame(&mut self.out, SETTINGS, ACK, 0, &[]);
        self.send_upload();
        Ok(())
    }

    fn go_away(&mut self, payload: &[u8], stats: &mut Stats) -> Result<(), Violation> {
        let last = number(payload, 0).ok_or("a GOAWAY frame is too short")? & MAX_STREAM_ID;
        self.going_away = true;
        for due_ns in self.streams.close_above(last) {
            stats.fail(due_ns, Failure::GoingAway, "");
        }
        let _dropped = self.upload.take_if(|upload| upload.stream > last);
        Ok(())
    }

    fn window_update(&mut self, stream: u32, payload: &[u8]) -> Result<(), Violation> {
        let more = i64::from(number(payload, 0).ok_or("a WINDOW_UPDATE frame is too short")? & MAX_STREAM_ID);
        let window = match &mut self.upload {
            _ if stream == 0 => &mut self.window,
            Some(upload) if upload.stream == stream => &mut upload.window,
            // The stream has been sent completely.
            _ => return Ok(()),
        };
        *window += more;
        if more == 0 || *window > MAX_WINDOW {
            return Err("a WINDOW_UPDATE of 0, or beyond the maximum");
        }
        self.send_upload();
        Ok(())
    }

    /// Sends as much of a long message as the window allows.
    fn send_upload(&mut self) {
        let Some(upload) = &mut self.upload else { return };
        while !upload.rest.is_empty() {
            let room = usize::try_from(self.window.min(upload.window)).unwrap_or(0);
            let length = room.min(self.peer.max_frame).min(upload.rest.len());
            if length == 0 {
                return;
            }
            let flags = if length == upload.rest.len() { END_STREAM } else { 0 };
            put_head(&mut self.out, DATA, flags, upload.stream, length);
            self.out.extend(upload.rest.drain(..length));
            #[allow(clippy::cast_possible_wrap)] // At most a window.
            let cost = length as i64;
            self.window -= cost;
            upload.window -= cost;
        }
        self.upload = None;
    }

    /// Renews the connection's window when half of it is used. That of a stream is larger than the longest answer.
    fn take_in(&mut self, bytes: usize) {
        self.taken += u32::try_from(bytes).unwrap_or(0);
        if self.taken >= OUR_WINDOW / 2 {
            put_frame(&mut self.out, WINDOW_UPDATE, 0, 0, &self.taken.to_be_bytes());
            self.taken = 0;
        }
    }

    /// Fails a check that the server has not finished yet.
    fn fail_stream(&mut self, id: u32, failure: Failure, said: &str, stats: &mut Stats) {
        put_frame(&mut self.out, RST_STREAM, 0, id, &CANCEL.to_be_bytes());
        self.fail(id, failure, said, stats);
    }

    fn fail(&mut self, id: u32, failure: Failure, said: &str, stats: &mut Stats) {
        if let Some(due_ns) = self.close(id) {
            stats.fail(due_ns, failure, said);
        }
    }

    fn close(&mut self, id: u32) -> Option<u64> {
        // The rest of its message will not be sent, so the stream is reset.
        if self.upload.take_if(|upload| upload.stream == id).is_some() {
            put_frame(&mut self.out, RST_STREAM, 0, id, &CANCEL.to_be_bytes());
        }
        self.streams.close(id)
    }

    /// Frames for closed streams are allowed, those for streams that were never opened are not.
    fn check_known(&self, id: u32) -> Result<(), Violation> {
        if self.streams.was_opened(id) { Ok(()) } else { Err("a frame for a stream that was never opened") }
    }
}

/// Whether this is exactly one gRPC message with its prefix.
fn is_whole(bytes: &[u8]) -> bool {
    number(bytes, 1).is_some_and(|length| bytes.len() - PREFIX_BYTES == length as usize)
}

/// The overall code of a message with its prefix.
fn read_message(bytes: &[u8]) -> Result<u64, &'static str> {
    match bytes.split_at_checked(PREFIX_BYTES) {
        Some(([0, ..], message)) => overall_code(message),
        _ => Err("the message is compressed, which was not requested"),
    }
}

fn number(payload: &[u8], at: usize) -> Option<u32> {
    payload.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

const OK: u64 = 1;
const OVER_LIMIT: u64 = 2;

/// No dynamic table, so that equal blocks have equal bytes; no push; and windows so large that streams never wait for a
/// WINDOW_UPDATE.
const OUR_SETTINGS: [(u16, u32); 3] =
    [(SETTINGS_HEADER_TABLE_SIZE, 0), (SETTINGS_ENABLE_PUSH, 0), (SETTINGS_INITIAL_WINDOW_SIZE, OUR_WINDOW)];
const OUR_WINDOW: u32 = 1 << 30;
const FIRST_WINDOW: u32 = 65_535;
/// Checks are made only while fewer bytes than this wait to be sent.
const MAX_OUT: usize = 256 << 10;
/// Enough for a status, a message and a few other headers.
const MAX_BLOCK: usize = 64 << 10;
/// An answer to a hundred descriptors takes about 5 KiB.
const MAX_ANSWER: usize = 1 << 20;
const PREFIX_BYTES: usize = 5;
const PRIORITY_BYTES: usize = 5;
const PING_BYTES: usize = 8;
const SETTING_BYTES: usize = 6;
const BAD_PADDING: Violation = "a frame has more padding than payload";
const BAD_SETTING: Violation = "a setting is out of bounds";

#[cfg(test)]
mod tests;
