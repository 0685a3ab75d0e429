//! What was granted to checks that wait, in a window that has ended before they were decided.

use super::Lease;
use crate::engine::LeaseShape;
use crate::store::lease::{Attempt, Terms};

/// Hits of a window that has ended, for checks that asked in it. They are charged in that window, so they are never a part of the lease
/// of another one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Past {
    /// Hits that were granted to these checks.
    pub(super) due: u64,
    /// The last request that was answered in such a window; `None`: no check waits for one.
    last: Option<u32>,
    /// The engine's name of the window; 0: hits are due of several ones.
    window: u64,
    /// What the engine had left in it.
    left: i64,
}

impl Past {
    /// Whether the request of a check was answered in a window that has ended.
    pub(super) const fn has(&self, attempt: Attempt) -> bool {
        match (attempt, self.last) {
            (Attempt::Waiting(number), Some(last)) => last.wrapping_sub(number) < u32::MAX / 2,
            (Attempt::First, _) | (_, None) => false,
        }
    }

    /// Hits that could have been spent besides.
    pub(super) fn remaining(&self, terms: &Terms) -> u64 {
        u64::try_from(self.left).unwrap_or(0).min(terms.capacity())
    }
}

impl Lease {
    /// The window has ended: what is due is due of a past window.
    pub(super) fn end_window(&mut self) {
        if self.past.last == Some(self.answered) {
            return;
        }
        let is_other = self.past.due > 0 && self.past.window != self.window;
        self.past = Past {
            due: self.past.due.saturating_add(std::mem::take(&mut self.due)),
            last: Some(self.answered),
            window: if is_other { 0 } else { self.window },
            left: self.left,
        };
    }

    /// No check waits for it any more. Of a sliding window it goes back as long as the engine knows of which window it is.
    pub(super) fn settle_past(&mut self, terms: &Terms) {
        let Past { due, window, .. } = std::mem::take(&mut self.past);
        if terms.shape == LeaseShape::SlidingWindow && window == self.window {
            self.news.returned += due;
        } else {
            self.lapsed += due;
        }
    }
}
