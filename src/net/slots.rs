//! The connections of a port: how many there may be, of whom, and which one has to go for another.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::AbortHandle;

use super::closed::Closed;
use crate::runtime::clock::Stopwatch;

/// How many connections one port may have, and how many there were. Shared by all that accept on the port.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionLimit(Arc<State>);

#[derive(Debug)]
struct State {
    port: &'static str,
    max: usize,
    /// 0: as many as there are slots.
    max_per_client: usize,
    taken: Mutex<Taken>,
    rejected: AtomicU64,
    /// By the index of [`Closed`].
    closed: [AtomicU64; Closed::ALL.len()],
    stopwatch: Stopwatch,
    /// The seconds of the stopwatch at the last tick, so that connections need not read a clock.
    now_s: AtomicU32,
    /// The bytes that the answers of all connections occupy which their peers have not read.
    unread_bytes: AtomicUsize,
}

#[derive(Debug, Default)]
struct Taken {
    slots: HashMap<u64, Arc<Slot>>,
    next: u64,
    /// The connections of each client, if they are bounded.
    clients: HashMap<IpAddr, usize>,
    /// Until this second no connection has been idle for long enough.
    none_idle_until_s: u32,
}

/// The place of one connection; its end is noticed when the connection's task drops its [`Permit`].
#[derive(Debug)]
pub(crate) struct Slot {
    port: ConnectionLimit,
    client: Option<IpAddr>,
    /// When the last request arrived, in seconds of the port's stopwatch.
    last_s: AtomicU32,
    /// Requests that are not answered, or answers that are not sent.
    open: AtomicUsize,
    /// The bytes of unread answers, as far as they are counted.
    unread_bytes: AtomicUsize,
    /// The bytes of incomplete requests, as far as they are counted.
    incomplete_bytes: AtomicUsize,
    /// The second since which there were unread answers at each look.
    unread_since_s: AtomicU32,
    /// Whether the connection is to end, and its bytes are to be read no longer.
    ending: AtomicBool,
    /// Whether that is because of what it did.
    hostile: AtomicBool,
    /// Whether it is to end at once.
    given_up: AtomicBool,
    /// The bytes that may still be read in this turn.
    turn: AtomicUsize,
    /// Those of a whole turn.
    whole_turn: AtomicUsize,
    /// The bytes that were read since its peer last had the answers to all that it asked.
    unearned_bytes: AtomicUsize,
    waker: OnceLock<Waker>,
    task: OnceLock<AbortHandle>,
}

/// What a connection has to do in its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Go on.
    Serve,
    /// Send the peer a GOAWAY, and end.
    SayGoodbye,
    /// End at once.
    GiveUp,
}

/// Frees the slot when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    id: u64,
    slot: Arc<Slot>,
}

impl ConnectionLimit {
    /// Room for `max` connections, of which `max_per_client` from one address (0: no bound of its own).
    pub(crate) fn new(port: &'static str, max: u32, max_per_client: u32) -> Self {
        let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Self(Arc::new(State {
            port,
            max: count(max),
            max_per_client: count(max_per_client),
            taken: Mutex::default(),
            rejected: AtomicU64::new(0),
            closed: Default::default(),
            stopwatch: Stopwatch::start(),
            now_s: AtomicU32::new(0),
            unread_bytes: AtomicUsize::new(0),
        }))
    }

    /// Connections open now.
    pub(crate) fn open(&self) -> usize {
        self.0.taken.lock().slots.len()
    }

    /// Connections closed at once since the start, because every slot was taken.
    pub(crate) fn rejected(&self) -> u64 {
        self.0.rejected.load(Ordering::Relaxed)
    }

    /// Connections that were closed or not accepted for another reason: the port, the reason, and how many.
    pub(crate) fn closed(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> + '_ {
        let counts = Closed::ALL.iter().zip(&self.0.closed);
        counts.map(|(reason, count)| (self.0.port, reason.name(), count.load(Ordering::Relaxed)))
    }

