//! The leases of this process: what it may spend of each shared counter.
//!
//! ```text
//! limiter: charge ──► Missing, with a Ticket ──► sharing: ask ──► a request to the engine
//!            ▲                                                          │
//!            └── charge again ◄── the Ticket has heard ◄── answered, not_sent, lost (then late)
//! ```
//! A [`Lease`] and its rules are pure ([`lease`](super::lease)). This is where they are kept, in shards with a lock each, next to
//! who waits for them. A check never waits with a shard locked: it has a [`Ticket`], by which it learns that the engine has answered.
//! [`tick`](Leases::tick) visits only leases that hold or want something.
//!
//! Hits in hand were granted by the terms of one limit. When a counter has another limit, because of a reload or a setting, they go
//! back, and what is on its way goes back when it arrives: an **epoch** ends. So no hit is spent by another limit than it was granted
//! for. Request overrides bring any limit, so each of them has a lease of its own.

mod charge;
mod due;
mod joint;
mod key;
mod part;
mod requests;
mod ticket;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub use key::LeaseKey;
pub use part::LeasePart;
pub(super) use part::{Charger, Host, Names};
pub use requests::LeaseAsk;
pub use ticket::{Heard, Ticket};

use super::LimitKind;
use super::charging::{Location, Shards};
use super::lease::{Lease, Now, Terms};
use super::memory::Table;
use crate::engine::{Cell, Limit};
use crate::units::{Nanos, Timestamp};
use due::Due;
use ticket::Waiters;

/// The leases of this process.
#[derive(Debug)]
pub struct Leases {
    cells: Table<LeaseCell>,
    due: Due,
    /// The process ends: just the hits of checks are asked for.
    is_draining: AtomicBool,
    counts: LeaseCounts,
}

/// What is counted of leases since the process started, in hits.
#[derive(Debug, Default)]
struct LeaseCounts {
    granted: AtomicU64,
    returned: AtomicU64,
    lapsed: AtomicU64,
    refunds_dropped: AtomicU64,
}

/// The same as numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeasedHits {
    /// Granted by the engine, to be spent here.
    pub granted: u64,
    /// Given back unspent.
    pub returned: u64,
    /// Ended unspent.
    pub lapsed: u64,
    /// Refunds that were dropped, because as much was not spent here in the same window.
    pub refunds_dropped: u64,
}

/// The lease of one counter, and who waits for it. Most checks need only what comes before the second half of the lease.
#[derive(Debug)]
#[repr(C)]
pub(super) struct LeaseCell {
    /// By which hits in hand were granted.
    terms: Terms,
    /// The end of a ban by an operator, by the clock of this process.
    banned_until: Timestamp,
    /// Differs after each change of the limit.
    epoch: u32,
    /// It was reported that the lease wishes to be renewed.
    is_called: bool,
    lease: Lease,
    /// The name of the counter on the engine.
    name: Box<str>,
    waiters: Waiters,
}

impl Leases {
    /// Without any.
    pub fn new() -> Self {
        let cells = Table::new();
        cells.track(true);
        let due = Due::new(cells.stripes());
        Self { cells, due, is_draining: AtomicBool::new(false), counts: LeaseCounts::default() }
    }

    /// The counts.
    pub fn hits(&self) -> LeasedHits {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let LeaseCounts { granted, returned, lapsed, refunds_dropped } = &self.counts;
        LeasedHits {
            granted: read(granted),
            returned: read(returned),
            lapsed: read(lapsed),
            refunds_dropped: read(refunds_dropped),
        }
    }

    /// The number of leases, and their memory in bytes.
    pub(super) fn occupancy(&self) -> (usize, usize) {
        (self.cells.live(), self.cells.bytes())
    }

    /// Drops leases of one stripe that differ from new ones in nothing, or if memory is short those that hold nothing. Returns how many.
    pub(super) fn sweep(&self, stripe: usize, now: Timestamp, is_memory_short: bool) -> usize {
        let now = Now { local: now, engine: now };
        let is_spent = |cell: &LeaseCell| {
            let is_unused = if is_memory_short { cell.lease.is_forgettable(now) } else { cell.lease.is_unused(now) };
            is_unused && cell.waiters.is_empty() && cell.banned_until <= now.local
        };
        // Not before the next sweep, which looks again.
        let later = now.local.plus(Nanos::from_ns(1));
        let fresh_at = |cell: &LeaseCell| if is_spent(cell) { now.local } else { later };
        self.cells.sweep(stripe, now.local, fresh_at, LeaseCell::heap_bytes)
    }

