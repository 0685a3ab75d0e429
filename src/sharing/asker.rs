//! What one worker asks: checks and leases wait in a queue for each node, and all that wait are sent in one request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::SharedStore;
use super::open_lease::late;
use super::queue::{Counted, MAX_WAITING, NotAsked, Queue, Queues, StoreAnswer, Waiting};
use super::routes::Routes;
use crate::engine_link::{
    ChargeRequest, CheckOutcome, Link, LinkError, NodeAddress, Remedy, RequestForm, RequestOutcomes, SharedCheck,
};
use crate::store::LeaseAsk;
use crate::store::lease::Now;
use crate::units::Nanos;

/// Asks for the checks of one worker. Its connections are driven by the runtime of the worker.
#[derive(Debug)]
pub struct Asker {
    pub(super) store: Arc<SharedStore>,
    queues: Mutex<Queues>,
    /// Something was queued since the last time that it was sent.
    pub(super) has_queued: AtomicBool,
    /// A task of its own will send it.
    is_sending: AtomicBool,
    /// Charges without an answer.
    waiting: Arc<AtomicUsize>,
    kept: Arc<Kept>,
}

/// The checks of a worker that wait.
#[derive(Debug, Default)]
struct Kept {
    checks: AtomicUsize,
    /// Of their messages.
    bytes: AtomicUsize,
}

/// The message of a check that waits.
#[derive(Debug)]
pub struct KeptMessage {
    bytes: Box<[u8]>,
    kept: Arc<Kept>,
}

