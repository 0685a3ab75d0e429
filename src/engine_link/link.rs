//! The connection of one worker to one node.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Mutex;

use super::connection::Connection;
use super::error::{LinkError, Remedy};
use super::node::Node;
use super::node_counts::RequestKind;
use super::request::{ChargeRequest, RequestOutcomes};
use crate::units::Timestamp;

/// A connection to a node that is made when it is needed, and made again when it is broken. Its runtime is the one of its first user.
#[derive(Debug)]
pub struct Link {
    node: Arc<Node>,
    connection: Mutex<Option<Arc<Connection>>>,
    /// Timeouts of this connection since its last reply.
    timeouts: AtomicU32,
}

impl Link {
    /// A link without a connection.
    pub fn new(node: Arc<Node>) -> Self {
        Self { node, connection: Mutex::new(None), timeouts: AtomicU32::new(0) }
    }

    /// The node.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Sends a request, and reports to the node how that went. Returns the outcomes of all that it asks. If there is no reply in time,
    /// `late` is given those of a reply that comes later.
    ///
    /// Nothing is sent twice but scripts that the node did not know. An error of one check is not always one of the others: in a
    /// cluster, a slot may have moved.
    pub async fn send(
        &self,
        request: &Arc<ChargeRequest>,
        clock: impl Fn() -> Timestamp,
        late: impl FnOnce(RequestOutcomes) + Send + 'static,
    ) -> RequestOutcomes {
        match self.try_send(request, &clock, late).await {
            Ok(outcomes) => outcomes,
            Err(error) => {
                self.failed(&error, &clock).await;
                request.failed(&error)
            }
        }
    }

    /// An error means that there are no outcomes: of the whole request it is not known more than the error says.
    async fn try_send(
        &self,
        request: &Arc<ChargeRequest>,
        clock: &impl Fn() -> Timestamp,
        late: impl FnOnce(RequestOutcomes) + Send + 'static,
    ) -> Result<RequestOutcomes, LinkError> {
        if !self.node.is_up() {
            return Err(LinkError::Down);
        }
        let connection = self.connection().await?;
        let (node, timeout) = (&self.node, self.node.request_timeout());
        let asked = clock();
        node.sent(asked, RequestKind::Charge);
        let sent = Arc::clone(request);
        let late = move |replies: Result<Vec<_>, _>| {
            if let Ok(replies) = replies {
                late(sent.read(&replies).0);
            }
        };
        let replies = connection.pipeline(request.pipeline(), timeout, late).await?;
        let answered = clock();
        node.counts().count_time(answered.since(asked));
        let (mut outcomes, time) = request.read(&replies);
        if let Some(time) = time {
            node.learn_time(asked, answered, time);
        }
        if let Some((pipeline, scripts)) = request.whole_scripts(&outcomes) {
            node.sent(answered, RequestKind::Script);
            let replies = connection.pipeline(pipeline, timeout, drop).await;
            request.read_whole(&scripts, &replies, &mut outcomes);
            if let Err(error) = &replies {
                self.failed(error, clock).await;
                return Ok(outcomes);
            }
        }
        if let Some(expiries) = request.expiries(&replies) {
            // A key without an expiry would stay for ever; the next charge that finds it new tries again.
            let _failed = connection.pipeline(expiries, timeout, drop).await;
        }
        self.timeouts.store(0, Ordering::Relaxed);
        if let Some(error) = outcomes.errors().find(|error| error.remedy() == Remedy::OpenBreaker) {
            node.note(error, clock(), CHANCE);
        } else {
            node.replied(clock(), CHANCE);
            outcomes.errors().for_each(|error| node.counts().count_error(error));
        }
        Ok(outcomes)
    }

    async fn failed(&self, error: &LinkError, clock: &impl Fn() -> Timestamp) {
        self.node.note(error, clock(), CHANCE);
        self.note(error).await;
    }

    /// The connection, which is made if there is none or it has ended.
    async fn connection(&self) -> Result<Arc<Connection>, LinkError> {
        let mut kept = self.connection.lock().await;
        if let Some(connection) = kept.as_ref().filter(|connection| !connection.has_ended()) {
            return Ok(Arc::clone(connection));
        }
        let made = self.node.connect().await.map(Arc::new);
        *kept = made.as_ref().ok().cloned();
        self.timeouts.store(0, Ordering::Relaxed);
        made
    }

    /// Drops a connection that is broken or silent.
    async fn note(&self, error: &LinkError) {
        let is_suspect = match error {
            LinkError::Lost => true,
            LinkError::Timeout | LinkError::Busy => self.timeouts.fetch_add(1, Ordering::Relaxed) + 1 >= TIMEOUTS,
            _ => false,
        };
        if is_suspect {
            *self.connection.lock().await = None;
        }
    }
}

/// Timeouts in a row, after which a connection is taken for broken although nothing says so.
const TIMEOUTS: u32 = 3;
/// Only what probes lead to is jittered, and they are not made here.
const CHANCE: u32 = u32::MAX / 2;
