//! A bound on frames of HTTP/2 that ask for nothing.
//!
//! The `h2` crate bounds what such frames make it keep, not how often they come. Each costs work: a SETTINGS frame an update of every open
//! stream. So each connection has a budget of them, which whole requests and bytes that were written fill up, as time does.

use crate::http2::frame::{ACK, DATA, END_STREAM, HEAD_BYTES, HEADERS, Head, PREFACE, SETTINGS};
use crate::runtime::clock::Stopwatch;

/// The budget of one connection, and where its bytes are in their frames.
#[derive(Debug)]
pub(super) struct Frames {
    head: [u8; HEAD_BYTES],
    /// The bytes of the head that have arrived.
    have: usize,
    /// The bytes of the payload that have not arrived.
    left: usize,
    budget: u32,
    /// The streams that may be open.
    streams: u32,
    /// Since the budget was last filled up by time.
    since: Stopwatch,
    /// Bytes that were written and are too few to fill it up.
    written: usize,
}

impl Default for Frames {
    fn default() -> Self {
        let (head, have, written) = Default::default();
        // The preface comes before the first frame.
        Self { head, have, left: PREFACE.len(), budget: MAX_BUDGET, streams: 0, since: Stopwatch::start(), written }
    }
}

impl Frames {
    /// The next turn begins, with so many open streams.
    pub(super) fn begin_turn(&mut self, open: usize) {
        self.streams = u32::try_from(open).unwrap_or(u32::MAX);
    }

    /// Looks at the next bytes; `false`: the budget is used up. Cost: some nanoseconds for each frame.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> bool {
        loop {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len());
                self.left -= skipped;
                bytes = bytes.get(skipped..).unwrap_or_default();
            }
            if bytes.is_empty() {
                return true;
            }
            if self.have == 0
                && let Some((head, rest)) = bytes.split_first_chunk()
            {
                self.head = *head;
                bytes = rest;
            } else {
                let Some(room) = self.head.get_mut(self.have..) else { return false };
                let taken = room.len().min(bytes.len());
                let (now, later) = bytes.split_at(taken);
                room.iter_mut().zip(now).for_each(|(to, from)| *to = *from);
                bytes = later;
                self.have += taken;
                if self.have < HEAD_BYTES {
                    return true;
                }
                self.have = 0;
            }
            if !self.charge() {
                return false;
            }
        }
    }

    /// So many bytes were written: the peer may acknowledge them.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.written = self.written.saturating_add(bytes);
        if self.written >= BYTES_PER_FRAME {
            self.earn(u32::try_from(self.written / BYTES_PER_FRAME).unwrap_or(MAX_BUDGET));
            self.written %= BYTES_PER_FRAME;
        }
    }

    /// Charges the frame whose head has arrived.
    fn charge(&mut self) -> bool {
        let head = Head::read(self.head);
        self.left = head.length;
        if head.kind == HEADERS {
            self.streams = self.streams.saturating_add(1);
        }
        let cost = match head.kind {
            DATA | HEADERS if head.has(END_STREAM) => {
                self.earn(FRAMES_PER_REQUEST);
                0
            }
            DATA if self.left > 0 => 0,
            SETTINGS if !head.has(ACK) => self.streams.saturating_mul(SETTINGS_STREAM_COST).max(SETTINGS_COST),
            _ => 1,
        };
        if self.budget < cost {
            let passed_ms = self.since.elapsed().as_ns() / 1_000_000;
            self.since = Stopwatch::start();
            self.earn(u32::try_from(passed_ms.saturating_mul(FRAMES_PER_MS)).unwrap_or(MAX_BUDGET));
        }
        match self.budget.checked_sub(cost) {
            Some(left) => self.budget = left,
            None => return false,
        }
        true
    }

    fn earn(&mut self, frames: u32) {
        self.budget = self.budget.saturating_add(frames).min(MAX_BUDGET);
    }
}

