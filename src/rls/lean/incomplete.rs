//! Checks whose requests arrive in pieces: until the last one, a check is a buffer in its stream, without a task or a timer of its own.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::Context;

use tokio::time::{Instant, Sleep, sleep_until};

use super::wire::{Shared, Wire};
use crate::rls::services::{REQUEST_TIMEOUT, late};
use crate::runtime::clock::timer_now;

/// The incomplete checks of a connection, each of which has to be complete some time after its headers.
#[derive(Debug, Default)]
pub(super) struct Incomplete {
    /// When each is late, in this order. Some are complete by now, or gone, but never most of them.
    line: VecDeque<(Instant, u32)>,
    /// For the first one of the line, or one before it.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Incomplete {
    /// Adds a check whose headers have arrived.
    pub(super) fn add(&mut self, shared: &mut Shared, id: u32) {
        if self.line.len() / 2 > shared.connection.open_count().saturating_add(MAX_GONE) {
            self.line.retain(|(_, id)| shared.is_incomplete(*id));
        }
        self.line.push_back((timer_now() + REQUEST_TIMEOUT, id));
    }

    /// Answers those that are late, and lets the task be woken when the next one is. Cost without any: a look at two fields.
    pub(super) fn end_late(&mut self, wire: &Wire, cx: &mut Context<'_>) {
        while self.timer.is_some() || !self.line.is_empty() {
            if let Some(timer) = &mut self.timer {
                if timer.as_mut().poll(cx).is_pending() {
                    return;
                }
                self.timer = None;
            }
            let (mut shared, now) = (wire.lock(), timer_now());
            while let Some((due, id)) = self.line.front().copied() {
                if shared.is_incomplete(id) {
                    if due > now {
                        self.timer = Some(Box::pin(sleep_until(due)));
                        break;
                    }
                    // It is no answer for which the connection would have to wait.
                    let _sent = shared.answer(id, Err(late()));
                }
                self.line.pop_front();
            }
        }
    }
}

/// Checks that are complete or gone, and still in the line of those that are not.
const MAX_GONE: usize = 32;

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use http::HeaderMap;

    use super::*;
    use crate::http2::frame::{PREFACE, RST_STREAM, SETTINGS, put_frame};
    use crate::http2::server::Event;
    use crate::net::{PartialBytes, lean_limits};
    use crate::rls::lean::gathered::tests::put_headers;

    /// Takes these frames: each check waits for the rest.
    fn take(wire: &Wire, incomplete: &mut Incomplete, mut frames: &[u8]) {
        let (mut shared, partial) = (wire.lock(), PartialBytes::default());
        while let Some(event) = shared.connection.next(&mut frames).unwrap() {
            if let Event::Request { id, .. } = event {
                shared.connection.state(id).unwrap().incomplete = Some(partial.check(&HeaderMap::new(), 0).unwrap());
                incomplete.add(&mut shared, id);
            }
        }
    }

    fn begin() -> Vec<u8> {
        let mut frames = PREFACE.to_vec();
        put_frame(&mut frames, SETTINGS, 0, 0, &[]);
        frames
    }

    #[tokio::test]
    async fn checks_that_are_gone_do_not_stay_in_line() {
        let (wire, mut incomplete, mut frames) = (Wire::new(lean_limits()), Incomplete::default(), begin());
        put_headers(&mut frames, 1);
        for id in (3..4_003).step_by(2) {
            put_headers(&mut frames, id);
            put_frame(&mut frames, RST_STREAM, 0, id, &8_u32.to_be_bytes());
        }
        take(&wire, &mut incomplete, &frames);
        assert!(incomplete.line.len() <= 2 * (MAX_GONE + 3), "{}", incomplete.line.len());
        assert_eq!(incomplete.line.front().unwrap().1, 1, "the one that is open stays");
    }

    #[tokio::test(start_paused = true)]
    async fn each_check_is_late_at_its_own_time() {
        let (wire, mut incomplete, mut frames) = (Wire::new(lean_limits()), Incomplete::default(), begin());
        let mut cx = Context::from_waker(Waker::noop());
        incomplete.end_late(&wire, &mut cx);
        assert!(incomplete.timer.is_none());
        put_headers(&mut frames, 1);
        put_headers(&mut frames, 3);
        take(&wire, &mut incomplete, &frames);
        tokio::time::advance(REQUEST_TIMEOUT / 2).await;
        frames.clear();
        put_headers(&mut frames, 5);
        take(&wire, &mut incomplete, &frames);
        // The second one is complete.
        wire.lock().connection.state(3).unwrap().incomplete = None;
        let mut open = |after| {
            incomplete.end_late(&wire, &mut cx);
            (after, [1, 3, 5].map(|id| wire.lock().connection.state(id).is_some()), incomplete.line.len())
        };
        assert_eq!(open("a half"), ("a half", [true; 3], 3));
        tokio::time::advance(REQUEST_TIMEOUT / 2).await;
        assert_eq!(open("one"), ("one", [false, true, true], 1));
        tokio::time::advance(REQUEST_TIMEOUT / 2).await;
        assert_eq!(open("one and a half"), ("one and a half", [false, true, false], 0));
        assert!(incomplete.timer.is_none(), "nothing wakes the connection");
    }
}
