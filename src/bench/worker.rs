//! The shared state of the tasks of one thread: its connections and counts.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use super::failure::Failure;
use super::plan::Plan;
use super::schedule::Schedule;
use super::session::Session;
use super::socket::Writer;
use super::stats::Stats;
use super::template::Template;
use super::traffic::Picks;
use crate::runtime::clock::Stopwatch;

/// The shared state of the tasks of a thread; no task borrows it while it waits.
pub(super) struct Worker {
    pub(super) plan: Arc<Plan>,
    pub(super) timing: Arc<Timing>,
    pub(super) counts: Arc<LiveCounts>,
    pub(super) connections: Vec<Connection>,
    pub(super) template: Template,
    pub(super) picks: Picks,
    pub(super) result: ThreadResult,
    /// Until when the scheduling task sleeps; 0 while it does not.
    pub(super) asleep_until_ns: u64,
    /// Wakes it earlier.
    pub(super) alarm: Rc<Notify>,
}

/// A connection and its schedule, which continues when the connection is opened again.
pub(super) struct Connection {
    pub(super) session: Session,
    /// `None` while there is no connection.
    pub(super) writer: Option<Rc<Writer>>,
    pub(super) schedule: Schedule,
}

impl Worker {
    /// Makes the checks that are due on one connection, and writes as much as the kernel takes.
    pub(super) fn flush_due(&mut self, at: usize, now_ns: u64) {
        let Some(connection) = self.connections.get_mut(at) else { return };
        let Some(writer) = &connection.writer else { return };
        // The rest is written with the next checks, or when the socket is writable.
        loop {
            connection.session.fill(now_ns, &mut connection.schedule, &mut self.template, &mut self.picks);
            let pending = connection.session.pending();
            if pending.is_empty() {
                return;
            }
            match writer.try_write(pending) {
                Ok(sent) if sent == pending.len() => {
                    connection.session.sent(sent);
                    if !connection.session.has_room() || connection.schedule.next_due().is_none_or(|due| due > now_ns) {
                        return;
                    }
                }
                Ok(sent) => return connection.session.sent(sent),
                // The reading task notices that the connection is lost.
                Err(_) => return,
            }
        }
    }

    /// Sends the checks that are due. Returns the nanoseconds until the next call, or `None` when the run is over. In a closed
    /// loop only the first checks are due without an answer.
    pub(super) fn send_what_is_due(&mut self, first: bool) -> Option<u64> {
        let now_ns = self.timing.now_ns();
        if now_ns >= self.timing.end_ns() {
            return None;
        }
        let mut next_ns = u64::MAX;
        for at in 0..self.connections.len() {
            let due_ns = |worker: &Self| worker.connections.get(at).and_then(Connection::next_ns);
            if (first || self.plan.is_open()) && due_ns(self).is_some_and(|due_ns| due_ns <= now_ns) {
                self.flush_due(at, now_ns);
            }
            next_ns = next_ns.min(due_ns(self).unwrap_or(u64::MAX));
        }
        self.asleep_until_ns = if self.plan.is_open() { next_ns } else { 0 };
        Some(if self.plan.is_open() { next_ns.saturating_sub(now_ns) } else { u64::MAX })
    }

    /// Processes received bytes. Returns how many, or why the connection cannot be used any more.
    pub(super) fn receive(&mut self, at: usize, bytes: &[u8]) -> Result<usize, String> {
        let now_ns = self.timing.now_ns();
        let Some(connection) = self.connections.get_mut(at) else { return Ok(bytes.len()) };
        let taken = connection.session.receive(bytes, now_ns, &mut self.result.stats).map_err(str::to_owned)?;
        if connection.session.is_spent() {
            return Err("the server is going away, or stream numbers are used up".to_owned());
        }
        self.flush_due(at, now_ns);
        self.count();
        // The next check of a connection that can send again may be due earlier than the known one.
        let next_ns = self.connections.get(at).and_then(Connection::next_ns);
        if next_ns.is_some_and(|next_ns| next_ns < self.asleep_until_ns) {
            self.asleep_until_ns = 0;
            self.alarm.notify_one();
        }
        Ok(taken)
    }

    pub(super) fn count(&self) {
        let stats = &self.result.stats;
        self.counts.answered.store(stats.ok + stats.over_limit, Ordering::Relaxed);
        self.counts.errors.store(stats.errors(), Ordering::Relaxed);
    }

    /// Fails the checks on a lost connection.
    pub(super) fn lose(&mut self, at: usize, why: &str) {
        let Some(connection) = self.connections.get_mut(at) else { return };
        connection.session.abandon(Failure::ConnectionLost, why, &mut self.result.stats);
        connection.writer = None;
        self.result.reconnected_because.get_or_insert_with(|| why.to_owned());
        self.count();
    }

    pub(super) fn replace(&mut self, at: usize, session: Session, writer: Writer) {
        let now_ns = self.timing.now_ns();
        let Some(connection) = self.connections.get_mut(at) else { return };
        (connection.session, connection.writer) = (session, Some(Rc::new(writer)));
        self.result.reconnects += 1;
        self.flush_due(at, now_ns);
    }

    pub(super) fn is_over(&self) -> bool {
        self.timing.now_ns() >= self.timing.end_ns()
    }
}

impl Connection {
    /// Whether answers are outstanding, or late checks have not been sent yet.
    pub(super) fn is_unfinished(&self) -> bool {
        self.writer.is_some() && (self.session.under_way() > 0 || self.schedule.has_left())
    }

    /// When the next check is due on a connection that can send. Others continue when an answer comes.
    pub(super) fn next_ns(&self) -> Option<u64> {
        self.schedule.next_due().filter(|_| self.writer.is_some() && self.session.has_room())
    }
}

/// The start and the end of a run. Instants are nanoseconds since `began`.
#[derive(Debug)]
pub(super) struct Timing {
    pub(super) began: Stopwatch,
    /// From here on checks count.
    pub(super) warm_ns: u64,
    /// No check is due from here on; may be moved forward during the run.
    pub(super) end_ns: AtomicU64,
}

impl Timing {
    pub(super) fn now_ns(&self) -> u64 {
        self.began.elapsed().as_ns()
    }

    pub(super) fn end_ns(&self) -> u64 {
        self.end_ns.load(Ordering::Relaxed)
    }
}

/// The progress of a thread. Written only by that thread.
#[derive(Debug, Default)]
pub(super) struct LiveCounts {
    pub(super) answered: AtomicU64,
    pub(super) errors: AtomicU64,
}

/// The result of a thread.
#[derive(Debug)]
pub(super) struct ThreadResult {
    pub(super) stats: Stats,
    /// Checks that were due at the end and had not been sent.
    pub(super) backlog: u64,
    /// The number of connections that were opened again.
    pub(super) reconnects: u64,
    /// The reason, the first time.
    pub(super) reconnected_because: Option<String>,
}

impl ThreadResult {
    pub(super) fn empty() -> Self {
        Self { stats: Stats::new(0, u64::MAX), backlog: 0, reconnects: 0, reconnected_because: None }
    }
}
