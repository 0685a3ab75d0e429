//! Charges one or several leases, all or nothing, in memory.

use smallvec::SmallVec;

use super::{Attempt, Denial, Lease, Link, Now, Status, Terms};
use crate::store::{Group, Role};

/// One counter of a check. Its lease is locked by the caller; shards are locked in order, as for any joint charge.
#[derive(Debug)]
pub struct Slot<'a> {
    /// The lease. The hits of a check that names a counter twice are one slot.
    pub lease: &'a mut Lease,
    /// Its terms.
    pub terms: &'a Terms,
    /// The hits to charge; 0 looks.
    pub hits: u64,
    /// Whether the engine that has this counter can be asked.
    pub link: Link,
    /// How far the check is with this counter; the caller keeps it with a check that waits.
    pub attempt: Attempt,
}

/// What became of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charging {
    /// All of its counters are charged.
    Charged,
    /// None is, except for hits that count although denied.
    Denied {
        /// The first slot that denies.
        slot: usize,
        /// Why.
        why: Denial,
    },
    /// None is. The engine has to be asked: the check waits, and its slots know for which request.
    Missing,
}

/// Charges all counters of a check, or none. Cost: a few additions per counter.
pub fn charge(slots: &mut [Slot<'_>], now: Now) -> Charging {
    match slots {
        [only] => charge_one(only, now).into(),
        several => charge_groups(&[Group::required(several.len())], several, now, &mut SmallVec::new()),
    }
}

/// The same for the only counter of a check: whether it is charged, as [`charge_groups`] does for one required group.
pub fn charge_one(slot: &mut Slot<'_>, now: Now) -> Status {
    slot.arrive(now);
    let status = slot.look(now);
    match status {
        Status::Enough => slot.spend(now),
        Status::Missing => slot.wait(status),
        Status::Denied(_) => slot.deny(now, status, false),
    }
    status
}

/// The same for the counters of several groups, one group after the other; see
/// [`charge_groups`](crate::store::Memory::charge_groups) of the store in memory, which decides likewise. `statuses` are those of the
/// slots before anything was spent.
pub fn charge_groups(
    groups: &[Group],
    slots: &mut [Slot<'_>],
    now: Now,
    statuses: &mut SmallVec<[Status; 4]>,
) -> Charging {
    statuses.clear();
    for slot in &mut *slots {
        slot.arrive(now);
        statuses.push(slot.look(now));
    }
    let verdict = verdict(groups, statuses);
    match verdict {
        Charging::Missing => slots.iter_mut().zip(&*statuses).for_each(|(slot, status)| slot.wait(*status)),
        Charging::Denied { .. } => {
            let is_joint = slots.len() > 1;
            slots.iter_mut().zip(&*statuses).for_each(|(slot, status)| slot.deny(now, *status, is_joint));
        }
        Charging::Charged => {
            let (mut slots, mut statuses) = (slots.iter_mut(), &statuses[..]);
            for group in groups {
                let (of_group, others) = statuses.split_at_checked(group.charges).unwrap_or((statuses, &[]));
                statuses = others;
                let is_admitted = of_group.iter().all(|status| *status == Status::Enough);
                for (status, slot) in of_group.iter().zip(slots.by_ref()) {
                    if is_admitted {
                        slot.spend(now);
                    } else {
                        // It denies no check, so its hits count as those of a limit on its own.
                        slot.deny(now, *status, group.charges > 1);
                    }
                }
            }
        }
    }
    verdict
}

/// What becomes of a check with counters of these statuses.
fn verdict(groups: &[Group], statuses: &[Status]) -> Charging {
    let (mut rest, mut begin) = (statuses, 0);
    let (mut denied, mut is_missing) = (None, false);
    let (mut quota_denied, mut is_quota_left) = (None, false);
    for group in groups {
        let (of_group, others) = rest.split_at_checked(group.charges).unwrap_or((rest, &[]));
        let denial = (begin..).zip(of_group).find_map(|(slot, status)| match status {
            Status::Denied(why) => Some(Charging::Denied { slot, why: *why }),
            Status::Enough | Status::Missing => None,
        });
        is_missing |= denial.is_none() && of_group.contains(&Status::Missing);
        match group.role {
            Role::Required => denied = denied.or(denial),
            Role::Quota => {
                is_quota_left |= denial.is_none();
                quota_denied = quota_denied.or(denial);
            }
            Role::Observed => {}
        }
        (rest, begin) = (others, begin + group.charges);
    }
    match denied.or(quota_denied.filter(|_| !is_quota_left)) {
        Some(denied) => denied,
        None if is_missing => Charging::Missing,
        None => Charging::Charged,
    }
}

impl From<Status> for Charging {
    /// What becomes of a check with one counter of this status.
    fn from(status: Status) -> Self {
        match status {
            Status::Enough => Self::Charged,
            Status::Missing => Self::Missing,
            Status::Denied(why) => Self::Denied { slot: 0, why },
        }
    }
}

impl Slot<'_> {
    fn arrive(&mut self, now: Now) {
        if self.attempt == Attempt::First {
            self.lease.arrive(self.terms, self.hits, now);
        }
    }

    fn look(&mut self, now: Now) -> Status {
        self.lease.look(self.terms, self.hits, now, self.link, self.attempt)
    }

    fn spend(&mut self, now: Now) {
        self.lease.spend(self.terms, self.hits, now, self.link, self.attempt);
    }

    fn wait(&mut self, status: Status) {
        if self.attempt == Attempt::First && status == Status::Missing {
            self.attempt = self.lease.wait(self.hits);
        }
    }

    /// The check is denied: its hits count only where they do although denied. In a joint charge that admits here, they are spent.
    fn deny(&mut self, now: Now, status: Status, is_joint: bool) {
        let counts = if is_joint { self.terms.keeps_denied() } else { self.terms.counts_denied() };
        if counts && status == Status::Enough {
            return self.spend(now);
        }
        self.lease.leave(self.hits, self.attempt);
        if counts && self.link == Link::Up {
            // With one hit of a check that asked, nothing was left, and nothing changes.
            let is_charged = status == Status::Missing || (self.attempt != Attempt::First && self.hits > 1);
            let charged = if is_charged { self.hits } else { 0 };
            let is_over = status != Status::Missing && self.hits > 0;
            self.lease.count_denied(self.terms, charged, now, self.attempt, is_over);
        }
    }
}
