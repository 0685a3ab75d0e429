//! What waits to be sent to one node by one worker.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::SharedStore;
use super::open_lease::OpenLease;
use super::routes::Routes;
use crate::engine_link::{ChargeRequest, CheckOutcome, Link, LinkError, Node, RequestForm, SharedCheck};
use crate::store::lease::Now;

/// A queue for each node of some routes.
#[derive(Debug, Default)]
pub(super) struct Queues {
    number: u64,
    pub(super) queues: Vec<Arc<Queue>>,
}

/// What one worker sends to one node.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) link: Link,
    pub(super) state: Mutex<QueueState>,
}

#[derive(Debug, Default)]
pub(super) struct QueueState {
    /// Checks.
    pub(super) waiting: VecDeque<Waiting>,
    /// Leases for which checks wait, by key.
    pub(super) wanted: VecDeque<Box<[u8]>>,
    /// Leases that are renewed before checks have to wait: they wait for others to share their request.
    pub(super) soon: VecDeque<Box<[u8]>>,
    /// They have waited for long enough.
    pub(super) is_soon_due: bool,
    /// A task of its own will say so.
    pub(super) has_timer: bool,
    /// Leases that were asked for at a node which no longer had their counters.
    pub(super) moved: VecDeque<OpenLease>,
    /// Requests without a reply.
    pub(super) under_way: usize,
}

/// A check that waits for its answer. Nobody waits any longer if the receiver is gone.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) check: Box<SharedCheck>,
    pub(super) answer: oneshot::Sender<Result<CheckOutcome, LinkError>>,
    /// It was sent to a node that no longer had its counters.
    pub(super) has_moved: bool,
    pub(super) _counted: Counted,
}

/// What is in a request.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) checks: Vec<Waiting>,
    pub(super) leases: Vec<OpenLease>,
}

/// Where an answer will be.
#[derive(Debug)]
pub struct StoreAnswer(oneshot::Receiver<Result<CheckOutcome, LinkError>>);

/// Why something is not asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAsked {
    /// The node of its counters is down, or not known.
    Down,
    /// Too many checks wait, or this one has too many counters.
    Full,
}

impl StoreAnswer {
    pub(super) fn of(receiver: oneshot::Receiver<Result<CheckOutcome, LinkError>>) -> Self {
        Self(receiver)
    }

    /// Waits for it. Cancel safe.
    ///
    /// # Errors
    /// There is no answer, although the charge may have been made: see [`LinkError`].
    pub async fn wait(&mut self) -> Result<CheckOutcome, LinkError> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// The same for a task that waits for several.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<CheckOutcome, LinkError>> {
        Pin::new(&mut self.0).poll(cx).map(|answer| answer.unwrap_or(Err(LinkError::Down)))
    }
}

impl Queue {
    fn new(node: &Arc<Node>) -> Self {
        Self { link: Link::new(Arc::clone(node)), state: Mutex::default() }
    }

    /// The time of this process, and of the node.
    pub(super) fn now(&self, store: &SharedStore) -> Now {
        let local = store.clock.now();
        Now { local, engine: self.link.node().engine_time(local) }
    }

    /// The next request, and what is in it; `None`: nothing waits, or enough is under way.
    pub(super) fn next_request(&self, store: &Arc<SharedStore>) -> Option<(ChargeRequest, Sent)> {
        let mut state = self.state.lock();
        if !state.is_due() || state.under_way >= MAX_UNDER_WAY {
            return None;
        }
        let form = RequestForm { by_slot: store.routes.load().is_cluster(), is_asking: false };
        let (now, mut sent) = (self.now(store), Sent::default());
        let mut request = ChargeRequest::new(now.engine, form);
        state.add_checks(&mut request, &mut sent);
        state.add_leases(&mut request, &mut sent, store, now);
        if request.is_empty() {
            return None;
        }
        state.under_way += 1;
        let (leases, keys) = (request.leases() as u64, request.keys() as u64);
        store.counts.lease_operations.fetch_add(leases, Ordering::Relaxed);
        store.counts.exact_operations.fetch_add(keys - leases, Ordering::Relaxed);
        Some((request, sent))
    }
}

impl QueueState {
    fn is_due(&self) -> bool {
        !self.waiting.is_empty()
            || !self.wanted.is_empty()
            || !self.moved.is_empty()
            || (self.is_soon_due && !self.soon.is_empty())
    }

    fn add_checks(&mut self, request: &mut ChargeRequest, sent: &mut Sent) {
        while let Some(next) = self.waiting.pop_front() {
            if next.answer.is_closed() {
                continue;
            }
            if request.add(&next.check).is_err() {
                // The next request has room for it.
                self.waiting.push_front(next);
                break;
            }
            sent.checks.push(next);
        }
    }

    /// Leases that are renewed share the request of what cannot wait.
    fn add_leases(&mut self, request: &mut ChargeRequest, sent: &mut Sent, store: &Arc<SharedStore>, now: Now) {
        while !request.is_full() {
            let next = self.moved.pop_front().or_else(|| {
                let mut keys = std::iter::from_fn(|| self.wanted.pop_front().or_else(|| self.soon.pop_front()));
                keys.find_map(|key| OpenLease::ask(store, &key, now))
            });
            let Some(next) = next else { break };
            // It has room: that was asked before.
            if request.add_lease(&next.asked).is_ok() {
                sent.leases.push(next);
            }
        }
        self.is_soon_due &= !self.soon.is_empty();
    }
}

impl Queues {
    /// The queue of the node at this place of the routes.
    pub(super) fn at(&mut self, routes: &Routes, at: usize) -> Option<Arc<Queue>> {
        if self.number != routes.number {
            self.follow(routes);
        }
        self.queues.get(at).cloned()
    }

    /// Has a queue for each node of these routes; those of nodes that are gone are dropped, and what waits in them fails.
    fn follow(&mut self, routes: &Routes) {
        let queue = |node: &Arc<Node>| {
            let known = self.queues.iter().find(|queue| Arc::ptr_eq(queue.link.node(), node));
            known.cloned().unwrap_or_else(|| Arc::new(Queue::new(node)))
        };
        let queues = routes.nodes().iter().map(queue).collect();
        *self = Self { number: routes.number, queues };
    }
}

/// A check that counts as waiting.
#[derive(Debug)]
pub(super) struct Counted(Arc<AtomicUsize>);

impl Counted {
    /// `None`: there are too many.
    pub(super) fn new(waiting: &Arc<AtomicUsize>) -> Option<Self> {
        if waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            waiting.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Self(Arc::clone(waiting)))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Requests of one worker to one node without a reply: while one is executed, the next one is on its way.
const MAX_UNDER_WAY: usize = 2;
/// Checks of one worker without an answer: what arrives in 10 ms at 400,000 checks a second. More are answered at once, as if the engine
/// were down.
pub(super) const MAX_WAITING: usize = 4_096;
