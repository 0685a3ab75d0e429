//! Counters that replicas share: what is decided here, what is asked of the store, and what its answers mean.
//!
//! ```text
//! Check ─► Resolved ─► members of each step ─► local:  charged in memory, as without a store
//!                                              leased: charged in memory by what is leased; if that is not enough, the lease is asked for
//!                                              exact:  asked for
//! ```
//! A check is decided by [`View::check_shared`](super::View::check_shared). Usually that is at once. If something is asked for, its
//! [`Progress`] says what, and the check goes through the pipeline again with the answers; what waits in between is the message and the
//! plan, not what borrows from them. A **step** is what is charged all or nothing: the limits of one descriptor, or those of the whole
//! check.
//!
//! The store in memory keeps what was last heard of exact counters: for looks, bans and limits that are used up, for which nobody is asked,
//! and for the time without a store.

mod ballot;
mod exact;
mod last_asked;
mod leased;
mod listed;
mod member;
mod mixed;
mod outage;
mod progress;
mod reload;
mod spent;
mod steps;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use smallvec::{SmallVec, smallvec};

pub use outage::DownCounts;
pub use progress::Progress;
pub use spent::Spent;

use super::charge::outcomes_of;
use super::charges;
use super::evaluation::Evaluation;
use super::outcome::Outcomes;
use super::resolve::Resolved;
use crate::engine::WhenDown;
use crate::engine_link::KeyPrefix;
use crate::rules;
use crate::store::lease::Now;
use crate::store::{Charged, CounterKeys, Group, Leases, LimitIds, Memory, WhenFull};
use crate::units::{Nanos, Timestamp};
use last_asked::LastAsked;
use member::{Way, member_of, members_of};
use spent::SentHits;

/// What a limiter needs to share its counters.
#[derive(Debug)]
pub struct Sharing {
    prefix: KeyPrefix,
    /// What decides while the store is down, where the rules do not say it.
    when_down: WhenDown,
    /// Between how many replicas limits are divided.
    replicas: AtomicU32,
    /// The clock of the store less ours, in nanoseconds.
    clock_offset_ns: AtomicI64,
    /// What this process may spend on its own.
    leases: Arc<Leases>,
    /// What is spent of exact counters while the store is down, of the shares of this replica.
    outage: Memory,
    sent: SentHits,
    down: DownCounts,
    /// Of counters that deny without it.
    asked: LastAsked,
}

/// How a check is decided.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a> {
    pub(super) sharing: &'a Sharing,
    /// Where the names of counters come from.
    pub(super) limit_ids: &'a LimitIds,
    /// The present time, by our clock and by the store's.
    pub(super) now: Now,
}

/// What became of a check that was to be charged in one step.
pub(super) enum Alone {
    /// It is charged.
    Charged(Charged),
    /// It waits.
    Waits,
    /// It is to be charged by [`charge`].
    Not,
}

/// Charges the counter of a check that has just come and has no other one, if it is leased: nearly every check, without lists.
#[inline]
pub(super) fn charge_alone<'v>(
    evaluation: &Evaluation<'v, '_, '_>,
    shared: Shared<'_>,
    resolved: &[Resolved<'v>],
    keys: &CounterKeys,
    progress: &mut Progress,
) -> Alone {
    let is_new = progress.begin(shared.sharing.replicas.load(Ordering::Relaxed));
    if let (true, rules::Charge::Independent, [descriptor], [only]) =
        (is_new, evaluation.domain.charge, &*evaluation.check.descriptors, resolved)
        && let [limited] = only.limits()
    {
        let charge = charges::charge(limited, keys, evaluation.op(descriptor));
        let member = member_of(evaluation.domain, shared, (only, limited), charge, progress.replicas);
        if let Way::Leased(terms) = member.way {
            let charged = shared.charge_lease(evaluation, progress, &member, terms);
            return charged.map_or(Alone::Waits, Alone::Charged);
        }
    }
    Alone::Not
}

