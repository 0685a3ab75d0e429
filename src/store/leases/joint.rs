//! Charges several leases, with the shards of all of them locked in their order, so that a check is decided in one step.
//!
//! Each lease is taken out of its shard meanwhile, because two may be in the same one.

use smallvec::SmallVec;

use super::part::{Charger, Finished, Host, LeasePart};
use super::{LeaseCell, Ticket};
use crate::store::Group;
use crate::store::charging::{Location, Shard, Shards};
use crate::store::lease::{Attempt, Charging, Lease, Link, Slot, Status, Terms, charge_groups};
use crate::store::memory::LockedShard;

/// Several parts of a check, locked.
pub(super) struct Joint<'c, H> {
    charger: Charger<'c, H>,
    shards: SmallVec<[LockedShard<'c, LeaseCell>; 4]>,
    /// One for each part.
    members: SmallVec<[Member; 4]>,
}

/// What a part is charged to.
struct Member {
    location: Location,
    /// The number of the shard from which the lease was taken; `None`: this is not a lease, but admits or denies by itself.
    shard: Option<usize>,
    lease: Lease,
    terms: Terms,
    hits: u64,
    link: Link,
    attempt: Attempt,
    /// The part that has the hits of this one, which is of the same counter.
    merged_into: Option<usize>,
}

impl Member {
    /// A part that is charged to nothing, and admitted: it is charged with another part of the same counter, gives hits back, or has
    /// no counter.
    fn open(location: Location, terms: Terms) -> Self {
        let (lease, link, attempt) = (Lease::new(), Link::Up, Attempt::First);
        Self { location, shard: None, lease, terms, hits: 0, link, attempt, merged_into: None }
    }

    /// The same, but denied.
    fn closed(location: Location, terms: Terms) -> Self {
        Self { terms: terms.closed(), hits: 1, ..Self::open(location, terms) }
    }

    fn slot(&mut self) -> Slot<'_> {
        let Self { lease, terms, hits, link, attempt, .. } = self;
        Slot { lease, terms, hits: *hits, link: *link, attempt: *attempt }
    }
}

