//! One node, as the whole process sees it: its breaker, the difference of the clocks, what is counted of it.
//!
//! Workers have connections of their own ([`Link`](super::Link)); the one here is that of the task that probes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis::Value;

use super::breaker::{Breaker, Permission};
use super::connection::{Connection, Login, NodeAddress};
use super::engine_clock::EngineClock;
use super::error::{LinkError, Remedy};
use super::facts::Facts;
use super::node_counts::{NodeCounts, RequestKind};
use crate::units::{Nanos, Timestamp};

/// One node of the engine.
#[derive(Debug)]
pub struct Node {
    address: NodeAddress,
    login: Login,
    request_timeout: Duration,
    state: Mutex<State>,
    /// The breaker is closed, and the node has answered. Written with the state locked.
    is_up: AtomicBool,
    /// The engine's clock less ours, in nanoseconds, as the state knows it.
    clock_offset_ns: AtomicI64,
    counts: NodeCounts,
}

#[derive(Debug)]
struct State {
    /// That of the probes.
    connection: Option<Arc<Connection>>,
    breaker: Breaker,
    /// Whether it has answered a probe.
    has_answered: bool,
    /// Whether it was reported that the node is down.
    is_reported: bool,
    clock: EngineClock,
}

impl Node {
    /// A node that is down until [`probe`](Self::probe) has reached it.
    pub fn new(address: NodeAddress, login: Login, request_timeout: Duration) -> Self {
        let state = State {
            connection: None,
            breaker: Breaker::CLOSED,
            has_answered: false,
            is_reported: false,
            clock: EngineClock::default(),
        };
        Self {
            address,
            login,
            request_timeout,
            state: Mutex::new(state),
            is_up: AtomicBool::new(false),
            clock_offset_ns: AtomicI64::new(0),
            counts: NodeCounts::default(),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> &NodeAddress {
        &self.address
    }

    /// How long a request is waited for.
    pub fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    /// What is counted of it.
    pub fn counts(&self) -> &NodeCounts {
        &self.counts
    }

    /// Whether requests may be sent: the breaker is closed, and the node has answered. Cost: one load.
    pub fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    /// The engine's clock less ours, in nanoseconds.
    pub fn clock_offset_ns(&self) -> i64 {
        self.clock_offset_ns.load(Ordering::Relaxed)
    }

    /// The time by the engine's clock, when ours shows `now`.
    pub fn engine_time(&self, now: Timestamp) -> Timestamp {
        let offset = self.clock_offset_ns();
        let length = Nanos::from_ns(offset.unsigned_abs());
        if offset < 0 { now.minus(length) } else { now.plus(length) }
    }

    /// When [`probe`](Self::probe) is due; `None`: it is not, because the node is up or a probe is under way.
    pub fn next_probe(&self) -> Option<Timestamp> {
        let state = self.state.lock();
        if state.breaker.is_closed() && state.connection.is_none() {
            return Some(Timestamp::EPOCH);
        }
        state.breaker.next_probe()
    }

    /// Makes the connection of the probes if there is none, and asks for the time; what the one task of the process does that probes.
    /// Returns whether the node is up.
    pub async fn probe(&self, clock: impl Fn() -> Timestamp, chance: u32) -> bool {
        if self.state.lock().breaker.permit(clock()) == Permission::Nothing {
            return false;
        }
        let result = async {
            let connection = self.probing_connection().await?;
            let asked = clock();
            self.counts.count_request(RequestKind::Probe);
            let reply = connection.ask(redis::cmd("TIME"), PROBE_TIMEOUT.max(self.request_timeout)).await?;
            let time = engine_time(&reply).ok_or(LinkError::Malformed)?;
            Ok((connection, asked, time))
        };
        match result.await {
            Ok((connection, asked, time)) => {
                let mut state = self.state.lock();
                (state.connection, state.has_answered) = (Some(connection), true);
                drop(state);
                self.learn_time(asked, clock(), time);
                self.replied(clock(), chance);
            }
            Err(error) => {
                self.note(&error, clock(), chance);
                let mut state = self.state.lock();
                if matches!(error.remedy(), Remedy::CountTimeout) {
                    state.connection = None;
                }
                // Errors that do not open a breaker by themselves fail a probe all the same.
                if state.breaker.failed(clock(), chance) {
                    self.went(&mut state, &error);
                }
            }
        }
        self.is_up()
    }

    /// What the node reports of itself, by the connection of the probes.
    ///
    /// # Errors
    /// As for [`ask`](Connection::ask); they concern nothing but this report.
    pub async fn facts(&self) -> Result<Facts, LinkError> {
        let info = self.ask(redis::cmd("INFO")).await?;
        Ok(Facts::read(&redis::from_redis_value::<String>(info).unwrap_or_default()))
    }

    /// Enters `id` in the sorted set `key`, and drops from it who has been absent for too long. Returns how many are left.
    ///
    /// # Errors
    /// As for [`facts`](Self::facts).
    pub async fn heartbeat(&self, key: &str, id: &str, now: Timestamp, absence: Nanos) -> Result<u32, LinkError> {
        let time = self.engine_time(now);
        let millis = |time: Timestamp| time.as_ns() / 1_000_000;
        let mut beat = redis::pipe();
        beat.cmd("ZADD").arg(key).arg(millis(time)).arg(id);
        beat.cmd("ZREMRANGEBYSCORE").arg(key).arg("-inf").arg(millis(time.minus(absence)));
        beat.cmd("PEXPIREAT").arg(key).arg(millis(time.plus(absence)));
        beat.cmd("ZCARD").arg(key);
        let connection = self.state.lock().connection.clone().ok_or(LinkError::Down)?;
        self.counts.count_request(RequestKind::Probe);
        match connection.pipeline(beat, CONNECT_TIMEOUT, drop).await?.last() {
            Some(Value::Int(count)) => Ok(u32::try_from(*count).unwrap_or(0)),
            Some(Value::ServerError(error)) => Err(LinkError::rejected(error)),
            _ => Err(LinkError::Malformed),
        }
    }

    async fn ask(&self, command: redis::Cmd) -> Result<Value, LinkError> {
        let connection = self.state.lock().connection.clone().ok_or(LinkError::Down)?;
        self.counts.count_request(RequestKind::Probe);
        connection.ask(command, CONNECT_TIMEOUT).await
    }

    /// Makes a connection.
    pub(super) async fn connect(&self) -> Result<Connection, LinkError> {
        Connection::open(&self.address, &self.login, CONNECT_TIMEOUT).await
    }

    async fn probing_connection(&self) -> Result<Arc<Connection>, LinkError> {
        let known = self.state.lock().connection.clone();
        match known.filter(|connection| !connection.has_ended()) {
            Some(connection) => Ok(connection),
            None => self.connect().await.map(Arc::new),
        }
    }

    /// A request was sent.
    pub(super) fn sent(&self, now: Timestamp, kind: RequestKind) {
        self.counts.count_request(kind);
        self.state.lock().breaker.sent(now);
    }

    /// A reply came in time.
    pub(super) fn replied(&self, now: Timestamp, chance: u32) {
        let mut state = self.state.lock();
        state.breaker.replied(now, chance);
        if !state.breaker.is_closed() || !state.has_answered {
            return;
        }
        let (was_up, node) = (self.is_up.swap(true, Ordering::Relaxed), &self.address);
        // One that goes again and again right after it is back is not back before it has served for a moment.
        let is_back = state.is_reported && (state.breaker.is_steady(now) || !was_up && !state.breaker.has_relapsed());
        if is_back {
            state.is_reported = false;
            tracing::info!(%node, "the store is back");
        } else if !was_up && !state.is_reported {
            tracing::info!(%node, "the store answers");
        }
    }

    /// The engine showed `time` between `asked` and `answered`.
    pub(super) fn learn_time(&self, asked: Timestamp, answered: Timestamp, time: Timestamp) {
        let offset_ns = self.state.lock().clock.learn(asked, answered, time);
        self.clock_offset_ns.store(offset_ns, Ordering::Relaxed);
    }

    /// Draws the conclusions from an error.
    pub(super) fn note(&self, error: &LinkError, now: Timestamp, chance: u32) {
        self.counts.count_error(error);
        let mut state = self.state.lock();
        let opens = match error.remedy() {
            Remedy::OpenBreaker => {
                if matches!(error, LinkError::Lost | LinkError::Unreachable(_)) {
                    state.connection = None;
                }
                state.breaker.failed(now, chance)
            }
            // As many requests are under way as may be: they are late, too.
            Remedy::CountTimeout => state.breaker.timed_out(now, chance),
            // An answer, although not the one that was wanted.
            Remedy::Fail if matches!(error, LinkError::Rejected { .. } | LinkError::Malformed) => {
                state.breaker.replied(now, chance);
                false
            }
            Remedy::Fail | Remedy::FollowTopology | Remedy::SendScript => false,
        };
        if opens {
            self.went(&mut state, error);
        }
    }

    /// The breaker has opened.
    fn went(&self, state: &mut State, error: &LinkError) {
        self.is_up.store(false, Ordering::Relaxed);
        self.counts.count_opened();
        if !std::mem::replace(&mut state.is_reported, true) {
            let node = &self.address;
            tracing::warn!(%node, %error, "the store is down: checks are answered by --store-when-down");
        }
    }
}

/// The reply to TIME: seconds and microseconds, as texts.
pub(super) fn engine_time(reply: &Value) -> Option<Timestamp> {
    let (seconds, micros): (u64, u64) = redis::from_redis_value(reply.clone()).ok()?;
    Some(Timestamp::from_ns(seconds.saturating_mul(1_000_000).saturating_add(micros).saturating_mul(1_000)))
}

/// For a connection to be made, and for what does not keep a check waiting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// For the answer to a probe, at least: nobody waits for it, and a --store-timeout of 1 ms would keep a node down that is only far.
const PROBE_TIMEOUT: Duration = Duration::from_millis(100);
