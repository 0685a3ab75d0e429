//! When a connection has to end, whichever front end it has: the process stops, it has reached its age, or its slot is needed.

use std::pin::Pin;
use std::task::{Context, Poll};

use super::age::{Age, Due};
use crate::net::{Slot, Turn};
use crate::runtime::lifecycle::Phases;

/// What ends one connection.
pub(super) struct Ending {
    /// `None`: no age does.
    age: Option<Age>,
    /// Waits for the process to stop; `None` afterwards.
    stopping: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// What the peer is to be informed of in a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Farewell {
    /// It is to go elsewhere; what it has asked for is answered.
    pub(super) shut_down: bool,
    /// Its slot is needed.
    pub(super) say_goodbye: bool,
}

impl Ending {
    pub(super) fn new(age: Option<Age>, mut phases: Phases) -> Self {
        Self { age, stopping: Some(Box::pin(async move { phases.stopping().await })) }
    }

    /// Begins the next turn of the connection; `None`: it ends at once.
    pub(super) fn begin_turn(&mut self, slot: &Slot, cx: &mut Context<'_>) -> Option<Farewell> {
        let mut farewell = Farewell::default();
        if self.stopping.as_mut().is_some_and(|stopping| stopping.as_mut().poll(cx).is_ready()) {
            self.stopping = None;
            farewell.shut_down = true;
        }
        if let Some(Poll::Ready(due)) = self.age.as_mut().map(|age| age.poll_due(cx)) {
            match due {
                Due::Goodbye => farewell.shut_down = true,
                Due::End => return None,
            }
        }
        match slot.begin_turn(cx.waker()) {
            Turn::Serve => Some(farewell),
            Turn::SayGoodbye => Some(Farewell { say_goodbye: true, ..farewell }),
            Turn::GiveUp => None,
        }
    }
}
