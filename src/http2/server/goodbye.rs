//! The end of a connection, and pings.

use super::super::frame::{GOAWAY, MAX_STREAM_ID, NO_ERROR, PING, put_frame, put_head};
use super::{Connection, Head};

/// How far the end of a connection has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ending {
    #[default]
    Open,
    /// The peer was asked to open nothing more. What it opens before it knows is served: the ping has not come back.
    Announced,
    /// Streams beyond this one are ignored.
    Last(u32),
    /// After a violation, which GOAWAY will name: nothing is read any more, and what came before is being answered.
    Failing(u32),
    /// GOAWAY is the last frame.
    Failed,
}

impl Ending {
    /// Whether the stream was opened too late.
    pub(super) fn is_beyond(self, id: u32) -> bool {
        matches!(self, Self::Last(last) if id > last)
    }

    /// Whether nothing is read any more.
    pub(super) fn has_failed(self) -> bool {
        matches!(self, Self::Failing(_) | Self::Failed)
    }
}

impl<H: Head, T: Default> Connection<H, T> {
    /// Asks the peer to open nothing more; what is open, and what it opens before it knows, is served.
    pub(crate) fn shut_down(&mut self) {
        if self.ending != Ending::Open {
            return;
        }
        self.put_go_away(MAX_STREAM_ID, NO_ERROR);
        put_frame(&mut self.out, PING, 0, 0, &LAST_PING);
        self.ending = Ending::Announced;
    }

    /// Tells the peer that nothing more is read or answered.
    pub(crate) fn fail(&mut self, code: u32) {
        self.fail_later(code);
        self.end_failing();
    }

    /// Reads nothing more. GOAWAY follows when what was read before is answered.
    pub(super) fn fail_later(&mut self, code: u32) {
        if !self.ending.has_failed() {
            self.ending = Ending::Failing(code);
        }
    }

    /// After a violation, ends what is sent with GOAWAY.
    pub(super) fn end_failing(&mut self) {
        if let Ending::Failing(code) = self.ending {
            self.put_go_away(self.last_id, code);
            self.ending = Ending::Failed;
        }
    }

    /// Whether the connection has come to its end, once everything is sent.
    pub(crate) fn is_over(&self) -> bool {
        match self.ending {
            Ending::Open | Ending::Announced => false,
            Ending::Last(_) => self.streams.len() == 0,
            Ending::Failing(_) | Ending::Failed => true,
        }
    }

    /// Asks the peer whether it is still there.
    pub(crate) fn ping(&mut self) {
        put_frame(&mut self.out, PING, 0, 0, &OUR_PING);
    }

    /// Whether it has answered since the last call.
    pub(crate) fn take_pong(&mut self) -> bool {
        std::mem::take(&mut self.has_pong)
    }

    pub(super) fn pong(&mut self, payload: [u8; 8]) {
        if payload == LAST_PING && self.ending == Ending::Announced {
            self.put_go_away(self.last_id, NO_ERROR);
            self.ending = Ending::Last(self.last_id);
        }
        self.has_pong |= payload == OUR_PING;
    }

    fn put_go_away(&mut self, last: u32, code: u32) {
        put_head(&mut self.out, GOAWAY, 0, 0, 8);
        self.out.extend_from_slice(&last.to_be_bytes());
        self.out.extend_from_slice(&code.to_be_bytes());
    }
}

/// The content of pings that ask whether the peer is there.
const OUR_PING: [u8; 8] = *b"tidegate";
/// That of the ping after a GOAWAY.
const LAST_PING: [u8; 8] = *b"goodbye!";