    fn count(&self, reason: Closed) {
        if let Some(count) = Closed::ALL.iter().position(|each| *each == reason).and_then(|at| self.0.closed.get(at)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A slot for a connection from this address; if none is free, that of the connection that has been idle for longest. `None`, which
    /// is counted: the connection has to be closed.
    pub(super) fn take(&self, client: Option<IpAddr>) -> Option<Permit> {
        self.tick();
        let (now_s, client) = (self.now_s(), client.map(one_client));
        let mut taken = self.0.taken.lock();
        if let Some(client) = client.filter(|_| self.0.max_per_client > 0) {
            let count = taken.clients.entry(client).or_default();
            if *count >= self.0.max_per_client {
                drop(taken);
                self.count(Closed::PerClient);
                return None;
            }
            *count += 1;
        }
        if taken.slots.len() >= self.0.max && !self.end_idle(&mut taken, now_s) {
            self.forget(&mut taken, client);
            drop(taken);
            self.0.rejected.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let slot = Arc::new(Slot {
            port: self.clone(),
            client,
            last_s: AtomicU32::new(now_s),
            open: AtomicUsize::new(0),
            unread_bytes: AtomicUsize::new(0),
            incomplete_bytes: AtomicUsize::new(0),
            unread_since_s: AtomicU32::new(0),
            ending: AtomicBool::new(false),
            hostile: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
            turn: AtomicUsize::new(MAX_PROBATION_TURN_BYTES),
            whole_turn: AtomicUsize::new(MAX_PROBATION_TURN_BYTES),
            unearned_bytes: AtomicUsize::new(usize::MAX),
            waker: OnceLock::new(),
            task: OnceLock::new(),
        });
        let id = taken.next;
        taken.next = taken.next.wrapping_add(1);
        taken.slots.insert(id, Arc::clone(&slot));
        Some(Permit { id, slot })
    }

    /// Ends the connection that has been idle for longest, and takes its slot away.
    fn end_idle(&self, taken: &mut Taken, now_s: u32) -> bool {
        if now_s < taken.none_idle_until_s {
            return false;
        }
        let idle = taken.slots.iter().filter(|(_, slot)| slot.open.load(Ordering::Relaxed) == 0);
        let oldest = idle.map(|(id, slot)| (slot.last_s.load(Ordering::Relaxed), *id)).min();
        let Some((_, id)) = oldest.filter(|(last_s, _)| now_s.saturating_sub(*last_s) >= MIN_IDLE_S) else {
            // Nobody becomes idle for long enough before this; until then, each new connection would look at all of them.
            let next_s = oldest.map_or(now_s, |(last_s, _)| last_s).saturating_add(MIN_IDLE_S);
            taken.none_idle_until_s = next_s.max(now_s.saturating_add(1));
            return false;
        };
        if let Some(slot) = taken.slots.remove(&id) {
            self.forget(taken, slot.client);
            slot.end(Closed::Idle);
        }
        true
    }

    /// Subtracts a connection from those of its client.
    fn forget(&self, taken: &mut Taken, client: Option<IpAddr>) {
        if let Some(client) = client.filter(|_| self.0.max_per_client > 0)
            && let Some(count) = taken.clients.get_mut(&client)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.clients.remove(&client);
            }
        }
    }

    /// Ends the connection whose answers have been unread for longest, of several the one with the most.
    fn end_unread(&self) {
        self.end_largest(Closed::Unread, |slot| {
            let since_s = slot.unread_since_s.load(Ordering::Relaxed);
            let bytes = slot.unread_bytes.load(Ordering::Relaxed);
            (bytes > 0).then_some((std::cmp::Reverse(since_s), bytes))
        });
    }

    /// Ends the connection that holds the most bytes of incomplete requests: one on probation, if there is one. It holds them for some more
    /// time.
    fn end_incomplete(&self) -> Option<Arc<Slot>> {
        self.end_largest(Closed::Incomplete, |slot| {
            let bytes = slot.incomplete_bytes();
            (bytes > 0).then_some((slot.is_on_probation(), bytes))
        })
    }

    /// Ends the connection with the largest `size`, of those that have one and do not end already.
    fn end_largest<K: Ord>(&self, reason: Closed, size: impl Fn(&Slot) -> Option<K>) -> Option<Arc<Slot>> {
        let taken = self.0.taken.lock();
        let staying = taken.slots.values().filter(|slot| !slot.ending.load(Ordering::Relaxed));
        let largest = staying.filter_map(|slot| Some((size(slot)?, slot))).max_by(|(a, _), (b, _)| a.cmp(b));
        let largest = largest.map(|(_, slot)| Arc::clone(slot));
        drop(taken);
        largest.inspect(|slot| slot.end(reason))
    }

    /// Notes how late it is; called each second.
    pub(super) fn tick(&self) {
        let now_s = u32::try_from(self.0.stopwatch.elapsed().as_secs_ceil()).unwrap_or(u32::MAX);
        self.0.now_s.store(now_s, Ordering::Relaxed);
    }

    fn now_s(&self) -> u32 {
        self.0.now_s.load(Ordering::Relaxed)
    }
}

/// What counts as one client: of IPv6 a network of 64 bits, which is what one client has.
fn one_client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        IpAddr::V4(address) => IpAddr::V4(address),
    }
}

