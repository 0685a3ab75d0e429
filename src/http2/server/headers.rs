//! Header blocks: of requests, of trailers, and of streams that do not exist any more.

use super::super::frame::{
    COMPRESSION_ERROR, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Head as FrameHead, MAX_STREAM_ID, PRIORITY,
    REJECTED_STREAM, STREAM_CLOSED, unpadded,
};
use super::request::{Outcome, Trailers};
use super::streams::Stream;
use super::{Connection, DEFAULT_MAX_FRAME, Event, Head, PROTOCOL_ERROR, StreamError, Violation, violation};

/// A header block whose end has not arrived.
#[derive(Debug)]
pub(super) struct Gathered {
    opening: Opening,
    bytes: Vec<u8>,
    /// CONTINUATION frames so far, which bound the bytes.
    frames: usize,
}

/// What a HEADERS frame says besides its block.
#[derive(Clone, Copy, Debug)]
struct Opening {
    id: u32,
    is_last: bool,
    /// The stream depends on itself.
    is_malformed: bool,
}

impl Gathered {
    /// The stream.
    pub(super) fn id(&self) -> u32 {
        self.opening.id
    }
}

impl<H: Head, T: Default> Connection<H, T> {
    pub(super) fn headers<'b>(
        &mut self,
        head: FrameHead,
        payload: &'b [u8],
    ) -> Result<Option<Event<'b, H, T>>, Violation> {
        if head.stream.is_multiple_of(2) {
            return Err(violation(PROTOCOL_ERROR, "headers of a stream that a client cannot open"));
        }
        let mut block =
            unpadded(head, payload).ok_or(violation(PROTOCOL_ERROR, "a frame has more padding than payload"))?;
        let mut is_malformed = false;
        if head.has(PRIORITY) {
            let Some((dependency, rest)) = block.split_first_chunk::<4>().filter(|(_, rest)| !rest.is_empty()) else {
                return Err(violation(super::FRAME_SIZE_ERROR, "a HEADERS frame is too short"));
            };
            is_malformed = u32::from_be_bytes(*dependency) & MAX_STREAM_ID == head.stream;
            // The weight.
            block = rest.get(1..).unwrap_or_default();
        }
        let opening = Opening { id: head.stream, is_last: head.has(END_STREAM), is_malformed };
        if head.has(END_HEADERS) {
            return self.block(opening, block);
        }
        self.gathered = Some(Gathered { opening, bytes: block.to_vec(), frames: 0 });
        Ok(None)
    }

    pub(super) fn continuation<'b>(
        &mut self,
        head: FrameHead,
        payload: &'b [u8],
    ) -> Result<Option<Event<'b, H, T>>, Violation> {
        let Some(mut gathered) = self.gathered.take() else {
            return Err(violation(PROTOCOL_ERROR, "a CONTINUATION frame without a header block"));
        };
        gathered.bytes.extend_from_slice(payload);
        if head.has(END_HEADERS) {
            return self.block(gathered.opening, &gathered.bytes);
        }
        gathered.frames += 1;
        let max_bytes = usize::try_from(self.limits.header_bytes).unwrap_or(usize::MAX);
        // A quarter more than a block of this size needs.
        let max_frames = (max_bytes / DEFAULT_MAX_FRAME).saturating_mul(5).div_ceil(4).max(MIN_CONTINUATIONS);
        if gathered.frames > max_frames {
            return Err(violation(ENHANCE_YOUR_CALM, "a header block without end"));
        }
        self.gathered = Some(gathered);
        Ok(None)
    }

    /// A whole block, which has to be decoded whatever becomes of it: the tables of both sides have to stay the same.
    fn block<'b>(&mut self, opening: Opening, block: &[u8]) -> Result<Option<Event<'b, H, T>>, Violation> {
        let Opening { id, is_last, is_malformed } = opening;
        let is_bad = |what| violation(COMPRESSION_ERROR, what);
        if id <= self.last_id {
            let trailers = self.requests.read_trailers(block).map_err(is_bad)?;
            if trailers == Trailers::Abuse {
                return Err(violation(ENHANCE_YOUR_CALM, BOMB));
            }
            return self.trailers(id, is_last, trailers == Trailers::WellFormed && !is_malformed);
        }
        let outcome = self.requests.read(block).map_err(is_bad)?;
        if self.ending.is_beyond(id) {
            return Ok(None);
        }
        self.last_id = id;
        let has_room = u32::try_from(self.streams.len()).is_ok_and(|open| open < self.limits.streams);
        match outcome {
            Outcome::Abuse => Err(violation(ENHANCE_YOUR_CALM, BOMB)),
            _ if !has_room => self.reject(id, REJECTED_STREAM),
            Outcome::TooLarge => self.reject_headers(id, is_last),
            Outcome::Request(head, expected) if !is_malformed && (!is_last || expected.unwrap_or(0) == 0) => {
                let mut stream = Stream::new(self.limits.window, self.peer.initial_window, expected);
                stream.is_received = is_last;
                self.streams.open(id, stream);
                Ok(Some(Event::Request { id, head, is_whole: is_last }))
            }
            Outcome::Malformed | Outcome::Request(..) => self.reject(id, PROTOCOL_ERROR),
        }
    }

    fn trailers<'b>(
        &mut self,
        id: u32,
        is_last: bool,
        is_well_formed: bool,
    ) -> Result<Option<Event<'b, H, T>>, Violation> {
        let Some(stream) = self.streams.get_mut(id) else {
            if self.streams.was_reset(id) {
                return Ok(None);
            }
            return Err(violation(PROTOCOL_ERROR, "headers of a stream that is closed or was left out"));
        };
        if stream.is_received {
            return self.fail_stream(id, STREAM_CLOSED);
        }
        if !is_last || !is_well_formed || stream.expected.is_some_and(|left| left > 0) {
            return self.fail_stream(id, PROTOCOL_ERROR);
        }
        stream.is_received = true;
        Ok(Some(Event::Data { id, payload: &[], is_last: true }))
    }

    /// Resets a stream that was never open.
    fn reject<'b>(&mut self, id: u32, code: StreamError) -> Result<Option<Event<'b, H, T>>, Violation> {
        self.put_reset(id, code);
        self.count_error()?;
        Ok(None)
    }

    /// Answers a request whose headers are too large.
    fn reject_headers<'b>(&mut self, id: u32, is_last: bool) -> Result<Option<Event<'b, H, T>>, Violation> {
        self.put_headers_of(id, &[(b":status", b"431")], true);
        if !is_last {
            self.put_reset(id, super::super::frame::NO_ERROR);
        }
        self.count_error()?;
        Ok(None)
    }
}

const BOMB: &str = "headers that grow when they are decoded";

/// CONTINUATION frames that every header block may have: as many as the `h2` crate allows.
const MIN_CONTINUATIONS: usize = 5;
