//! Checks of several connections that are decided together.
//!
//! ```text
//! connection --read--> [check] --add--+
//! connection --read--> [check] --add--+--> decide, one batch --> answers of each connection --> its next turn: one write
//! connection --read--> [check] --add--+
//! ```
//! Where many connections bring a check each, deciding every one where it was read would miss the cache for each alone, and switch between reading,
//! deciding and writing each time. So while a worker reads several connections in a turn, checks wait until those that are ready have been read: the
//! task that decides is behind them in the runtime's queue. Where one connection is read in a turn, its checks are decided at once.
//!
//! A turn is what the runtime does between two times that it waits for sockets.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Poll, Waker};

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::head::CallHead;
use super::wire::Wire;
use crate::access::Caller;
use crate::limiter::TOGETHER;
use crate::rls::services::{Services, decide_all};
use crate::service::Arrived;

/// The checks of a worker's connections that wait to be decided together. Locked for moments only, all of them on the worker's thread.
#[derive(Clone, Debug, Default)]
pub(in crate::rls) struct Gathered {
    checks: Arc<Mutex<Checks>>,
    /// Counts the turns of the runtime.
    turns: Arc<AtomicU32>,
}

#[derive(Debug, Default)]
struct Checks {
    /// In the order of their arrival.
    waiting: Vec<Waiting>,
    /// Their messages, one after the other.
    messages: Vec<u8>,
    /// What decides them.
    decider: Option<Waker>,
    reads: Reads,
}

/// How many reads brought a check or two.
#[derive(Debug, Default)]
struct Reads {
    /// The turn of the last one.
    turn: u32,
    /// In that turn.
    now: u32,
    /// In the last turn before it that had any.
    before: u32,
}

/// A check that is not decided.
#[derive(Debug)]
struct Waiting {
    wire: Wire,
    id: u32,
    head: Arc<CallHead>,
    caller: Option<Arc<Caller>>,
    /// Where its message ends.
    end: usize,
}

impl Gathered {
    /// Notes that the runtime is about to wait for sockets.
    pub(in crate::rls) fn end_turn(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    /// Decides what connections have added, whenever they have; never ends.
    pub(in crate::rls) async fn run(self, services: Services) {
        poll_fn(|cx| {
            self.checks.lock().decider.get_or_insert_with(|| cx.waker().clone());
            self.decide(&services);
            Poll::<()>::Pending
        })
        .await;
    }

    /// Counts a read that brought these checks. Returns whether they should be added rather than decided: others are likely to be read in this turn.
    pub(super) fn has_company(&self, mut messages: impl ExactSizeIterator<Item = usize>) -> bool {
        if messages.len() > FEW || messages.any(|length| length > MAX_MESSAGE_BYTES) {
            return false;
        }
        let turn = self.turns.load(Ordering::Relaxed);
        let mut checks = self.checks.lock();
        checks.reads.count(turn) && checks.decider.is_some() && checks.waiting.len() < MAX_WAITING
    }

    /// Adds a check of this connection.
    pub(super) fn add(&self, wire: &Wire, id: u32, head: Arc<CallHead>, caller: Option<Arc<Caller>>, message: &[u8]) {
        let mut checks = self.checks.lock();
        checks.messages.extend_from_slice(message);
        let waiting = Waiting { wire: wire.clone(), id, head, caller, end: checks.messages.len() };
        checks.waiting.push(waiting);
        if checks.waiting.len() == 1
            && let Some(decider) = &checks.decider
        {
            decider.wake_by_ref();
        }
    }

    /// Decides what was added so far. No connection may be locked.
    pub(super) fn decide(&self, services: &Services) {
        let (mut waiting, mut messages) = {
            let mut checks = self.checks.lock();
            (std::mem::take(&mut checks.waiting), std::mem::take(&mut checks.messages))
        };
        let mut begin = 0;
        for together in waiting.chunk_by(|one, next| is_same(one.caller.as_ref(), next.caller.as_ref())) {
            decide_together(services, together, &messages, &mut begin);
        }
        waiting.clear();
        messages.clear();
        let mut checks = self.checks.lock();
        if checks.waiting.is_empty() {
            (checks.waiting, checks.messages) = (waiting, messages);
        }
    }
}

impl Reads {
    /// Counts a read in this turn. Returns whether turns have many of them.
    fn count(&mut self, turn: u32) -> bool {
        if turn != self.turn {
            (self.turn, self.before, self.now) = (turn, self.now, 0);
        }
        self.now = self.now.saturating_add(1);
        self.before.max(self.now) >= MANY
    }
}

/// Decides checks of one client, whose messages begin there, and gives each connection its answers.
fn decide_together(services: &Services, together: &[Waiting], messages: &[u8], begin: &mut usize) {
    let caller = together.first().and_then(|one| one.caller.as_deref());
    let batch = services.batch_of(caller);
    let arrived = together.iter().map(|Waiting { head, end, .. }| {
        let message = messages.get(std::mem::replace(begin, *end)..*end).unwrap_or_default();
        Arrived { call: head.call(services.service()), message }
    });
    let arrived: SmallVec<[Arrived<'_>; TOGETHER]> = arrived.collect();
    let mut to = together.iter();
    decide_all(&batch, caller, &arrived, |answer| {
        if let Some(Waiting { wire, id, .. }) = to.next() {
            wire.lock().settle(*id, answer);
        }
    });
}

fn is_same(one: Option<&Arc<Caller>>, other: Option<&Arc<Caller>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        _ => false,
    }
}

/// A read that brought more checks has company enough: they are decided at once.
const FEW: usize = 2;

/// Reads in a turn from which on checks wait for each other: with fewer, passing them on would cost more than is saved.
const MANY: u32 = 4;

/// Checks that wait for each other; with so many, those of another read are decided at once.
const MAX_WAITING: usize = 4 * TOGETHER;

/// A check that waits for others, in bytes; longer ones are decided at once, because their messages would be copied.
const MAX_MESSAGE_BYTES: usize = 1 << 10;

#[cfg(test)]
pub(super) mod tests;
