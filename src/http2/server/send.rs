//! Answers, windows and resets: what is sent.

use super::super::frame::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, NO_ERROR, RST_STREAM, WINDOW_UPDATE, put_frame, put_head,
};
use super::super::hpack::put_field;
use super::streams::Unsent;
use super::{Connection, DEFAULT_MAX_FRAME, Head, StreamError};

/// A header of an answer.
pub(crate) type Field<'f> = (&'f [u8], &'f [u8]);

impl<H: Head, T: Default> Connection<H, T> {
    /// Answers a request of gRPC with one message, which has its prefix, and status 0. What the windows do not allow yet is sent when they do.
    /// `false`: the stream is gone, or has an answer.
    pub(crate) fn answer(&mut self, id: u32, framed: &[u8]) -> bool {
        let Some(stream) = self.streams.get_mut(id).filter(|stream| !stream.is_answered) else { return false };
        stream.is_answered = true;
        let at = self.begin_frame(HEADERS, END_HEADERS, id);
        self.peer.put_headers(&mut self.out);
        self.end_frame(at);
        let sent = self.send_data(id, framed);
        if sent == framed.len() {
            self.end_with_success(id);
        } else if let Some(stream) = self.streams.get_mut(id) {
            stream.unsent = Some(Box::new(Unsent { bytes: framed.to_vec(), sent }));
            self.unsent_bytes = self.unsent_bytes.saturating_add(framed.len());
            self.unsent_count += 1;
            self.blocked.push_back(id);
        }
        true
    }

