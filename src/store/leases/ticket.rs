//! Checks that wait for a lease.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;

use super::Leases;
use crate::store::lease::{Attempt, Lease, Now};

/// What became of the request that a check waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The engine has answered.
    Answered,
    /// It did not answer in time, or could not be asked.
    Failed,
}

/// A check waits for a request about one counter. When it is dropped, what was granted to the check and not spent stays a lease.
#[derive(Debug)]
pub struct Ticket {
    leases: Arc<Leases>,
    key: Box<[u8]>,
    hits: u64,
    number: u32,
    epoch: u32,
    /// When the check was last tried.
    pub(super) now: Now,
    receiver: oneshot::Receiver<Heard>,
    heard: Option<Heard>,
    /// It counts to those that are awake.
    is_awake: bool,
    /// The check has not been decided.
    pub(super) is_undecided: bool,
    /// It is the first that waits for the request: nobody has asked for it yet.
    is_first: bool,
}

/// Who waits for a lease.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    asleep: Vec<(u32, oneshot::Sender<Heard>)>,
    /// Checks whose request has ended, and which are not decided yet.
    awake: u32,
}

impl Ticket {
    /// The key of the lease.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Whether the lease has to be asked for: once for all checks that wait for the same request.
    pub fn take_first(&mut self) -> bool {
        std::mem::take(&mut self.is_first)
    }

    /// Ready when the request has ended.
    pub fn poll_hear(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.heard.is_none() {
            // An error means that the lease is gone, which it is not while checks wait.
            let heard = ready!(Pin::new(&mut self.receiver).poll(cx));
            self.is_awake |= heard.is_ok();
            self.heard = Some(heard.unwrap_or(Heard::Failed));
        }
        Poll::Ready(())
    }

    /// Nobody can be asked.
    pub fn fail(&mut self) {
        self.heard.get_or_insert(Heard::Failed);
    }

    /// What became of the request, if it has ended.
    pub fn heard(&self) -> Option<Heard> {
        self.heard
    }

    /// The attempt of a check that waits for a lease in this epoch.
    pub(super) fn attempt(&self, epoch: u32) -> Attempt {
        if self.epoch == epoch { Attempt::Waiting(self.number) } else { Attempt::First }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.leases.change(&self.key, |cell| {
            // What was sent is received now: it is sent with the shard locked.
            if self.is_awake || self.receiver.try_recv().is_ok() {
                cell.waiters.awake = cell.waiters.awake.saturating_sub(1);
            }
            if self.is_undecided && self.epoch == cell.epoch {
                cell.lease.leave(self.hits, Attempt::Waiting(self.number));
            }
            cell.settle(self.now);
        });
    }
}

impl Waiters {
    pub(super) fn is_empty(&self) -> bool {
        self.awake == 0 && self.asleep.is_empty()
    }

    /// Whether no check is about to spend what was granted to it.
    pub(super) fn are_decided(&self) -> bool {
        self.awake == 0
    }

    /// Lets a check wait for a request.
    pub(super) fn add(&mut self, ticket: NewTicket<'_>) -> Ticket {
        let NewTicket { leases, key, hits, number, epoch, now } = ticket;
        let is_first = self.asleep.last().is_none_or(|(last, _)| *last != number);
        let (sender, receiver) = oneshot::channel();
        if self.asleep.len() == self.asleep.capacity() {
            self.asleep.retain(|(_, sender)| !sender.is_closed());
        }
        self.asleep.push((number, sender));
        Ticket {
            leases: Arc::clone(leases),
            key: key.into(),
            hits,
            number,
            epoch,
            now,
            receiver,
            heard: None,
            is_awake: false,
            is_undecided: true,
            is_first,
        }
    }

    /// Wakes those whose request has ended.
    pub(super) fn wake(&mut self, lease: &Lease, heard: Heard) {
        let mut left = Vec::new();
        for (number, sender) in self.asleep.drain(..) {
            if !lease.has_ended(number) {
                left.push((number, sender));
            } else if sender.send(heard).is_ok() {
                self.awake += 1;
            }
        }
        self.asleep = left;
    }
}

/// What a ticket is made of.
#[derive(Clone, Copy)]
pub(super) struct NewTicket<'t> {
    pub(super) leases: &'t Arc<Leases>,
    pub(super) key: &'t [u8],
    pub(super) hits: u64,
    pub(super) number: u32,
    pub(super) epoch: u32,
    pub(super) now: Now,
}
