//! What each frame does.

use super::super::frame::{
    ACK, CONTINUATION, DATA, END_STREAM, ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, GOAWAY, HEADERS, Head as FrameHead,
    MAX_STREAM_ID, MAX_WINDOW, PING, PRIORITY_FRAME, PUSH_PROMISE, RST_STREAM, SETTINGS, STREAM_CLOSED, WINDOW_UPDATE,
    put_frame, unpadded,
};
use super::{Connection, Event, FRAME_SIZE_ERROR, Head, PROTOCOL_ERROR, StreamError, Violation, violation};

type Outcome<'b, H, T> = Result<Option<Event<'b, H, T>>, Violation>;

impl<H: Head, T: Default> Connection<H, T> {
    pub(super) fn frame<'b>(&mut self, head: FrameHead, payload: &'b [u8]) -> Outcome<'b, H, T> {
        let is_about_connection = matches!(head.kind, SETTINGS | PING | GOAWAY);
        let is_about_stream =
            matches!(head.kind, DATA | HEADERS | PRIORITY_FRAME | RST_STREAM | PUSH_PROMISE | CONTINUATION);
        if is_about_connection && head.stream != 0 || is_about_stream && head.stream == 0 {
            return Err(violation(PROTOCOL_ERROR, "a frame is about the wrong stream"));
        }
        let wrong_length = || violation(FRAME_SIZE_ERROR, "a frame has the wrong length");
        match head.kind {
            DATA => self.data(head, payload),
            HEADERS => self.headers(head, payload),
            CONTINUATION => self.continuation(head, payload),
            PRIORITY_FRAME => self.priority(head, payload),
            RST_STREAM => {
                let _code: [u8; 4] = payload.try_into().map_err(|_| wrong_length())?;
                self.reset_by_peer(head.stream)
            }
            SETTINGS => self.settings(head, payload).map(|()| None),
            PUSH_PROMISE => Err(violation(PROTOCOL_ERROR, "a PUSH_PROMISE frame from a client")),
            PING => {
                self.ping_of_peer(head, payload.try_into().map_err(|_| wrong_length())?);
                Ok(None)
            }
            // What is open is answered; that the peer opens nothing more is its own affair.
            GOAWAY if payload.len() < 8 => Err(wrong_length()),
            WINDOW_UPDATE => {
                let more = u32::from_be_bytes(payload.try_into().map_err(|_| wrong_length())?) & MAX_STREAM_ID;
                self.window_update(head.stream, more.into())
            }
            // GOAWAY, and unknown kinds.
            _ => Ok(None),
        }
    }

    fn data<'b>(&mut self, head: FrameHead, payload: &'b [u8]) -> Outcome<'b, H, T> {
        let content =
            unpadded(head, payload).ok_or(violation(PROTOCOL_ERROR, "a frame has more padding than payload"))?;
        // With its padding.
        let length = u32::try_from(head.length).unwrap_or(u32::MAX);
        if i64::from(length) > self.receive_window {
            return Err(violation(FLOW_CONTROL_ERROR, "more data than the window of the connection"));
        }
        self.receive_window -= i64::from(length);
        let id = head.stream;
        if id.is_multiple_of(2) || id > self.last_id && !self.ending.is_beyond(id) {
            return Err(violation(PROTOCOL_ERROR, "data of a stream that is not open"));
        }
        let Some(stream) = self.streams.get_mut(id) else {
            self.renew(length);
            if self.ending.is_beyond(id) || self.streams.was_reset(id) {
                return Ok(None);
            }
            self.put_reset(id, STREAM_CLOSED);
            self.count_error()?;
            return Ok(None);
        };
        stream.held = stream.held.saturating_add(length);
        if stream.is_received {
            return self.fail_stream(id, STREAM_CLOSED);
        }
        if i64::from(length) > stream.receive_window {
            return self.fail_stream(id, FLOW_CONTROL_ERROR);
        }
        stream.receive_window -= i64::from(length);
        let is_last = head.has(END_STREAM);
        if let Some(expected) = &mut stream.expected {
            let left = u64::try_from(content.len()).ok().and_then(|length| expected.checked_sub(length));
            match left {
                Some(left) if left == 0 || !is_last => *expected = left,
                _ => return self.fail_stream(id, PROTOCOL_ERROR),
            }
        }
        stream.is_received = is_last;
        let padding = head.length - content.len();
        if padding > 0 {
            self.release(id, padding);
        }
        Ok(Some(Event::Data { id, payload: content, is_last }))
    }

    fn priority<'b>(&mut self, head: FrameHead, payload: &[u8]) -> Outcome<'b, H, T> {
        let id = head.stream;
        let code = match payload.split_first_chunk::<4>() {
            Some((dependency, [_])) if u32::from_be_bytes(*dependency) & MAX_STREAM_ID != id => return Ok(None),
            Some((_, [_])) => PROTOCOL_ERROR,
            _ => FRAME_SIZE_ERROR,
        };
        if self.streams.get_mut(id).is_some() {
            return self.fail_stream(id, code);
        }
        // A stream that is not open cannot be reset.
        Err(violation(code, "a PRIORITY frame has the wrong length, or depends on itself"))
    }

    fn reset_by_peer<'b>(&mut self, id: u32) -> Outcome<'b, H, T> {
        if id > self.last_id && !self.ending.is_beyond(id) || id.is_multiple_of(2) {
            return Err(violation(PROTOCOL_ERROR, "a stream is reset that is not open"));
        }
        let gone = self.remove(id);
        if gone.is_none() {
            self.streams.forget_reset(id);
        }
        Ok(gone.map(|state| Event::Gone { state }))
    }

    fn settings(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Violation> {
        if head.has(ACK) {
            if !payload.is_empty() {
                return Err(violation(FRAME_SIZE_ERROR, "an acknowledgement of settings has content"));
            }
            if !self.peer.has_greeted() || std::mem::replace(&mut self.is_acknowledged, true) {
                return Err(violation(PROTOCOL_ERROR, "settings are acknowledged that were not sent"));
            }
            return Ok(());
        }
        let (settings, []) = payload.as_chunks::<{ super::SETTING_BYTES }>() else {
            return Err(violation(FRAME_SIZE_ERROR, "a SETTINGS frame has the wrong length"));
        };
        let more = self.peer.read(settings)?;
        if more != 0 {
            for (_, stream) in self.streams.iter_mut() {
                stream.send_window += more;
                if stream.send_window > MAX_WINDOW {
                    return Err(violation(FLOW_CONTROL_ERROR, "a window is too large"));
                }
            }
            self.windows_have_changed = true;
        }
        put_frame(&mut self.out, SETTINGS, ACK, 0, &[]);
        Ok(())
    }

    fn ping_of_peer(&mut self, head: FrameHead, payload: [u8; 8]) {
        if head.has(ACK) {
            self.pong(payload);
        } else {
            put_frame(&mut self.out, PING, ACK, 0, &payload);
        }
    }

    fn window_update<'b>(&mut self, id: u32, more: i64) -> Outcome<'b, H, T> {
        if id == 0 {
            self.send_window += more;
            if more == 0 || self.send_window > MAX_WINDOW {
                let code = if more == 0 { PROTOCOL_ERROR } else { FLOW_CONTROL_ERROR };
                return Err(violation(code, "a window grows by nothing, or too large"));
            }
            self.windows_have_changed = true;
            return Ok(None);
        }
        if id.is_multiple_of(2) || id > self.last_id && !self.ending.is_beyond(id) {
            return Err(violation(PROTOCOL_ERROR, "a window of a stream that is not open"));
        }
        let Some(stream) = self.streams.get_mut(id) else { return Ok(None) };
        stream.send_window += more;
        if more == 0 || stream.send_window > MAX_WINDOW {
            return self.fail_stream(id, if more == 0 { PROTOCOL_ERROR } else { FLOW_CONTROL_ERROR });
        }
        self.windows_have_changed = true;
        Ok(None)
    }

    /// Resets a stream for what the peer did on it.
    pub(super) fn fail_stream<'b>(&mut self, id: u32, code: StreamError) -> Outcome<'b, H, T> {
        self.put_reset(id, code);
        let gone = self.remove(id);
        self.count_error()?;
        Ok(gone.map(|state| Event::Gone { state }))
    }

    /// Counts an error of a stream.
    pub(super) fn count_error(&mut self) -> Result<(), Violation> {
        self.stream_errors = self.stream_errors.saturating_add(1);
        if self.stream_errors > self.limits.stream_errors {
            return Err(violation(ENHANCE_YOUR_CALM, "too many errors of streams"));
        }
        Ok(())
    }
}
