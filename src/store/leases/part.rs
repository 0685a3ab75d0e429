//! One counter of a check, and what charging it needs and finds.

use std::sync::Arc;

use super::ticket::NewTicket;
use super::{LeaseCell, LeaseKey, Leases, Ticket, count};
use crate::engine::{Limit, Op, Outcome, Reason, Verdict, WhenDown};
use crate::store::Fingerprint;
use crate::store::charging::{Location, Shard};
use crate::store::lease::{Attempt, Charging, Denial, Lease, Link, Now, Status, Terms, Wish};
use crate::units::{Nanos, Timestamp};

/// One counter of a check, before and after it is charged.
#[derive(Debug)]
pub struct LeasePart<'a> {
    /// The key of the lease: a [`LeaseKey`].
    pub key: &'a [u8],
    /// The rule of the limit, for the name of the counter on the engine.
    pub rule: Fingerprint,
    /// For the same: the key of the entry that decides about its slot in a cluster.
    pub slot: Option<&'a str>,
    /// By which hits are granted.
    pub terms: Terms,
    /// What is done.
    pub op: Op,
    /// Whether the engine can be asked.
    pub link: Link,
    /// What the check waits for; put there if it has to.
    pub ticket: Option<Ticket>,
    /// Found: the outcome; of a check that waits it means nothing.
    pub outcome: Outcome,
    /// Found: the number of the counter's series.
    pub series_id: Option<u32>,
    /// Found: the hits are spent.
    pub is_spent: bool,
    /// Found: more hits were needed than are in hand, and nobody can be asked.
    pub is_down: bool,
    /// Found: the lease wishes to be renewed soon, and nobody knows yet.
    pub is_called: bool,
}

/// What leases need of the store that they are a part of.
pub(in crate::store) trait Host {
    /// Whether there is memory for a new lease.
    fn has_room(&self) -> bool;

    /// The outcome if there is none.
    fn exhausted(&self, limit: &Limit, op: Op) -> Outcome;

    /// The end of an operator's ban of a counter, if there is one.
    fn ban_of(&self, limit: &Limit, key: &[u8]) -> Option<Timestamp>;
}

/// Makes the name of a counter on the engine, from its key, the fingerprint of its rule, and the key of the entry that decides about its
/// slot.
pub(in crate::store) type Names<'n> = dyn Fn(&[u8], Fingerprint, Option<&str>) -> Box<str> + 'n;

/// What a charge of leases needs besides its parts.
pub(in crate::store) struct Charger<'c, H> {
    pub(in crate::store) leases: &'c Arc<Leases>,
    pub(in crate::store) host: &'c H,
    pub(in crate::store) names: &'c Names<'c>,
    pub(in crate::store) now: Now,
}

impl<'a> LeasePart<'a> {
    /// A part that is to be charged.
    pub const fn new(key: &'a [u8], rule: Fingerprint, terms: Terms, op: Op, link: Link) -> Self {
        let outcome = Outcome { verdict: Verdict::ADMITTED, before: 0, after: 0, remaining: 0, reset: Nanos::ZERO };
        Self {
            key,
            rule,
            slot: None,
            terms,
            op,
            link,
            ticket: None,
            outcome,
            series_id: None,
            is_spent: false,
            is_down: false,
            is_called: false,
        }
    }

    pub(super) const fn hits(&self) -> u64 {
        match self.op {
            Op::Charge(hits) | Op::Refund(hits) => hits,
        }
    }

    pub(super) const fn is_refund(&self) -> bool {
        matches!(self.op, Op::Refund(_))
    }

    /// What an operator's ban says.
    pub(super) fn deny_banned(&mut self, until: Timestamp, now: Now) {
        let hits = self.hits();
        let capacity = self.terms.capacity();
        self.outcome = Outcome {
            verdict: Verdict::Denied(Reason::Banned),
            before: capacity,
            after: capacity.saturating_add(hits),
            remaining: 0,
            reset: until.since(now.local),
        };
    }
}

impl<H> Clone for Charger<'_, H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for Charger<'_, H> {}

