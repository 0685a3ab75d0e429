//! The counters of one rule.
//!
//! What has a series of its own ([`super::series_table`]) is counted there, the rest here: so a rule's sums are sums of
//! what only grows, they are exact, and they never go back.

use std::sync::atomic::{AtomicU64, Ordering};

use super::series_table::Slot;
use super::{Lane, Peak, Totals};
use crate::engine::{Outcome, Reason, Verdict};
use crate::units::Timestamp;

/// What is counted in a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    /// Checks that the limits admitted, without a series of their own.
    Allowed,
    /// Their hits.
    AllowedHits,
    /// Hits between 80 % of the limit and the limit.
    NearLimit,
    /// Checks that waited, or were told to wait, in a queue.
    Queued,
    /// Checks that no limit was asked about; their hits are in `AllowedHits`.
    Unlimited,
    /// Checks denied, without a series of their own.
    Denied,
    /// Their hits.
    DeniedHits,
    /// Checks that only shadow mode let pass, without a series of their own.
    Shadowed,
    /// Their hits.
    ShadowedHits,
    /// Hits above the limit.
    OverLimit,
    /// Hits above the limit of a rule in shadow mode.
    ShadowMode,
    /// Checks denied for too many hits.
    DeniedOverLimit,
    /// Checks denied because of a ban.
    DeniedBanned,
    /// Checks denied because the queue was full.
    DeniedQueueFull,
    /// Checks denied because the store had no room for a counter.
    DeniedNoRoom,
    /// Hits given back.
    Refunded,
}

/// How many kinds of counts there are: two cache lines.
const KINDS: usize = Count::Refunded as usize + 1;

/// The counters of one rule, a row of them for each lane.
#[derive(Debug)]
pub struct Counts {
    lanes: Box<[Row]>,
}

/// One lane's counters, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Row {
    counters: [AtomicU64; KINDS],
    peak: Peak,
}

impl Row {
    fn add(&self, count: Count, n: u64) {
        if let Some(counter) = self.counters.get(count as usize) {
            counter.fetch_add(n, Ordering::Relaxed);
        }
    }
}

impl Counts {
    /// Counters at zero for that many lanes, at least one.
    pub(super) fn new(lanes: usize) -> Self {
        Self { lanes: std::iter::repeat_with(Row::default).take(lanes.max(1)).collect() }
    }

    /// Counts a check that no limit was asked about. Cost: three atomic additions to a line that only this lane writes.
    pub fn record_unlimited(&self, lane: Lane, hits: u64) {
        let Some(row) = self.row(lane) else { return };
        row.add(Count::Allowed, 1);
        row.add(Count::AllowedHits, hits);
        row.add(Count::Unlimited, 1);
    }

    /// Counts hits that are given back.
    pub fn record_refund(&self, lane: Lane, hits: u64) {
        if let Some(row) = self.row(lane) {
            row.add(Count::Refunded, hits);
        }
    }

    /// Counts one check of `hits` hits that was answered with `outcome`, as the reference splits them; in `slot`, if the
    /// counter has a series of its own.
    ///
    /// `capacity` is the limit that `outcome.before` and `outcome.after` are measured against.
    ///
    /// Cost: two atomic additions for an admitted check that is neither near the limit nor queued, and one more where it
    /// finds more of the limit used than any check before it in this minute.
    pub fn record(&self, check: Recorded<'_>) {
        let Some(row) = self.row(check.lane) else { return };
        row.peak.raise(check.now, check.outcome.after, check.capacity);
        match check.outcome.verdict {
            Verdict::Admitted { delay } => {
                match check.slot {
                    Some(slot) => slot.allow(check.hits),
                    None => row.add_both(Count::Allowed, Count::AllowedHits, check.hits),
                }
                let (near, Outcome { before, after, .. }) = (near_limit(check.capacity), *check.outcome);
                if after > near {
                    row.add(Count::NearLimit, if before >= near { check.hits } else { after - near });
                }
                if !delay.is_zero() {
                    row.add(Count::Queued, 1);
                }
            }
            Verdict::Denied(reason) => row.record_denied(&check, reason),
        }
    }

    /// Counts a request by a value of one of its entries, in `slot` or here. Cost: two atomic additions.
    pub(super) fn record_request(&self, lane: Lane, slot: Option<&Slot>, hits: u64, denied: bool) {
        match (slot, self.row(lane)) {
            (Some(slot), _) if denied => slot.deny(hits),
            (Some(slot), _) => slot.allow(hits),
            (None, Some(row)) if denied => row.add_both(Count::Denied, Count::DeniedHits, hits),
            (None, Some(row)) => row.add_both(Count::Allowed, Count::AllowedHits, hits),
            (None, None) => {}
        }
    }