impl KeptMessage {
    /// The message.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for KeptMessage {
    fn drop(&mut self) {
        self.kept.checks.fetch_sub(1, Ordering::Relaxed);
        self.kept.bytes.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

impl Asker {
    /// Asks for nothing yet.
    pub fn new(store: Arc<SharedStore>) -> Arc<Self> {
        Arc::new(Self {
            store,
            queues: Mutex::default(),
            has_queued: AtomicBool::new(false),
            is_sending: AtomicBool::new(false),
            waiting: Arc::default(),
            kept: Arc::default(),
        })
    }

    /// The engine.
    pub fn store(&self) -> &Arc<SharedStore> {
        &self.store
    }

    /// The present time, by our clock and by the engine's.
    pub fn now(&self) -> Now {
        self.store.now()
    }

    /// How long a check waits for an answer, if its caller has this timeout.
    pub fn wait(&self, timeout: Option<Nanos>) -> Duration {
        let half = timeout.map(|timeout| Duration::from(timeout) / 2);
        half.map_or(self.store.timeout(), |half| half.min(self.store.timeout()))
    }

    /// Keeps the message of a check that is to wait; `None`: too many checks wait, or they are too large.
    pub fn keep(&self, message: &[u8]) -> Option<KeptMessage> {
        let checks = self.kept.checks.fetch_add(1, Ordering::Relaxed);
        let bytes = self.kept.bytes.fetch_add(message.len(), Ordering::Relaxed);
        // Dropped, it counts no longer.
        let kept = KeptMessage { bytes: message.into(), kept: Arc::clone(&self.kept) };
        (checks < MAX_WAITING && bytes.saturating_add(message.len()) <= MAX_KEPT_BYTES).then_some(kept)
    }

    /// Asks for a check; it is sent by [`send`](Self::send).
    ///
    /// # Errors
    /// It is not, and nothing is charged.
    pub fn ask(self: &Arc<Self>, check: Box<SharedCheck>) -> Result<StoreAnswer, NotAsked> {
        let routes = self.store.routes.load();
        if routes.is_cluster() && !check.is_in_one_slot() {
            return self.ask_apart(&check);
        }
        if !check.fits() {
            return Err(NotAsked::Full);
        }
        let queue = self.queue_among(&routes, || Some(check.slot())).ok_or(NotAsked::Down)?;
        if !queue.link.node().is_up() {
            return Err(NotAsked::Down);
        }
        let counted = Counted::new(&self.waiting).ok_or(NotAsked::Full)?;
        let (answer, receiver) = oneshot::channel();
        queue.state.lock().waiting.push_back(Waiting { check, answer, has_moved: false, _counted: counted });
        self.has_queued.store(true, Ordering::Release);
        self.store.counts.waited.fetch_add(1, Ordering::Relaxed);
        Ok(StoreAnswer::of(receiver))
    }

    /// Asks for several checks at once, and waits for all answers: for operators, and for what was spent. One that is not asked is
    /// [`LinkError::Down`]: nothing is charged.
    pub async fn ask_all(
        self: &Arc<Self>,
        checks: impl IntoIterator<Item = SharedCheck>,
    ) -> Vec<Result<CheckOutcome, LinkError>> {
        let asked: Vec<_> = checks.into_iter().map(|check| self.ask(Box::new(check))).collect();
        self.send();
        let mut outcomes = Vec::with_capacity(asked.len());
        for answer in asked {
            outcomes.push(match answer {
                Ok(mut answer) => answer.wait().await,
                Err(_) => Err(LinkError::Down),
            });
        }
        outcomes
    }

    /// Sends what waits, as far as requests may be under way, once the tasks have run that are ready: what they ask shares the request.
    /// Needs the runtime of the worker.
    pub fn send(self: &Arc<Self>) {
        if !self.has_queued.swap(false, Ordering::AcqRel) || self.is_sending.swap(true, Ordering::AcqRel) {
            return;
        }
        let asker = Arc::clone(self);
        tokio::spawn(async move {
            asker.is_sending.store(false, Ordering::Release);
            let queues = asker.queues.lock().queues.clone();
            for queue in queues {
                asker.send_from(&queue);
            }
        });
    }

    /// What has no room now is sent when a reply has come.
    pub(super) fn send_from(self: &Arc<Self>, queue: &Arc<Queue>) {
        while let Some((request, sent)) = queue.next_request(&self.store) {
            let (asker, queue, request) = (Arc::clone(self), Arc::clone(queue), Arc::new(request));
            tokio::spawn(async move {
                let store = Arc::clone(&asker.store);
                let requested: Vec<LeaseAsk> = sent.leases.iter().map(|lease| lease.asked.clone()).collect();
                let is_late = move |outcomes: RequestOutcomes| late(&store, &requested, &outcomes);
                let RequestOutcomes { checks, leases } =
                    queue.link.send(&request, || asker.store.clock.now(), is_late).await;
                asker.answer(sent.checks, checks);
                asker.end_leases(&queue, sent.leases, leases);
                queue.state.lock().under_way -= 1;
                asker.send_from(&queue);
            });
        }
    }

    /// Hands out the answers. What another node has is asked for once more.
    fn answer(self: &Arc<Self>, sent: Vec<Waiting>, outcomes: Vec<Result<CheckOutcome, LinkError>>) {
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

    /// Sends a check to the node that has its counters now.
    async fn follow(self: &Arc<Self>, waiting: Waiting, error: &LinkError) {
        let slot = waiting.check.slot();
        let Some(queue) = self.moved_to(error, || Some(slot)).await else {
            return drop(waiting.answer.send(Err(LinkError::Down)));
        };
        if error.is_ask() {
            return self.ask_node(waiting, &queue).await;
        }
        queue.state.lock().waiting.push_back(waiting);
        self.send_from(&queue);
    }

    /// The queue of the node that has the counters of a slot now: the one that the reply names if it is known, else the one that the
    /// topology names once it has been read again.
    pub(super) async fn moved_to(&self, error: &LinkError, slot: impl FnOnce() -> Option<u16>) -> Option<Arc<Queue>> {
        let named = named_node(error, &self.store.routes.load());
        if let Some(at) = named {
            if !error.is_ask() {
                self.store.want_refresh();
            }
            return self.queues.lock().at(&self.store.routes.load(), at);
        }
        let refreshed = tokio::time::timeout(self.store.timeout(), self.store.refreshed()).await;
        refreshed.ok().and_then(|()| self.queue_of(slot))
    }

    /// A request to a node to which a slot is moving.
    pub(super) fn asking_request(&self, queue: &Queue) -> ChargeRequest {
        ChargeRequest::new(queue.now(&self.store).engine, RequestForm { by_slot: true, is_asking: true })
    }

    /// Sends one check to the node to which its slot is moving.
    async fn ask_node(&self, waiting: Waiting, queue: &Queue) {
        let mut request = self.asking_request(queue);
        if request.add(&waiting.check).is_err() {
            return;
        }
        let link = Link::new(Arc::clone(queue.link.node()));
        let outcomes = link.send(&Arc::new(request), || self.store.clock.now(), drop).await;
        let outcome = outcomes.checks.into_iter().next().unwrap_or(Err(LinkError::Malformed));
        // An error means that nobody waits any longer.
        drop(waiting.answer.send(outcome));
    }

    /// The queue of the node that has the counters of a slot, which is asked for only in a cluster.
    pub(super) fn queue_of(&self, slot: impl FnOnce() -> Option<u16>) -> Option<Arc<Queue>> {
        self.queue_among(&self.store.routes.load(), slot)
    }

    /// The same, by these routes.
    fn queue_among(&self, routes: &Routes, slot: impl FnOnce() -> Option<u16>) -> Option<Arc<Queue>> {
        let at = routes.node_of(slot)?;
        self.queues.lock().at(routes, at)
    }
}

/// The place of the node that a reply names in place of its sender, if it is known.
fn named_node(error: &LinkError, routes: &Routes) -> Option<usize> {
    let LinkError::Rejected { detail, .. } = error else { return None };
    let address = NodeAddress::Tcp(detail.split_whitespace().last()?.to_owned());
    routes.nodes().iter().position(|node| *node.address() == address)
}

/// Messages of checks of one worker that wait: 4,096 of ordinary size take a megabyte, four of the largest size have room.
const MAX_KEPT_BYTES: usize = 16 << 20;
