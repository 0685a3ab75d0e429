//! How leases are asked for: in the requests of checks, or soon in one of their own.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::asker::Asker;
use super::open_lease::OpenLease;
use super::queue::{NotAsked, Queue};
use crate::engine_link::{Link, LinkError, Remedy, slot_of};
use crate::store::Ticket;
use crate::store::lease::{Answer, Wish};

impl Asker {
    /// Asks for the lease that a check waits for; it is sent by [`send`](Self::send).
    ///
    /// # Errors
    /// It is not: then the ticket has failed.
    pub fn want(&self, ticket: &mut Ticket) -> Result<(), NotAsked> {
        let Some(queue) = self.queue_of_lease(ticket.key()).filter(|queue| queue.link.node().is_up()) else {
            ticket.fail();
            return Err(NotAsked::Down);
        };
        self.store.counts.waited.fetch_add(1, Ordering::Relaxed);
        if ticket.take_first() && !self.push_wanted(&queue, ticket.key().into()) {
            ticket.fail();
            return Err(NotAsked::Full);
        }
        Ok(())
    }

    /// Asks for a lease at once, although no check waits for it.
    pub(super) fn renew_now(&self, key: Box<[u8]>) {
        if let Some(queue) = self.queue_of_lease(&key).filter(|queue| queue.link.node().is_up()) {
            // If there are too many, it is found again.
            self.push_wanted(&queue, key);
        }
    }

    fn push_wanted(&self, queue: &Queue, key: Box<[u8]>) -> bool {
        let mut state = queue.state.lock();
        let has_room = state.wanted.len() < MAX_WANTED;
        if has_room {
            state.wanted.push_back(key);
            self.has_queued.store(true, Ordering::Release);
        }
        has_room
    }

    /// Asks for a lease with the next request to its node, or in a moment. Needs the runtime of the worker.
    pub fn renew(self: &Arc<Self>, key: Box<[u8]>) {
        let Some(queue) = self.queue_of_lease(&key).filter(|queue| queue.link.node().is_up()) else { return };
        let mut state = queue.state.lock();
        if state.soon.len() >= MAX_WANTED {
            // It is found again when its lease is looked after.
            return;
        }
        state.soon.push_back(key);
        if std::mem::replace(&mut state.has_timer, true) {
            return;
        }
        drop(state);
        let asker = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(SHARING).await;
            let mut state = queue.state.lock();
            (state.has_timer, state.is_soon_due) = (false, true);
            drop(state);
            asker.send_from(&queue);
        });
    }

    /// Ends the requests of leases. What another node has is asked for once more.
    pub(super) fn end_leases(
        self: &Arc<Self>,
        queue: &Arc<Queue>,
        leases: Vec<OpenLease>,
        answers: Vec<Result<Option<Answer>, LinkError>>,
    ) {
        let now = queue.now(&self.store);
        for (open, answer) in leases.into_iter().zip(answers) {
            match answer {
                Ok(Some(answer)) => {
                    let key: Box<[u8]> = open.asked.key().into();
                    match open.answered(&answer, now) {
                        Wish::Nothing => {}
                        Wish::Soon => self.renew(key),
                        Wish::Now => queue.state.lock().wanted.push_back(key),
                    }
                }
                // A value that is not ours fails its counter, not the others.
                Ok(None) => open.not_sent(now),
                Err(error) if error.remedy() == Remedy::FollowTopology && !open.has_moved => {
                    let asker = Arc::clone(self);
                    tokio::spawn(async move { asker.follow_lease(open, &error).await });
                }
                Err(error) if error.was_not_executed() => open.not_sent(now),
                // It may have been executed.
                Err(_) => drop(open),
            }
        }
    }

    /// Sends a request of a lease to the node that has its counter now.
    async fn follow_lease(self: &Arc<Self>, mut open: OpenLease, error: &LinkError) {
        open.has_moved = true;
        let slot = slot_of(&open.asked.name);
        let Some(queue) = self.moved_to(error, || Some(slot)).await else {
            return open.not_sent(self.store.now());
        };
        if !error.is_ask() {
            queue.state.lock().moved.push_back(open);
            return self.send_from(&queue);
        }
        let mut request = self.asking_request(&queue);
        if request.add_lease(&open.asked).is_ok() {
            let store = Arc::clone(&self.store);
            let link = Link::new(Arc::clone(queue.link.node()));
            let outcomes = link.send(&Arc::new(request), || store.clock.now(), drop).await;
            self.end_leases(&queue, vec![open], outcomes.leases);
            self.send_from(&queue);
        }
    }

    fn queue_of_lease(&self, key: &[u8]) -> Option<Arc<Queue>> {
        self.queue_of(|| self.store.leases.name(key).map(|name| slot_of(&name)))
    }
}

/// How long a lease that is renewed waits for others to share its request.
const SHARING: Duration = Duration::from_millis(10);
/// Leases of a worker that wait to be asked for at one node: as many as checks may wait.
const MAX_WANTED: usize = 4_096;