impl<'c, H: Host> Joint<'c, H> {
    /// Locks the shards of all parts, takes their leases, and gives refunds back.
    pub(super) fn lock(charger: Charger<'c, H>, parts: &mut [LeasePart<'_>]) -> Self {
        let cells = charger.leases.cells();
        let open = |part: &LeasePart<'_>| Member::open(cells.locate(part.key), part.terms);
        let members: SmallVec<[Member; 4]> = parts.iter().map(open).collect();
        let mut joint = Self { charger, shards: SmallVec::new(), members };
        // Of one counter refunds come first, as long as its lease is in its place.
        let mut order: SmallVec<[(Location, bool, usize); 4]> = SmallVec::with_capacity(parts.len());
        let numbered = joint.members.iter().zip(&*parts).zip(0..);
        order.extend(numbered.map(|((member, part), at)| (member.location, !part.is_refund(), at)));
        order.sort_unstable();
        let mut locked: Option<Location> = None;
        let mut taken: Option<usize> = None;
        for (location, is_charge, at) in order {
            if !locked.is_some_and(|locked| locked.shares_lock(location)) {
                let Some(shard) = cells.lock(location) else { continue };
                joint.shards.push(shard);
                locked = Some(location);
            }
            let same = |first: &usize| parts.get(*first).zip(parts.get(at)).is_some_and(|(a, b)| a.key == b.key);
            if let Some(first) = taken.filter(same) {
                joint.merge(first, at, parts.get(at).map_or(0, LeasePart::hits));
            } else {
                joint.take(parts.get_mut(at), at);
                taken = is_charge.then_some(at);
            }
        }
        joint
    }

    /// The hits of a part are charged with those of the first part of the same counter.
    fn merge(&mut self, first: usize, at: usize, hits: u64) {
        if let Some(member) = self.members.get_mut(first) {
            member.hits = member.hits.saturating_add(hits);
        }
        if let Some(member) = self.members.get_mut(at) {
            member.merged_into = Some(first);
        }
    }

    /// Takes the lease of a part from the shard that was locked last.
    fn take(&mut self, part: Option<&mut LeasePart<'_>>, at: usize) {
        let Self { charger, shards, members } = self;
        let (Some(part), Some(member)) = (part, members.get_mut(at)) else { return };
        let number = shards.len().saturating_sub(1);
        let Some(shard) = shards.last_mut() else { return };
        let (location, now) = (member.location, charger.now);
        if shard.state_mut(location, part.key).is_none() {
            charger.add(shard, location, part);
        }
        let Some((cell, series_id)) = shard.state_mut(location, part.key) else {
            if let Charging::Denied { .. } = charger.without_lease(part) {
                *member = Member::closed(location, part.terms);
            }
            return;
        };
        part.series_id = series_id;
        if cell.banned_until > now.local {
            part.deny_banned(cell.banned_until, now);
            *member = Member::closed(location, part.terms);
            return;
        }
        cell.follow(&part.terms, now);
        if part.is_refund() {
            return charger.refund(cell, part);
        }
        let attempt = cell.begin(part);
        let lease = std::mem::take(&mut cell.lease);
        let (terms, hits, link) = (part.terms, part.hits(), part.link);
        *member = Member { location, shard: Some(number), lease, terms, hits, link, attempt, merged_into: None };
    }

    /// Charges all groups that can be charged, or none.
    pub(super) fn charge(mut self, groups: &[Group], parts: &mut [LeasePart<'_>]) -> Charging {
        let now = self.charger.now;
        let mut slots: SmallVec<[Slot<'_>; 4]> = self.members.iter_mut().map(Member::slot).collect();
        let mut statuses = SmallVec::new();
        let charging = charge_groups(groups, &mut slots, now, &mut statuses);
        let attempts: SmallVec<[Attempt; 4]> = slots.iter().map(|slot| slot.attempt).collect();
        drop(slots);
        let mut tickets: SmallVec<[Option<Ticket>; 4]> = SmallVec::with_capacity(parts.len());
        let finished = statuses.iter().zip(attempts).zip(spent(groups, &statuses, charging));
        for ((part, member), ((status, attempt), is_spent)) in parts.iter_mut().zip(&mut self.members).zip(finished) {
            let shard = member.shard.and_then(|number| self.shards.get_mut(number));
            let found = shard.and_then(|shard| shard.state_mut(member.location, part.key));
            tickets.push(found.and_then(|(cell, _)| {
                cell.lease = std::mem::take(&mut member.lease);
                cell.finish(self.charger.leases, part, Finished { status: *status, attempt, is_spent }, now)
            }));
        }
        for (at, member) in self.members.iter().enumerate() {
            let first = member.merged_into.and_then(|first| parts.get(first));
            if let Some((outcome, series_id)) = first.map(|first| (first.outcome, first.series_id))
                && let Some(part) = parts.get_mut(at)
            {
                (part.outcome, part.series_id) = (outcome, series_id);
            }
        }
        // Dropping a ticket locks its shard.
        drop(self);
        parts
            .iter_mut()
            .zip(tickets)
            .for_each(|(part, ticket)| drop(ticket.and_then(|ticket| part.keep_ticket(ticket))));
        charging
    }
}

/// Whether the hits of each slot are spent.
fn spent(groups: &[Group], statuses: &[Status], charging: Charging) -> SmallVec<[bool; 4]> {
    let (mut spent, mut rest) = (SmallVec::with_capacity(statuses.len()), statuses);
    for group in groups {
        let (of_group, others) = rest.split_at_checked(group.charges).unwrap_or((rest, &[]));
        rest = others;
        let is_spent = charging == Charging::Charged && of_group.iter().all(|status| *status == Status::Enough);
        spent.extend(std::iter::repeat_n(is_spent, of_group.len()));
    }
    spent
}