    /// Whether a sweep of one stripe may drop a lease.
    pub(super) fn may_drop(&self, stripe: usize, now: Timestamp) -> bool {
        self.cells.may_drop(stripe, now)
    }

    /// Stores the number of a counter's series. Does nothing if there is no lease.
    pub(super) fn set_series(&self, limit: &Limit, key: &[u8], series_id: u32) {
        self.cells.set_series(LeaseKey::new(key, limit).as_bytes(), series_id);
    }

    /// An operator bans a counter until then, or lifts the ban. A lease that does not exist yet finds the ban where it is kept.
    pub(super) fn ban(&self, key: &[u8], until: Option<Timestamp>) {
        self.change(key, |cell| cell.banned_until = until.unwrap_or(Timestamp::EPOCH));
    }

    /// An operator has made a counter fresh on the engine: a pause after the answer that nothing is left ends. Hits in hand may be spent.
    pub(super) fn reset(&self, key: &[u8]) {
        self.change(key, |cell| {
            cell.banned_until = Timestamp::EPOCH;
            cell.lease.ask_again();
        });
    }

    /// Visits the counters of one stripe as they were last heard of, by the engine's clock.
    pub(super) fn visit_heard(&self, stripe: usize, now: Timestamp, mut visit: impl FnMut(&[u8], LimitKind, Cell)) {
        self.cells.visit_stripe(stripe, |key, cell| {
            if let Some(heard) = cell.lease.heard(&cell.terms, now) {
                visit(LeaseKey::counter(key), LimitKind::from(&cell.terms.limit()), heard);
            }
        });
    }

    /// Visits the keys of the counters of one stripe.
    pub(super) fn visit_keys(&self, stripe: usize, mut visit: impl FnMut(&[u8])) {
        self.cells.visit_stripe(stripe, |key, _| visit(LeaseKey::counter(key)));
    }

    /// The counter of a rule as it was last heard of, by the engine's clock.
    pub(super) fn heard(&self, key: &[u8], now: Timestamp) -> Option<Cell> {
        let mut heard = None;
        self.change(key, |cell| heard = cell.lease.heard(&cell.terms, now));
        heard
    }

    /// Where the lease of a counter is.
    pub(super) fn locate(&self, limit: &Limit, key: &[u8]) -> Location {
        self.cells.locate(LeaseKey::new(key, limit).as_bytes())
    }

    /// See [`load_ahead`](super::Memory::load_ahead). Returns how many leases it found.
    pub(super) fn load_ahead(&self, locations: &[Location], series: impl FnMut(u32)) -> usize {
        self.cells.load_ahead(locations, LeaseCell::touch, series)
    }

    /// This lease is looked after soon. To be called with its shard locked, after it was changed.
    fn hurry(&self, key: &[u8]) {
        self.due.hurry(self.cells.locate(key).stripe);
    }

    fn cells(&self) -> &Table<LeaseCell> {
        &self.cells
    }
}

/// Adds to a count, which all workers share: usually there is nothing to add.
fn count(count: &AtomicU64, hits: u64) {
    if hits > 0 {
        count.fetch_add(hits, Ordering::Relaxed);
    }
}

impl Default for Leases {
    fn default() -> Self {
        Self::new()
    }
}

impl LeaseCell {
    fn new(terms: Terms, name: Box<str>, banned_until: Timestamp) -> Self {
        let (lease, waiters) = (Lease::new(), Waiters::default());
        Self { terms, banned_until, epoch: 0, is_called: false, lease, name, waiters }
    }

    /// What most charges need is in the first so many bytes.
    #[cfg(test)]
    pub(super) const NEEDED_BYTES: usize = std::mem::offset_of!(Self, lease) + Lease::NEEDED_BYTES;

    /// Reads from each line of the cache that most charges need.
    fn touch(&self) -> u64 {
        self.lease.touch() ^ self.banned_until.as_ns()
    }

    fn heap_bytes(&self) -> usize {
        self.name.len()
    }

    /// Has these terms from now on. With those of another limit, what is in hand goes back.
    fn follow(&mut self, terms: &Terms, now: Now) {
        if self.terms != *terms {
            self.follow_others(terms, now);
        }
    }

    #[cold]
    fn follow_others(&mut self, terms: &Terms, now: Now) {
        if !self.terms.are_of_limit_of(terms) {
            // Checks to which something was granted begin again.
            self.lease.settle(&self.terms, now);
            self.lease.drain(&self.terms, now);
            // That nothing was left is no longer true.
            self.lease.ask_again();
            self.epoch = self.epoch.wrapping_add(1);
        }
        self.terms = *terms;
    }
}

#[cfg(test)]
mod loom_tests;