/// Charges the counters of a check, step by step: the outcomes of its descriptors, and whether it is admitted if they are charged in one
/// step. `None`: it waits.
pub(super) fn charge<'v>(
    evaluation: Evaluation<'v, '_, '_>,
    shared: Shared<'_>,
    resolved: &[Resolved<'v>],
    keys: &CounterKeys,
    progress: &mut Progress,
) -> Option<(SmallVec<[Outcomes; 2]>, Option<bool>)> {
    let descriptors = || evaluation.check.descriptors.iter().zip(resolved);
    if evaluation.domain.charge == rules::Charge::AllOrNothing {
        let groups = charges::groups(evaluation, resolved);
        let members = descriptors()
            .flat_map(|(descriptor, resolved)| members_of(evaluation, shared, progress, (descriptor, resolved), keys));
        let members: SmallVec<[_; 4]> = members.collect();
        shared.advance(evaluation, progress, 0, &groups, &members);
        shared.count_down(evaluation, progress);
        let answered = progress.take_answered()?.into_iter().next()?;
        return Some((outcomes_of(resolved, answered.outcomes), Some(answered.admitted)));
    }
    for (place, (descriptor, resolved)) in descriptors().enumerate() {
        let members: SmallVec<[_; 1]> =
            members_of(evaluation, shared, progress, (descriptor, resolved), keys).collect();
        let several: SmallVec<[Group; 1]> = smallvec![Group::required(members.len())];
        let groups = if members.len() > 1 { &several[..] } else { &[] };
        shared.advance(evaluation, progress, place, groups, &members);
    }
    shared.count_down(evaluation, progress);
    let answered = progress.take_answered()?;
    let outcomes =
        resolved.iter().zip(answered).map(|(resolved, step)| Outcomes::new(resolved.limits(), step.outcomes));
    Some((outcomes.collect(), None))
}

impl Shared<'_> {
    /// Counts a check that was decided without the store.
    fn count_down(self, evaluation: Evaluation<'_, '_, '_>, progress: &mut Progress) {
        if progress.is_decided()
            && let Some(answer) = progress.take_down()
        {
            self.sharing.count_down(&evaluation.domain.name, answer);
        }
    }
}

impl Sharing {
    /// Counters whose names begin with `prefix`. What is spent of exact counters while the store is down has a memory of its own, of these
    /// bytes at most.
    pub fn new(prefix: KeyPrefix, when_down: WhenDown, outage_bytes: usize) -> Self {
        Self {
            prefix,
            when_down,
            replicas: AtomicU32::new(1),
            clock_offset_ns: AtomicI64::new(0),
            leases: Arc::new(Leases::new()),
            outage: Memory::new(outage_bytes, WhenFull::Deny),
            sent: SentHits::default(),
            down: DownCounts::default(),
            asked: LastAsked::new(),
        }
    }

    /// There are so many replicas, and the clock of the store is so many nanoseconds ahead of ours.
    pub fn hear(&self, replicas: u32, clock_offset_ns: i64) {
        self.replicas.store(replicas.max(1), Ordering::Relaxed);
        self.clock_offset_ns.store(clock_offset_ns, Ordering::Relaxed);
    }

    /// Between how many replicas limits are divided.
    pub fn replicas(&self) -> u32 {
        self.replicas.load(Ordering::Relaxed)
    }

    /// What this process may spend on its own.
    pub fn leases(&self) -> &Arc<Leases> {
        &self.leases
    }

    /// Checks that were answered without the store.
    pub fn down(&self) -> &DownCounts {
        &self.down
    }

    /// The time of the store, when our clock shows `now`.
    pub(super) fn engine_time(&self, now: Timestamp) -> Timestamp {
        let offset = self.clock_offset_ns.load(Ordering::Relaxed);
        let length = Nanos::from_ns(offset.unsigned_abs());
        if offset < 0 { now.minus(length) } else { now.plus(length) }
    }

    /// Frees the next part of what has ended of the time without the store. Returns how long to rest before the next part.
    pub(super) fn sweep_step(&self, now: Timestamp) -> Duration {
        self.outage.sweep_step(now)
    }
}
