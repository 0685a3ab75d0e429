//! Charges one or several leases, all or nothing, in memory.

use super::{Attempt, Denial, Lease, Link, Now, Status, Terms};

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
    /// None is, but for hits that count although denied.
    Denied {
        /// The first slot that denies.
        slot: usize,
        /// Why.
        why: Denial,
    },
    /// None is. The engine has to be asked: the check waits, and its slots know for which request.
    Missing,
}

/// Charges all counters of a check, or none. Cost: a few additions per counter, and an exponential for its rate.
pub fn charge(slots: &mut [Slot<'_>], now: Now) -> Charging {
    let is_joint = slots.len() > 1;
    let (mut denied, mut is_missing) = (None, false);
    for (at, slot) in slots.iter_mut().enumerate() {
        if slot.attempt == Attempt::First {
            slot.lease.arrive(slot.terms, slot.hits, now);
        }
        match slot.look(now) {
            Status::Enough => {}
            Status::Missing => is_missing = true,
            Status::Denied(why) => {
                denied.get_or_insert((at, why));
            }
        }
    }
    if let Some((slot, why)) = denied {
        for denied in slots {
            denied.deny(now, is_joint);
        }
        return Charging::Denied { slot, why };
    }
    if is_missing {
        for waiting in slots {
            waiting.wait(now);
        }
        return Charging::Missing;
    }
    for slot in slots {
        slot.lease.spend(slot.terms, slot.hits, now, slot.link, slot.attempt);
    }
    Charging::Charged
}

impl Slot<'_> {
    fn look(&mut self, now: Now) -> Status {
        self.lease.look(self.terms, self.hits, now, self.link, self.attempt)
    }

    fn wait(&mut self, now: Now) {
        if self.attempt == Attempt::First && self.look(now) == Status::Missing {
            self.attempt = self.lease.wait(self.hits);
        }
    }

    /// The check is denied: its hits count only where they do although denied. In a joint charge that admits here, they are spent.
    fn deny(&mut self, now: Now, is_joint: bool) {
        let counts = if is_joint { self.terms.limit.keeps_denied() } else { self.terms.limit.counts_denied() };
        let status = self.look(now);
        if counts && status == Status::Enough {
            self.lease.spend(self.terms, self.hits, now, self.link, self.attempt);
            return;
        }
        self.lease.leave(self.hits, self.attempt);
        if counts && self.link == Link::Up {
            // With one hit of a check that asked, nothing was left, and nothing changes.
            let is_charged = status == Status::Missing || (self.attempt != Attempt::First && self.hits > 1);
            let charged = if is_charged { self.hits } else { 0 };
            self.lease.count_denied(self.terms, charged, now, status != Status::Missing && self.hits > 0);
        }
    }
}