impl<H: Host> Charger<'_, H> {
    /// Adds the lease of a part, if there is room and it is of use.
    #[cold]
    pub(super) fn add(self, shard: &mut impl Shard<LeaseCell>, location: Location, part: &LeasePart<'_>) {
        if part.is_refund() || part.hits() == 0 || !self.host.has_room() {
            return;
        }
        let counter = LeaseKey::counter(part.key);
        let banned_until = self.host.ban_of(&part.terms.limit(), counter).unwrap_or(Timestamp::EPOCH);
        let cell = LeaseCell::new(part.terms, (self.names)(counter, part.rule, part.slot), banned_until);
        let bytes = cell.heap_bytes();
        // What is left of a lease is not an instant, so every sweep looks at it.
        shard.insert(location, part.key, cell, Timestamp::EPOCH);
        shard.book_heap(0, bytes);
    }

    /// A part without a lease: a refund of what nobody spent here, a look, or a check for which there is no memory.
    pub(super) fn without_lease(self, part: &mut LeasePart<'_>) -> Charging {
        if part.is_refund() || part.hits() == 0 {
            count(&self.leases.counts.refunds_dropped, part.hits());
            part.outcome = Lease::new().outcome(&part.terms, 0, self.now, Attempt::First, true);
            return Charging::Charged;
        }
        part.outcome = self.host.exhausted(&part.terms.limit(), part.op);
        if part.outcome.admitted() { Charging::Charged } else { Charging::Denied { slot: 0, why: Denial::NothingLeft } }
    }

    pub(super) fn refund(self, cell: &mut LeaseCell, part: &mut LeasePart<'_>) {
        let dropped = cell.lease.refund(&part.terms, part.hits(), self.now);
        count(&self.leases.counts.refunds_dropped, dropped);
        self.leases.hurry(part.key);
        part.outcome = cell.lease.outcome(&part.terms, 0, self.now, Attempt::First, true);
    }
}

/// What a charge has found for one part.
#[derive(Clone, Copy)]
pub(super) struct Finished {
    pub(super) status: Status,
    pub(super) attempt: Attempt,
    pub(super) is_spent: bool,
}

impl LeaseCell {
    /// How far the check of a part is with this lease, which is about to be charged.
    pub(super) fn begin(&self, part: &mut LeasePart<'_>) -> Attempt {
        let attempt = part.ticket.as_ref().map_or(Attempt::First, |ticket| ticket.attempt(self.epoch));
        part.is_down = part.link != Link::Up && self.lease.at_hand(attempt) < part.hits();
        attempt
    }

    /// Reports to a part what became of it. Returns its new ticket if it has to wait.
    pub(super) fn finish(
        &mut self,
        leases: &Arc<Leases>,
        part: &mut LeasePart<'_>,
        Finished { status, attempt, is_spent }: Finished,
        now: Now,
    ) -> Option<Ticket> {
        let Self { lease, epoch, .. } = self;
        let hits = part.hits();
        part.is_spent = is_spent && hits > 0;
        part.outcome = match status {
            _ if is_spent => lease.outcome(&part.terms, hits, now, attempt, true),
            Status::Denied(Denial::StoreDown) => store_down(hits),
            Status::Denied(Denial::NothingLeft) => lease.outcome(&part.terms, hits, now, attempt, false),
            Status::Enough | Status::Missing => lease.outcome(&part.terms, 0, now, attempt, true),
        };
        if part.is_down && part.link == Link::Down(WhenDown::Local) && status != Status::Missing {
            (part.outcome.remaining, part.outcome.reset) =
                lease.of_share(&part.terms, hits, now, status == Status::Enough);
        }
        part.is_called = !self.is_called && lease.wish(&part.terms, now) == Wish::Soon;
        self.is_called |= part.is_called;
        if lease.has_news() {
            leases.hurry(part.key);
        }
        if let Some(ticket) = &mut part.ticket {
            (ticket.now, ticket.is_undecided) = (now, ticket.attempt(*epoch) == attempt && status == Status::Missing);
        }
        let is_new = part.ticket.as_ref().is_none_or(|ticket| ticket.attempt(*epoch) == Attempt::First);
        match attempt {
            Attempt::Waiting(number) if is_new => {
                let key = part.key;
                Some(self.waiters.add(NewTicket { leases, key, hits, number, epoch: *epoch, now }))
            }
            Attempt::Waiting(_) | Attempt::First => None,
        }
    }
}

impl LeasePart<'_> {
    /// Waits for another request than before. Returns the one before: dropping it locks its shard.
    pub(super) const fn keep_ticket(&mut self, next: Ticket) -> Option<Ticket> {
        self.ticket.replace(next)
    }
}

/// The outcome while the engine is down and its operator wants checks to be denied.
const fn store_down(hits: u64) -> Outcome {
    let verdict = Verdict::Denied(Reason::StoreDown);
    Outcome { verdict, before: 0, after: hits, remaining: 0, reset: RETRY }
}

/// After what time a check that the engine's absence denied may try again.
const RETRY: Nanos = Nanos::SECOND;
