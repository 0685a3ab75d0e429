//! What one worker asks: checks wait in a queue for each node, and all that wait are sent in one request.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::SharedStore;
use super::routes::Routes;
use crate::engine_link::{
    ChargeOutcomes, ChargeRequest, CheckOutcome, Link, LinkError, Node, NodeAddress, Remedy, RequestForm, SharedCheck,
};
use crate::units::Nanos;

/// Asks for the checks of one worker. Its connections are driven by the runtime of the worker.
#[derive(Debug)]
pub struct Asker {
    store: Arc<SharedStore>,
    queues: Mutex<Queues>,
    /// Checks without an answer.
    waiting: Arc<AtomicUsize>,
    /// Bytes of the messages of checks that wait.
    kept_bytes: Arc<AtomicUsize>,
}

/// The message of a check that waits.
#[derive(Debug)]
pub struct KeptMessage {
    bytes: Box<[u8]>,
    kept_bytes: Arc<AtomicUsize>,
}

impl KeptMessage {
    /// The message.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for KeptMessage {
    fn drop(&mut self) {
        self.kept_bytes.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

/// A queue for each node of some routes.
#[derive(Debug, Default)]
struct Queues {
    number: u64,
    queues: Vec<Arc<Queue>>,
}

#[derive(Debug)]
struct Queue {
    link: Link,
    state: Mutex<QueueState>,
}

#[derive(Debug, Default)]
struct QueueState {
    waiting: VecDeque<Waiting>,
    /// Requests without a reply.
    under_way: usize,
}

/// A check that waits for its answer. Nobody waits any longer if the receiver is gone.
#[derive(Debug)]
struct Waiting {
    check: SharedCheck,
    answer: oneshot::Sender<Result<CheckOutcome, LinkError>>,
    /// It was sent to a node that no longer had its counters.
    has_moved: bool,
    _counted: Counted,
}

/// Where an answer will be.
#[derive(Debug)]
pub struct StoreAnswer(oneshot::Receiver<Result<CheckOutcome, LinkError>>);

/// Why a check is not asked for.
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

    /// Waits for it.
    ///
    /// # Errors
    /// There is no answer, although the charge may have been made: see [`LinkError`].
    pub async fn wait(self) -> Result<CheckOutcome, LinkError> {
        self.0.await.unwrap_or(Err(LinkError::Down))
    }
}

impl Asker {
    /// Asks for nothing yet.
    pub fn new(store: Arc<SharedStore>) -> Arc<Self> {
        Arc::new(Self { store, queues: Mutex::default(), waiting: Arc::default(), kept_bytes: Arc::default() })
    }

    /// The engine.
    pub fn store(&self) -> &Arc<SharedStore> {
        &self.store
    }

    /// How long a check waits for an answer, if its caller has this timeout.
    pub fn wait(&self, timeout: Option<Nanos>) -> Duration {
        let half = timeout.map(|timeout| Duration::from(timeout) / 2);
        half.map_or(self.store.timeout(), |half| half.min(self.store.timeout()))
    }

    /// Keeps the message of a check that is to wait; `None`: too many bytes are kept.
    pub fn keep(&self, message: &[u8]) -> Option<KeptMessage> {
        let before = self.kept_bytes.fetch_add(message.len(), Ordering::Relaxed);
        let kept = KeptMessage { bytes: message.into(), kept_bytes: Arc::clone(&self.kept_bytes) };
        (before.saturating_add(message.len()) <= MAX_KEPT_BYTES).then_some(kept)
    }

    /// Asks for a check; it is sent by [`send`](Self::send).
    ///
    /// # Errors
    /// It is not, and nothing is charged.
    pub fn ask(self: &Arc<Self>, check: SharedCheck) -> Result<StoreAnswer, NotAsked> {
        if self.store.routes.load().is_cluster() && !check.is_in_one_slot() {
            return self.ask_apart(&check);
        }
        if !check.fits() {
            return Err(NotAsked::Full);
        }
        let queue = self.queue_of(&check).ok_or(NotAsked::Down)?;
        if !queue.link.node().is_up() {
            return Err(NotAsked::Down);
        }
        let counted = Counted::new(&self.waiting).ok_or(NotAsked::Full)?;
        let (answer, receiver) = oneshot::channel();
        queue.state.lock().waiting.push_back(Waiting { check, answer, has_moved: false, _counted: counted });
        self.store.counts.waited.fetch_add(1, Ordering::Relaxed);
        Ok(StoreAnswer(receiver))
    }

    /// Sends what waits, as far as requests may be under way. Needs the runtime of the worker.
    pub fn send(self: &Arc<Self>) {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return;
        }
        let queues = self.queues.lock().queues.clone();
        for queue in queues {
            self.send_from(&queue);
        }
    }

    fn send_from(self: &Arc<Self>, queue: &Arc<Queue>) {
        while let Some((request, sent)) = self.next_request(queue) {
            let (asker, queue) = (Arc::clone(self), Arc::clone(queue));
            tokio::spawn(async move {
                let clock = || asker.store.clock.now();
                let outcomes = queue.link.charge(&request, clock).await;
                asker.answer(sent, outcomes);
                queue.state.lock().under_way -= 1;
                asker.send_from(&queue);
            });
        }
    }