    /// Begins or ends an answer with these headers; `:status` is the first one. `false`: the stream is gone.
    pub(crate) fn send_headers(&mut self, id: u32, fields: &[Field<'_>], is_last: bool) -> bool {
        let Some(stream) = self.streams.get_mut(id) else { return false };
        stream.is_answered = true;
        self.put_headers_of(id, fields, is_last);
        if is_last {
            self.close(id);
        }
        true
    }

    /// Sends as much of this part of an answer as the windows allow. Returns how much.
    pub(crate) fn send_data(&mut self, id: u32, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() {
            let length = self.room(id).unwrap_or(0).min(rest.len()).min(DEFAULT_MAX_FRAME);
            let (now, later) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            if now.is_empty() {
                break;
            }
            put_frame(&mut self.out, DATA, 0, id, now);
            let cost = i64::try_from(length).unwrap_or(i64::MAX);
            self.send_window -= cost;
            if let Some(stream) = self.streams.get_mut(id) {
                stream.send_window -= cost;
            }
            rest = later;
        }
        bytes.len() - rest.len()
    }

    /// Ends an answer without trailers.
    pub(crate) fn finish(&mut self, id: u32) {
        if self.streams.get_mut(id).is_some() {
            put_frame(&mut self.out, DATA, END_STREAM, id, &[]);
            self.close(id);
        }
    }

    /// Resets a stream, unless its answer is complete and only waits for windows.
    pub(crate) fn abandon(&mut self, id: u32, code: StreamError) {
        if self.streams.get_mut(id).is_some_and(|stream| stream.unsent.is_none()) {
            self.remove(id);
            self.put_reset(id, code);
        }
    }

    /// How many bytes of an answer could be sent; `None`: the stream is gone.
    pub(crate) fn room(&mut self, id: u32) -> Option<usize> {
        let stream = self.streams.get_mut(id)?;
        Some(usize::try_from(self.send_window.min(stream.send_window)).unwrap_or(0))
    }

    /// So many bytes of the body of a request are not kept any longer: the peer may send as many more.
    pub(crate) fn release(&mut self, id: u32, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let Some(stream) = self.streams.get_mut(id) else { return };
        let count = count.min(stream.held);
        stream.held -= count;
        stream.unannounced = stream.unannounced.saturating_add(count);
        if !stream.is_received && stream.unannounced >= self.limits.window / 2 {
            let more = std::mem::take(&mut stream.unannounced);
            stream.receive_window += i64::from(more);
            put_frame(&mut self.out, WINDOW_UPDATE, 0, id, &more.to_be_bytes());
        }
        self.renew(count);
    }

    /// Sends what the windows allow by now, or, after a violation, GOAWAY. Returns whether the windows have changed since the last call, so that
    /// others may send more, too.
    pub(crate) fn flush(&mut self) -> bool {
        self.end_failing();
        if !std::mem::take(&mut self.windows_have_changed) {
            return false;
        }
        if self.ending.has_failed() {
            // GOAWAY is the last frame.
            return true;
        }
        for _ in 0..self.blocked.len() {
            if self.is_clogged() {
                self.windows_have_changed = true;
                break;
            }
            let Some(id) = self.blocked.pop_front() else { break };
            self.send_unsent(id);
        }
        true
    }

    /// The bytes of answers that the windows have not allowed, and the number of these answers.
    pub(crate) fn unsent(&self) -> (usize, usize) {
        (self.unsent_bytes, self.unsent_count)
    }

    fn send_unsent(&mut self, id: u32) {
        let unsent = self.streams.get_mut(id).and_then(|stream| stream.unsent.take());
        let Some(mut unsent) = unsent else { return };
        let sent = self.send_data(id, unsent.bytes.get(unsent.sent..).unwrap_or_default());
        unsent.sent = unsent.sent.saturating_add(sent);
        if unsent.sent == unsent.bytes.len() {
            self.unsent_bytes = self.unsent_bytes.saturating_sub(unsent.bytes.len());
            self.unsent_count = self.unsent_count.saturating_sub(1);
            self.end_with_success(id);
        } else if let Some(stream) = self.streams.get_mut(id) {
            stream.unsent = Some(unsent);
            self.blocked.push_back(id);
        }
    }

    fn end_with_success(&mut self, id: u32) {
        let at = self.begin_frame(HEADERS, END_HEADERS | END_STREAM, id);
        self.peer.put_trailers(&mut self.out);
        self.end_frame(at);
        self.close(id);
    }

    /// Closes a stream whose answer is complete; the peer need not send the rest of its request.
    fn close(&mut self, id: u32) {
        let is_received = self.streams.get_mut(id).is_none_or(|stream| stream.is_received);
        self.remove(id);
        if !is_received {
            self.put_reset(id, NO_ERROR);
        }
    }

    /// Removes a stream; what it held of the window of the connection is given back.
    pub(super) fn remove(&mut self, id: u32) -> Option<T> {
        let stream = self.streams.remove(id)?;
        self.renew(stream.held);
        if let Some(unsent) = stream.unsent {
            self.unsent_bytes = self.unsent_bytes.saturating_sub(unsent.bytes.len());
            self.unsent_count = self.unsent_count.saturating_sub(1);
            // Those that are gone stay in the line, but not many of them.
            if self.blocked.len() / 2 > self.unsent_count.saturating_add(MAX_GONE) {
                let streams = &mut self.streams;
                self.blocked.retain(|id| streams.get_mut(*id).is_some_and(|stream| stream.unsent.is_some()));
            }
        }
        Some(stream.state)
    }

    /// So many bytes of the window of the connection are free again, which the peer hears when it is half of them.
    pub(super) fn renew(&mut self, count: u32) {
        self.unannounced = self.unannounced.saturating_add(count);
        if self.unannounced >= self.limits.window / 2 {
            let more = std::mem::take(&mut self.unannounced);
            self.receive_window += i64::from(more);
            put_frame(&mut self.out, WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
        }
    }

    pub(super) fn put_reset(&mut self, id: u32, code: StreamError) {
        put_frame(&mut self.out, RST_STREAM, 0, id, &code.to_be_bytes());
        self.streams.remember_reset(id);
    }

    pub(super) fn put_headers_of(&mut self, id: u32, fields: &[Field<'_>], is_last: bool) {
        let mut block = Vec::with_capacity(128);
        self.peer.begin_block(&mut block);
        for (name, value) in fields {
            put_field(&mut block, name, value);
        }
        let last = if is_last { END_STREAM } else { 0 };
        let mut frames = block.chunks(DEFAULT_MAX_FRAME).peekable();
        let mut kind = HEADERS;
        while let Some(part) = frames.next() {
            let ends = if frames.peek().is_none() { END_HEADERS } else { 0 };
            put_frame(&mut self.out, kind, ends | if kind == HEADERS { last } else { 0 }, id, part);
            kind = CONTINUATION;
        }
    }

    /// Appends the head of a frame whose length is not known yet. Returns where it is.
    fn begin_frame(&mut self, kind: u8, flags: u8, id: u32) -> usize {
        let at = self.out.len();
        put_head(&mut self.out, kind, flags, id, 0);
        at
    }

    /// Writes the length of a short frame that was begun there.
    fn end_frame(&mut self, at: usize) {
        let length = self.out.len().saturating_sub(at + super::HEAD_BYTES);
        if let Some(last) = self.out.get_mut(at + 2) {
            // The two blocks of successful answers have less than a hundred bytes.
            *last = u8::try_from(length).unwrap_or(u8::MAX);
        }
    }
}

/// Streams that are gone and still in the line of those with something to send.
const MAX_GONE: usize = 32;
