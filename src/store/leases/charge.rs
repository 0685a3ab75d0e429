//! Charges one or several leases, all or nothing.

use super::joint::Joint;
use super::part::{Charger, Finished, Host, LeasePart};
use super::{LeaseCell, Ticket};
use crate::store::charging::{Shard, Shards};
use crate::store::lease::{Charging, Denial, Slot, Status, charge_one};
use crate::store::{Group, Role};

impl<H: Host> Charger<'_, H> {
    /// Charges the parts of a check, those of one group after the other, or none; see
    /// [`charge_groups`](crate::store::lease::charge_groups). Refunds are given back in any case.
    pub(in crate::store) fn charge(self, groups: &[Group], parts: &mut [LeasePart<'_>]) -> Charging {
        match parts {
            [only] => self.one(groups, only),
            several => self.several(groups, several),
        }
    }

    /// Apart, because what it needs on the stack is many times what the usual case needs.
    #[inline(never)]
    fn several(self, groups: &[Group], parts: &mut [LeasePart<'_>]) -> Charging {
        Joint::lock(self, parts).charge(groups, parts)
    }

    /// The usual case: no list is needed.
    fn one(self, groups: &[Group], part: &mut LeasePart<'_>) -> Charging {
        // Dropping a ticket locks its shard, so one that is replaced is dropped after the shard is unlocked.
        let mut replaced = None;
        let cells = self.leases.cells();
        let location = cells.locate(part.key);
        let Some(mut shard) = cells.lock(location) else { return self.without_lease(part) };
        if let Some(found) = shard.state_mut(location, part.key) {
            return self.charge_cell(found, groups, part, &mut replaced);
        }
        self.add(&mut shard, location, part);
        if let Some(found) = shard.state_mut(location, part.key) {
            return self.charge_cell(found, groups, part, &mut replaced);
        }
        self.without_lease(part)
    }

    fn charge_cell(
        self,
        (cell, series_id): (&mut LeaseCell, Option<u32>),
        groups: &[Group],
        part: &mut LeasePart<'_>,
        replaced: &mut Option<Ticket>,
    ) -> Charging {
        let now = self.now;
        part.series_id = series_id;
        if cell.banned_until > now.local {
            part.deny_banned(cell.banned_until, now);
            return Charging::Denied { slot: 0, why: Denial::NothingLeft };
        }
        cell.follow(&part.terms, now);
        if part.is_refund() {
            self.refund(cell, part);
            return Charging::Charged;
        }
        let attempt = cell.begin(part);
        // Charged on its own, it counts denied hits that it does not count with others.
        let is_joint = groups.first().is_some_and(|group| group.role != Role::Observed);
        let terms = if is_joint { &part.terms.jointly() } else { &part.terms };
        let mut slot = Slot { lease: &mut cell.lease, terms, hits: part.hits(), link: part.link, attempt };
        let status = charge_one(&mut slot, now);
        let finished = Finished { status, attempt: slot.attempt, is_spent: status == Status::Enough };
        if let Some(next) = cell.finish(self.leases, part, finished, now) {
            *replaced = part.keep_ticket(next);
        }
        status.into()
    }
}