    /// The next request of a queue, and the checks in it; `None`: nothing waits, or enough is under way.
    fn next_request(&self, queue: &Queue) -> Option<(ChargeRequest, Vec<Waiting>)> {
        let mut state = queue.state.lock();
        if state.waiting.is_empty() || state.under_way >= MAX_UNDER_WAY {
            return None;
        }
        let clock = queue.link.node().engine_time(self.store.clock.now());
        let form = RequestForm { by_slot: self.store.routes.load().is_cluster(), is_asking: false };
        let (mut request, mut sent) = (ChargeRequest::new(clock, form), Vec::new());
        while let Some(next) = state.waiting.pop_front() {
            if next.answer.is_closed() {
                continue;
            }
            if request.add(&next.check).is_err() {
                // The next request has room for it.
                state.waiting.push_front(next);
                break;
            }
            sent.push(next);
        }
        if sent.is_empty() {
            return None;
        }
        state.under_way += 1;
        self.store.counts.key_operations.fetch_add(request.keys() as u64, Ordering::Relaxed);
        Some((request, sent))
    }

    /// Hands out the answers. What another node has is asked for once more.
    fn answer(self: &Arc<Self>, sent: Vec<Waiting>, outcomes: ChargeOutcomes) {
        for (mut waiting, outcome) in sent.into_iter().zip(outcomes) {
            match outcome {
                Err(error) if error.remedy() == Remedy::FollowTopology && !waiting.has_moved => {
                    waiting.has_moved = true;
                    let asker = Arc::clone(self);
                    tokio::spawn(async move { asker.follow(waiting, &error).await });
                }
                // An error means that nobody waits any longer.
                outcome => drop(waiting.answer.send(outcome)),
            }
        }
    }

    /// Sends a check to the node that has its counters now: the one that the reply names if it is known, else the one that the topology
    /// names once it has been read again.
    async fn follow(self: &Arc<Self>, waiting: Waiting, error: &LinkError) {
        let named = named_node(error, &self.store.routes.load());
        let queue = match named {
            Some((_, node)) if error.is_ask() => return self.ask_node(waiting, node).await,
            Some((at, _)) => {
                self.store.want_refresh();
                self.queues.lock().queues.get(at).cloned()
            }
            None => {
                let refreshed = tokio::time::timeout(self.store.timeout(), self.store.refreshed()).await;
                refreshed.ok().and_then(|()| self.queue_of(&waiting.check))
            }
        };
        let Some(queue) = queue else { return drop(waiting.answer.send(Err(LinkError::Down))) };
        queue.state.lock().waiting.push_back(waiting);
        self.send_from(&queue);
    }

    /// Sends one check to the node to which its slot is moving.
    async fn ask_node(&self, waiting: Waiting, node: Arc<Node>) {
        let clock = || self.store.clock.now();
        let form = RequestForm { by_slot: true, is_asking: true };
        let mut request = ChargeRequest::new(node.engine_time(clock()), form);
        if request.add(&waiting.check).is_err() {
            return;
        }
        let outcomes = Link::new(node).charge(&request, clock).await;
        let outcome = outcomes.into_iter().next().unwrap_or(Err(LinkError::Malformed));
        // An error means that nobody waits any longer.
        drop(waiting.answer.send(outcome));
    }

    /// The queue of the node that has the counters of a check.
    fn queue_of(&self, check: &SharedCheck) -> Option<Arc<Queue>> {
        let routes = self.store.routes.load();
        let at = routes.node_of(check)?;
        let mut queues = self.queues.lock();
        if queues.number != routes.number {
            queues.follow(&routes);
        }
        queues.queues.get(at).cloned()
    }
}

impl Queues {
    /// Has a queue for each node of these routes; those of nodes that are gone are dropped, and what waits in them fails.
    fn follow(&mut self, routes: &Routes) {
        let queue = |node: &Arc<Node>| {
            let known = self.queues.iter().find(|queue| Arc::ptr_eq(queue.link.node(), node));
            known
                .cloned()
                .unwrap_or_else(|| Arc::new(Queue { link: Link::new(Arc::clone(node)), state: Mutex::default() }))
        };
        let queues = routes.nodes().iter().map(queue).collect();
        *self = Self { number: routes.number, queues };
    }
}

/// The node that a reply names in place of its sender, and its index, if it is known.
fn named_node(error: &LinkError, routes: &Routes) -> Option<(usize, Arc<Node>)> {
    let LinkError::Rejected { detail, .. } = error else { return None };
    let address = NodeAddress::Tcp(detail.split_whitespace().last()?.to_owned());
    let at = routes.nodes().iter().position(|node| *node.address() == address)?;
    Some((at, Arc::clone(routes.nodes().get(at)?)))
}

/// A check that counts as waiting.
#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

impl Counted {
    /// `None`: there are too many.
    fn new(waiting: &Arc<AtomicUsize>) -> Option<Self> {
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
const MAX_WAITING: usize = 4_096;
/// Messages of checks of one worker that wait: 4,096 of ordinary size take a megabyte, four of the largest size have room.
const MAX_KEPT_BYTES: usize = 16 << 20;