impl Slot {
    /// That of a connection without a port.
    #[cfg(test)]
    pub(crate) fn alone() -> Arc<Self> {
        Arc::clone(ConnectionLimit::new("test", 1, 0).take(None).unwrap().slot())
    }

    /// The task of the connection.
    pub(super) fn run_by(&self, task: AbortHandle) {
        // It is set once.
        let _before = self.task.set(task);
    }

    /// Begins the next turn of the connection on its thread: it may read so much again.
    pub(crate) fn begin_turn(&self, waker: &Waker) -> Turn {
        let bytes = if self.is_on_probation() { MAX_PROBATION_TURN_BYTES } else { MAX_TURN_BYTES };
        self.turn.store(bytes, Ordering::Relaxed);
        self.whole_turn.store(bytes, Ordering::Relaxed);
        // The waker of a task stays the same.
        self.waker.get_or_init(|| waker.clone());
        if self.given_up.load(Ordering::Relaxed) {
            Turn::GiveUp
        } else if self.ending.load(Ordering::Relaxed) {
            Turn::SayGoodbye
        } else {
            Turn::Serve
        }
    }

    /// Whether the connection waits for the others before its turn: it is new, or has sent much and not read all answers since. One that is
    /// to end at once does not wait.
    pub(super) fn is_on_probation(&self) -> bool {
        self.unearned_bytes.load(Ordering::Relaxed) > MAX_UNEARNED_BYTES && !self.given_up.load(Ordering::Relaxed)
    }

    /// The bytes that may still be read in this turn.
    pub(super) fn may_read(&self) -> usize {
        self.turn.load(Ordering::Relaxed)
    }

    /// Whether this is the beginning of a turn.
    pub(super) fn has_read_nothing(&self) -> bool {
        self.may_read() == self.whole_turn.load(Ordering::Relaxed)
    }

    /// The peer has closed the connection: it is to end at once.
    pub(super) fn leave(&self) {
        self.given_up.store(true, Ordering::Relaxed);
        self.wake();
    }

    /// So much was read.
    pub(super) fn spend(&self, bytes: usize) {
        // Only the connection's own thread writes them.
        self.turn.store(self.turn.load(Ordering::Relaxed).saturating_sub(bytes), Ordering::Relaxed);
        let unearned_bytes = self.unearned_bytes.load(Ordering::Relaxed).saturating_add(bytes);
        self.unearned_bytes.store(unearned_bytes, Ordering::Relaxed);
    }

    /// The peer has asked for something, and has been sent all answers.
    pub(crate) fn earn(&self) {
        self.unearned_bytes.store(0, Ordering::Relaxed);
    }

    /// Streams that were open after the last turn.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Requests have arrived, which keeps the connection from being idle.
    pub(crate) fn heard(&self) {
        self.last_s.store(self.port.now_s(), Ordering::Relaxed);
    }

    /// The number of streams on which something is to be done or to be sent.
    pub(crate) fn set_open(&self, count: usize) {
        if self.open.load(Ordering::Relaxed) != count {
            self.open.store(count, Ordering::Relaxed);
        }
    }

