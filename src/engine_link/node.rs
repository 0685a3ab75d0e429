//! One node, whose connection is made and dropped here, with its breaker and the difference of the clocks.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use redis::Value;

use super::breaker::{Breaker, Permission};
use super::connection::{Connection, Login, NodeAddress};
use super::error::{LinkError, Remedy};
use super::scripted::Scripted;
use crate::units::{Nanos, Timestamp};

/// One node of the engine, as one worker sees it: at most one connection.
#[derive(Debug)]
pub struct Node {
    address: NodeAddress,
    login: Login,
    request_timeout: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    connection: Option<Arc<Connection>>,
    breaker: Breaker,
    /// The engine's clock less ours, in nanoseconds.
    clock_offset_ns: i64,
}

impl Node {
    /// A node without a connection; the first one is made by [`probe`](Self::probe).
    pub fn new(address: NodeAddress, login: Login, request_timeout: Duration) -> Self {
        let state = State { connection: None, breaker: Breaker::CLOSED, clock_offset_ns: 0 };
        Self { address, login, request_timeout, state: Mutex::new(state) }
    }

    /// Whether requests may be sent: the breaker is closed, and there is a connection.
    pub fn is_up(&self) -> bool {
        let state = self.state.lock();
        state.breaker.is_closed() && state.connection.is_some()
    }

    /// The time by the engine's clock, when ours shows `now`.
    pub fn engine_time(&self, now: Timestamp) -> Timestamp {
        let offset = self.state.lock().clock_offset_ns;
        let length = Nanos::from_ns(offset.unsigned_abs());
        if offset < 0 { now.minus(length) } else { now.plus(length) }
    }

    /// When [`probe`](Self::probe) is due; `None`: it is not.
    pub fn next_probe(&self) -> Option<Timestamp> {
        let state = self.state.lock();
        if state.breaker.is_closed() && state.connection.is_none() {
            return Some(Timestamp::EPOCH);
        }
        state.breaker.next_probe()
    }

    /// Makes the connection if there is none, and asks for the time; what the one task of the process does that probes. Returns whether
    /// the node is up.
    pub async fn probe(&self, clock: impl Fn() -> Timestamp, chance: u32) -> bool {
        let connection = {
            let mut state = self.state.lock();
            if state.breaker.permit(clock()) == Permission::Nothing {
                return false;
            }
            state.connection.clone()
        };
        let result = async {
            let connection = match connection {
                Some(connection) => connection,
                None => Arc::new(Connection::open(&self.address, &self.login, CONNECT_TIMEOUT).await?),
            };
            let asked = clock();
            let reply = connection.ask(redis::cmd("TIME"), self.request_timeout).await?;
            Ok((connection, asked, engine_time(&reply).ok_or(LinkError::Malformed)?))
        };
        match result.await {
            Ok((connection, asked, time)) => {
                let mut state = self.state.lock();
                state.connection = Some(connection);
                state.clock_offset_ns = clock_offset_ns(asked, clock(), time);
                state.breaker.replied(clock(), chance);
                state.breaker.is_closed()
            }
            Err(error) => {
                self.note(&error, clock(), chance);
                let mut state = self.state.lock();
                if !matches!(error.remedy(), Remedy::CountTimeout) {
                    // Errors that do not open a breaker by themselves fail a probe all the same.
                    state.breaker.failed(clock(), chance);
                }
                false
            }
        }
    }

    /// Sends a batch of charges or leases: EVALSHA, and EVAL once if the node does not know the script. A reply that comes too late is
    /// given to `late`.
    ///
    /// # Errors
    /// See [`LinkError`]. Only `NOSCRIPT` is followed by a second request.
    pub async fn charge<B: Scripted>(
        &self,
        batch: B,
        clock: impl Fn() -> Timestamp,
        chance: u32,
        late: impl Fn(B::Reply) + Clone + Send + 'static,
    ) -> Result<B::Reply, LinkError> {
        let connection = {
            let mut state = self.state.lock();
            let connection = state.connection.clone().filter(|_| state.breaker.is_closed());
            let connection = connection.ok_or_else(|| LinkError::Unreachable("the node is down".to_owned()))?;
            state.breaker.sent(clock());
            connection
        };
        let asked = clock();
        let read_late = |batch: B| {
            let late = late.clone();
            move |reply: Result<Value, LinkError>| {
                if let Some(reply) = reply.ok().and_then(|reply| batch.read(&reply).ok()) {
                    late(reply);
                }
            }
        };
        let mut reply = connection.request(batch.command(), self.request_timeout, read_late(batch.clone())).await;
        if reply.as_ref().is_err_and(|error| error.remedy() == Remedy::SendScript) {
            let command = batch.command_with_script();
            reply = connection.request(command, self.request_timeout, read_late(batch.clone())).await;
        }
        let read = reply.and_then(|reply| batch.read(&reply));
        match &read {
            Ok(reply) => {
                let mut state = self.state.lock();
                state.breaker.replied(clock(), chance);
                state.clock_offset_ns = clock_offset_ns(asked, clock(), B::engine_time(reply));
            }
            Err(error) => self.note(error, clock(), chance),
        }
        read
    }

    /// Draws the conclusions from an error.
    fn note(&self, error: &LinkError, now: Timestamp, chance: u32) {
        let mut state = self.state.lock();
        match error.remedy() {
            Remedy::OpenBreaker => {
                state.breaker.failed(now, chance);
                if matches!(error, LinkError::Lost | LinkError::Unreachable(_)) {
                    state.connection = None;
                }
            }
            Remedy::CountTimeout => {
                state.breaker.timed_out(now, chance);
                if state.breaker.is_connection_suspect() {
                    state.connection = None;
                }
            }
            // An answer, although not the one that was wanted.
            Remedy::Fail if *error != LinkError::Busy => {
                state.breaker.replied(now, chance);
            }
            Remedy::Fail | Remedy::FollowTopology | Remedy::SendScript => {}
        }
    }
}

/// The engine's clock less ours, in nanoseconds: the engine's time is that of the middle between question and answer.
pub(super) fn clock_offset_ns(asked: Timestamp, answered: Timestamp, engine: Timestamp) -> i64 {
    let middle = asked.plus(Nanos::from_ns(answered.since(asked).as_ns() / 2));
    let signed = |ns: u64| i64::try_from(ns).unwrap_or(i64::MAX);
    signed(engine.since(middle).as_ns()) - signed(middle.since(engine).as_ns())
}

/// The reply to TIME: seconds and microseconds, as texts.
pub(super) fn engine_time(reply: &Value) -> Option<Timestamp> {
    let (seconds, micros): (u64, u64) = redis::from_redis_value(reply.clone()).ok()?;
    Some(Timestamp::from_ns(seconds.saturating_mul(1_000_000).saturating_add(micros).saturating_mul(1_000)))
}

/// For a connection to be made, off the path of checks.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
