//! The counters of one rule.
//!
//! Counters that are tracked individually are counted in their series ([`super::series_table`]), the others here. The sums of
//! a rule add up numbers that only grow, so they are exact and never decrease.

use super::measure::{COUNTED, Counters};
use super::series_table::Slot;
use super::{Measure, Peak, Totals, WorkerSlot};
use crate::engine::{Outcome, Reason, Verdict};
use crate::units::Timestamp;

/// The counters of one rule, one set for each worker slot.
#[derive(Debug)]
pub struct Counts {
    workers: Box<[SlotCounts]>,
}

/// One worker slot's counters, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct SlotCounts {
    counters: Counters<COUNTED>,
    peak: Peak,
}

impl Counts {
    /// Counters at zero for that many worker slots, at least one.
    pub(super) fn new(workers: usize) -> Self {
        Self { workers: std::iter::repeat_with(SlotCounts::default).take(workers.max(1)).collect() }
    }

    /// Counts a check without a limit. Cost: three atomic additions to a cache line that only this worker slot writes.
    pub fn record_unlimited(&self, worker: WorkerSlot, hits: u64) {
        let Some(row) = self.row(worker) else { return };
        row.counters.allow(hits);
        row.counters.add(Measure::RequestsUnlimited, 1);
    }

    /// Counts refunded hits.
    pub fn record_refund(&self, worker: WorkerSlot, hits: u64) {
        if let Some(row) = self.row(worker) {
            row.counters.add(Measure::HitsRefunded, hits);
        }
    }

    /// Counts one check of `hits` hits with this `outcome`, split as in the reference; in `slot` if the counter is tracked
    /// individually.
    ///
    /// `capacity` is the limit to which `outcome.before` and `outcome.after` refer.
    ///
    /// Cost: two atomic additions for an admitted check that is neither near the limit nor queued, and one more if it finds more
    /// of the limit used than any earlier check in this minute.
    pub fn record(&self, check: Recorded<'_>) {
        let Some(row) = self.row(check.worker) else { return };
        row.peak.raise(check.now, check.outcome.after, check.capacity);
        match check.outcome.verdict {
            Verdict::Admitted { delay } => {
                match check.slot {
                    Some(slot) => slot.0.allow(check.hits),
                    None => row.counters.allow(check.hits),
                }
                let near = near_limit(check.capacity, check.near_limit_ratio);
                let Outcome { before, after, .. } = *check.outcome;
                if after > near {
                    row.counters.add(Measure::HitsNearLimit, if before >= near { check.hits } else { after - near });
                }
                if !delay.is_zero() {
                    row.counters.add(Measure::RequestsQueued, 1);
                }
            }
            Verdict::Denied(reason) => row.record_denied(&check, reason),
        }
    }

    /// Counts a request by the value of one of its entries, in `slot` or here. Cost: two atomic additions.
    pub(super) fn record_request(&self, worker: WorkerSlot, slot: Option<&Slot>, hits: u64, denied: bool) {
        match (slot, self.row(worker)) {
            (Some(slot), _) if denied => slot.0.deny(hits),
            (Some(slot), _) => slot.0.allow(hits),
            (None, Some(row)) if denied => row.counters.deny(hits),
            (None, Some(row)) => row.counters.allow(hits),
            (None, None) => {}
        }
    }

    /// The sums over all worker slots, without the checks and hits of counters that are tracked individually.
    pub(super) fn totals(&self) -> Totals {
        Totals::from_counted(self.read().into_iter())
    }

    /// The same, in the order of [`Measure`].
    pub(super) fn read(&self) -> [u64; COUNTED] {
        let mut sum = [0_u64; COUNTED];
        for row in &self.workers {
            sum.iter_mut().zip(row.counters.values()).for_each(|(sum, count)| *sum = sum.wrapping_add(count));
        }
        sum
    }

    /// The largest used share of a limit that a check has found in this minute or the one before, over all worker slots: from 0
    /// to 1.
    pub(super) fn saturation(&self, now: Timestamp) -> f64 {
        self.workers.iter().map(|row| row.peak.share(now)).fold(0.0, f64::max)
    }

    fn row(&self, worker: WorkerSlot) -> Option<&SlotCounts> {
        self.workers.get(worker.0).or_else(|| self.workers.get(worker.0 % self.workers.len()))
    }
}

/// One decided check, for [`Counts::record`].
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'a> {
    /// The worker that decided it.
    pub worker: WorkerSlot,
    /// The time of the decision.
    pub now: Timestamp,
    /// The series of the counter, if it is tracked individually.
    pub slot: Option<&'a Slot>,
    /// The requested hits.
    pub hits: u64,
    /// The outcome.
    pub outcome: &'a Outcome,
    /// The limit to which the hits of the outcome refer.
    pub capacity: u64,
    /// The share of the limit from which on hits are near it.
    pub near_limit_ratio: f32,
    /// The rule is in shadow mode: nothing is denied.
    pub shadow: bool,
}

impl SlotCounts {
    fn record_denied(&self, check: &Recorded<'_>, reason: Reason) {
        let Recorded { hits, outcome, capacity, .. } = *check;
        // Denied by a replica's share of the limit, which is not used up itself.
        let is_of_share = reason == Reason::OverLimit && outcome.after <= capacity;
        let is_over = outcome.before >= capacity || is_of_share;
        let over = if is_over { hits } else { outcome.after.saturating_sub(capacity).min(hits) };
        self.counters.add(Measure::HitsOverLimit, over);
        self.counters.add(Measure::HitsNearLimit, near_share(outcome, capacity, check.near_limit_ratio));
        if check.shadow {
            self.counters.add(Measure::HitsShadowDenied, over);
            return match check.slot {
                Some(slot) => slot.0.shadow(hits),
                None => self.counters.shadow(hits),
            };
        }
        match check.slot {
            Some(slot) => slot.0.deny(hits),
            None => self.counters.deny(hits),
        }
        let counted = match reason {
            Reason::OverLimit => Measure::DeniedOverLimit,
            Reason::Banned => Measure::DeniedBanned,
            Reason::QueueFull => Measure::DeniedQueueFull,
            Reason::NoRoom => Measure::DeniedNoRoom,
            // It has no place of its own in the two cache lines of a worker slot: metrics of the store count it.
            Reason::StoreDown => return,
        };
        self.counters.add(counted, 1);
    }
}

/// The hits of a denied check between the near-limit threshold and the limit.
fn near_share(outcome: &Outcome, capacity: u64, ratio: f32) -> u64 {
    if outcome.before >= capacity || outcome.after <= capacity {
        0
    } else {
        capacity - near_limit(capacity, ratio).max(outcome.before)
    }
}

/// The near-limit threshold: this share of the limit, at most 1, in the single precision of the reference.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn near_limit(capacity: u64, ratio: f32) -> u64 {
    ((capacity as f32 * ratio).floor() as u64).min(capacity)
}