/// Frames that ask for nothing, at once: a reset and the headers before it for each stream of a client that was paused, and more.
const MAX_BUDGET: u32 = 10_000;

/// For a frame of settings, at least.
const SETTINGS_COST: u32 = 200;

/// For each open stream, which a frame of settings with another window changes: that takes as long as two pings.
const SETTINGS_STREAM_COST: u32 = 2;

/// For each whole request: a reset, two updates of windows, a ping.
const FRAMES_PER_REQUEST: u32 = 4;

/// And for the bytes of answers, of which a client acknowledges several kilobytes at once.
const BYTES_PER_FRAME: usize = 1 << 10;

/// And 1,000 a second, for clients that only ping.
const FRAMES_PER_MS: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http2::frame::{PING, put_frame};

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        put_frame(&mut frame, kind, flags, 1, payload);
        frame
    }

    fn opened() -> Frames {
        let mut frames = Frames::default();
        assert!(frames.read(PREFACE));
        frames
    }

    #[test]
    fn frames_are_counted_wherever_they_are_cut() {
        let sent = [
            frame(PING, 0, &[7; 8]),
            frame(DATA, END_STREAM, &[7; 300]),
            frame(SETTINGS, 0, &[]),
            frame(PING, ACK, &[0; 8]),
        ];
        let sent = [PREFACE.to_vec(), sent.concat()].concat();
        for size in 1..sent.len() {
            let mut frames = Frames::default();
            assert!(sent.chunks(size).all(|piece| frames.read(piece)), "pieces of {size}");
            assert_eq!(frames.budget, MAX_BUDGET - SETTINGS_COST - 1, "pieces of {size}");
            assert_eq!((frames.left, frames.have), (0, 0));
        }
    }

    /// How many of these frames a connection may send at once.
    fn at_once(frame: &[u8]) -> usize {
        let mut frames = opened();
        (0..1_000_000).take_while(|_| frames.read(frame)).count()
    }

    #[test]
    fn frames_that_ask_for_nothing_are_bounded_and_requests_are_not() {
        // A test that is interrupted for a second may send a thousand more.
        for (name, bytes, most) in [
            ("PING", frame(PING, 0, &[0; 8]), 20_000),
            ("PING ACK", frame(PING, ACK, &[0; 8]), 20_000),
            ("SETTINGS", frame(SETTINGS, 0, &[0, 4, 0, 0, 0, 0]), 100),
            ("empty DATA", frame(DATA, 0, &[]), 20_000),
            ("PRIORITY", frame(2, 0, &[0; 5]), 20_000),
            ("RST_STREAM", frame(3, 0, &[0; 4]), 20_000),
            ("WINDOW_UPDATE", frame(8, 0, &[0; 4]), 20_000),
            ("CONTINUATION", frame(9, 0, &[]), 20_000),
            (
                "streams and then SETTINGS",
                [frame(HEADERS, 4, &[0; 50]).repeat(1_000), frame(SETTINGS, 0, &[])].concat(),
                20,
            ),
            ("headers and no body", frame(HEADERS, 4, &[0; 50]), 20_000),
            ("unknown", frame(0xfe, 0, &[]), 20_000),
        ] {
            let sent = at_once(&bytes);
            assert!(sent < most, "{name}: {sent}");
        }
        let whole = [frame(HEADERS, 4, &[0; 50]), frame(DATA, END_STREAM, &[0; 100]), frame(3, 0, &[0; 4])].concat();
        assert_eq!(at_once(&whole), 1_000_000);
        assert_eq!(at_once(&frame(DATA, 0, &[0; 10])), 1_000_000);
    }

    #[test]
    fn reading_answers_allows_more() {
        let mut frames = opened();
        let update = frame(8, 0, &[0; 4]);
        for _ in 0..100_000 {
            frames.wrote(1 << 10);
            assert!(frames.read(&update));
        }
    }
}