    /// The sums over all lanes; what has a series of its own is not in the numbers of checks and hits.
    pub(super) fn totals(&self) -> Totals {
        let of = |count: Count| -> u64 {
            let counters = self.lanes.iter().filter_map(|row| row.counters.get(count as usize));
            counters.fold(0, |sum, counter| sum.wrapping_add(counter.load(Ordering::Relaxed)))
        };
        let (shadowed, shadowed_hits) = (of(Count::Shadowed), of(Count::ShadowedHits));
        let within = of(Count::AllowedHits);
        Totals {
            requests_allowed: of(Count::Allowed) + shadowed,
            requests_denied: of(Count::Denied),
            hits_allowed: within + shadowed_hits,
            hits_denied: of(Count::DeniedHits),
            hits_within_limit: within,
            hits_near_limit: of(Count::NearLimit),
            hits_over_limit: of(Count::OverLimit),
            hits_shadow_denied: of(Count::ShadowMode),
            hits_refunded: of(Count::Refunded),
            requests_queued: of(Count::Queued),
            requests_unlimited: of(Count::Unlimited),
            denied_over_limit: of(Count::DeniedOverLimit),
            denied_banned: of(Count::DeniedBanned),
            denied_queue_full: of(Count::DeniedQueueFull),
            denied_no_room: of(Count::DeniedNoRoom),
        }
    }

    /// The largest share of a limit that a check has found used in this minute or the one before, over all lanes: from 0
    /// to 1.
    pub(super) fn saturation(&self, now: Timestamp) -> f64 {
        self.lanes.iter().map(|row| row.peak.share(now)).fold(0.0, f64::max)
    }

    fn row(&self, lane: Lane) -> Option<&Row> {
        self.lanes.get(lane.0).or_else(|| self.lanes.get(lane.0 % self.lanes.len()))
    }
}

/// One decided check, as [`Counts::record`] counts it.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'a> {
    /// Who counts.
    pub lane: Lane,
    /// When.
    pub now: Timestamp,
    /// The counter's own series.
    pub slot: Option<&'a Slot>,
    /// The hits asked for.
    pub hits: u64,
    /// The answer.
    pub outcome: &'a Outcome,
    /// What the outcome's hits are measured against.
    pub capacity: u64,
    /// The rule is in shadow mode: nothing is denied.
    pub shadow: bool,
}

impl Row {
    fn add_both(&self, checks: Count, hits: Count, n: u64) {
        self.add(checks, 1);
        self.add(hits, n);
    }

    fn record_denied(&self, check: &Recorded<'_>, reason: Reason) {
        let Recorded { hits, outcome, capacity, .. } = *check;
        let over = if outcome.before >= capacity { hits } else { outcome.after.saturating_sub(capacity).min(hits) };
        self.add(Count::OverLimit, over);
        self.add(Count::NearLimit, near_share(outcome, capacity));
        if check.shadow {
            self.add(Count::ShadowMode, over);
            return match check.slot {
                Some(slot) => slot.shadow(hits),
                None => self.add_both(Count::Shadowed, Count::ShadowedHits, hits),
            };
        }
        match check.slot {
            Some(slot) => slot.deny(hits),
            None => self.add_both(Count::Denied, Count::DeniedHits, hits),
        }
        let counted = match reason {
            Reason::OverLimit => Count::DeniedOverLimit,
            Reason::Banned => Count::DeniedBanned,
            Reason::QueueFull => Count::DeniedQueueFull,
            Reason::NoRoom => Count::DeniedNoRoom,
        };
        self.add(counted, 1);
    }
}

/// The hits of a denied check that still fell between near and limit.
fn near_share(outcome: &Outcome, capacity: u64) -> u64 {
    if outcome.before >= capacity { 0 } else { capacity - near_limit(capacity).max(outcome.before) }
}

/// From where hits are near the limit: 80 % of it, in the reference's single precision.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn near_limit(capacity: u64) -> u64 {
    (capacity as f32 * NEAR_LIMIT_RATIO).floor() as u64
}

/// The reference's `NEAR_LIMIT_RATIO`.
const NEAR_LIMIT_RATIO: f32 = 0.8;