    /// One request more, until it is answered.
    pub(super) fn opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.heard();
    }

    /// One request less.
    pub(super) fn answered(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.heard();
        self.earn();
    }

    /// The bytes that unread answers occupy. Beyond a bound for the connection it ends; beyond one for the port, the connection ends that has
    /// left its answers unread for longest.
    pub(crate) fn set_unread(self: &Arc<Self>, bytes: usize) {
        let before = self.unread_bytes.load(Ordering::Relaxed);
        if before == bytes {
            return;
        }
        if before == 0 || bytes < before {
            self.unread_since_s.store(self.port.now_s(), Ordering::Relaxed);
        }
        self.unread_bytes.store(bytes, Ordering::Relaxed);
        let all = &self.port.0.unread_bytes;
        if bytes < before {
            all.fetch_sub(before - bytes, Ordering::Relaxed);
            return;
        }
        let more = bytes - before;
        if all.fetch_add(more, Ordering::Relaxed).saturating_add(more) > MAX_UNREAD_BYTES {
            self.port.end_unread();
        }
        if bytes > MAX_CONNECTION_UNREAD_BYTES {
            self.end(Closed::Unread);
        }
    }

    /// So many bytes more are of requests that are incomplete.
    pub(super) fn add_incomplete(&self, bytes: usize) {
        self.incomplete_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes less.
    pub(super) fn subtract_incomplete(&self, bytes: usize) {
        self.incomplete_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The bytes of requests that are incomplete.
    pub(super) fn incomplete_bytes(&self) -> usize {
        self.incomplete_bytes.load(Ordering::Relaxed)
    }

    /// Ends the connection of the port that holds the most of them, and returns it.
    pub(super) fn end_incomplete(&self) -> Option<Arc<Self>> {
        self.port.end_incomplete()
    }

    /// Ends the connection, which is counted once: it may say goodbye, for a moment.
    pub(crate) fn end(self: &Arc<Self>, reason: Closed) {
        if self.ending.swap(true, Ordering::Relaxed) {
            return;
        }
        self.hostile.store(reason != Closed::Idle, Ordering::Relaxed);
        self.port.count(reason);
        tracing::debug!(port = self.port.0.port, reason = reason.name(), client = ?self.client, "connection closed");
        if matches!(reason, Closed::Unread | Closed::Incomplete) {
            // Its memory is needed now.
            self.given_up.store(true, Ordering::Relaxed);
        }
        self.wake();
        let Some(task) = self.task.get().cloned() else { return };
        let slot = Arc::clone(self);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                tokio::time::sleep(GOODBYE).await;
                slot.given_up.store(true, Ordering::Relaxed);
                slot.wake();
                // It may not have begun its first turn.
                tokio::time::sleep(GOODBYE).await;
                task.abort();
            })),
            Err(_) => task.abort(),
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// Counts that the connection has ended itself.
    pub(crate) fn count(&self, reason: Closed) {
        if !self.ending.swap(true, Ordering::Relaxed) {
            self.port.count(reason);
        }
    }

    /// Whether the connection is to end for what it did.
    pub(crate) fn is_hostile(&self) -> bool {
        self.hostile.load(Ordering::Relaxed)
    }
}

impl Permit {
    /// The slot.
    pub(super) fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.slot.set_unread(0);
        let port = &self.slot.port;
        let mut taken = port.0.taken.lock();
        // A connection whose slot was given to another one is not there.
        if taken.slots.remove(&self.id).is_some() {
            port.forget(&mut taken, self.slot.client);
        }
    }
}

/// The bytes that a connection reads before the others of its thread have their turn: a hundred checks, or some tenths of a millisecond.
const MAX_TURN_BYTES: usize = 16 << 10;

/// The same for a connection on probation, of which every connection of the thread may have to wait for one: the opening of HTTP/2 and some
/// checks.
const MAX_PROBATION_TURN_BYTES: usize = 1 << 10;

/// What a peer may send between two answers without being on probation: acknowledgements, updates of windows, pings.
const MAX_UNEARNED_BYTES: usize = 1 << 10;

/// Streams that end, and are dropped, in some tens of microseconds.
pub(crate) const FEW_STREAMS: usize = 64;

/// The answers of one connection that its peer does not read: the bound on streams is reached before, unless answers are large.
const MAX_CONNECTION_UNREAD_BYTES: usize = 32 << 20;

/// The same for all connections of a port.
const MAX_UNREAD_BYTES: usize = 256 << 20;

/// A connection without a request for this long may be closed for another one, in seconds: longer than the pauses of a client in use.
const MIN_IDLE_S: u32 = 5;

/// The time for a GOAWAY and its answer.
const GOODBYE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
