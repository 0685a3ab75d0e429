//! Charges one or several leases, all or nothing.

use super::joint::Joint;
use super::part::{Charger, Finished, Host, LeasePart};
use super::{LeaseCell, Ticket};
use crate::store::charging::{Shard, Shards};
use crate::store::lease::{Charging, Denial, Slot, Status, charge};
use crate::store::{Group, Role};

impl<H: Host> Charger<'_, H> {
    /// Charges the parts of a check, those of one group after the other, or none; see
    /// [`charge_groups`](crate::store::lease::charge_groups). Refunds are given back in any case.
    pub(in crate::store) fn charge(self, groups: &[Group], parts: &mut [LeasePart<'_>]) -> Charging {
        match parts {
            [only] => self.one(groups, only),
            several => Joint::lock(self, several).charge(groups, several),
        }
    }

    /// The usual case: no list is needed.
    fn one(self, groups: &[Group], part: &mut LeasePart<'_>) -> Charging {
        let cells = self.leases.cells();
        let location = cells.locate(part.key.as_bytes());
        let Some(mut shard) = cells.lock(location) else { return self.without_lease(part) };
        let known = shard.state_mut(location, part.key.as_bytes()).map(|found| self.charge_cell(found, groups, part));
        let charged = known.or_else(|| {
            self.add(&mut shard, location, part);
            shard.state_mut(location, part.key.as_bytes()).map(|found| self.charge_cell(found, groups, part))
        });
        // Dropping a ticket locks its shard.
        drop(shard);
        let Some((charging, ticket)) = charged else { return self.without_lease(part) };
        part.keep_ticket(ticket);
        charging
    }

    fn charge_cell(
        self,
        (cell, series_id): (&mut LeaseCell, Option<u32>),
        groups: &[Group],
        part: &mut LeasePart<'_>,
    ) -> (Charging, Option<Ticket>) {
        let now = self.now;
        part.series_id = series_id;
        if cell.banned_until > now.local {
            part.deny_banned(cell.banned_until, now);
            return (Charging::Denied { slot: 0, why: Denial::NothingLeft }, None);
        }
        cell.follow(&part.terms, now);
        if part.is_refund() {
            self.refund(cell, part);
            return (Charging::Charged, None);
        }
        let attempt = cell.begin(part);
        // Charged on its own, it counts denied hits that it does not count with others.
        let is_joint = groups.first().is_some_and(|group| group.role != Role::Observed);
        let terms = if is_joint { &part.terms.jointly() } else { &part.terms };
        let mut slot = Slot { lease: &mut cell.lease, terms, hits: part.hits(), link: part.link, attempt };
        let charging = charge(std::slice::from_mut(&mut slot), now);
        let (attempt, is_spent) = (slot.attempt, charging == Charging::Charged);
        let status = match charging {
            Charging::Charged => Status::Enough,
            Charging::Denied { why, .. } => Status::Denied(why),
            Charging::Missing => Status::Missing,
        };
        (charging, cell.finish(self.leases, part, Finished { status, attempt, is_spent }, now))
    }
}
