//! The counters of one series.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Lane;
use crate::engine::{Outcome, Reason, Verdict};

/// What is counted. `*_limit`, `Hits` and `ShadowMode` are in hits and mean what the reference's statistics mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Checks, each descriptor that matched the rule one.
    Checks,
    /// Hits, admitted or not.
    Hits,
    /// Hits above the limit.
    OverLimit,
    /// Hits between 80 % of the limit and the limit.
    NearLimit,
    /// Hits of admitted checks.
    WithinLimit,
    /// Hits above the limit of a rule in shadow mode.
    ShadowMode,
    /// Checks denied.
    Denied,
    /// Checks that waited, or were told to wait, in a queue.
    Queued,
    /// Checks denied because of a ban.
    Banned,
    /// Hits given back.
    Refunded,
    /// Checks denied because the store had no room for a counter.
    NoRoom,
    /// Requests that were answered with an error.
    Errors,
}

/// How many kinds of counts there are.
const KINDS: usize = Count::Errors as usize + 1;

/// The sums of one series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals([u64; KINDS]);

impl Totals {
    /// One of the sums.
    pub fn of(&self, count: Count) -> u64 {
        self.0.get(count as usize).copied().unwrap_or(0)
    }
}

/// The counters of one series, a row of them for each lane.
#[derive(Debug)]
pub struct Counts {
    lanes: Box<[Row]>,
}

/// One lane's counters, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Row([AtomicU64; KINDS]);

impl Counts {
    /// Counters at zero for that many lanes, at least one.
    pub(super) fn new(lanes: usize) -> Self {
        Self { lanes: std::iter::repeat_with(Row::default).take(lanes.max(1)).collect() }
    }

    /// Adds to one count; to all hits, [`Count::Hits`], only those that are not [`Count::WithinLimit`]. Cost: one atomic addition to a line that only this lane writes.
    pub fn add(&self, lane: Lane, count: Count, n: u64) {
        if let Some(counter) = self.row(lane).and_then(|row| row.0.get(count as usize)) {
            counter.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// Counts one check of `hits` hits that was answered with `outcome`, as the reference splits them.
    ///
    /// `capacity` is the limit that `outcome.before` and `outcome.after` are measured against.
    pub fn record(&self, lane: Lane, hits: u64, outcome: &Outcome, capacity: u64, shadow: bool) {
        self.add(lane, Count::Checks, 1);
        match outcome.verdict {
            Verdict::Admitted { delay } => {
                self.add(lane, Count::WithinLimit, hits);
                let near = near_limit(capacity);
                if outcome.after > near {
                    self.add(lane, Count::NearLimit, if outcome.before >= near { hits } else { outcome.after - near });
                }
                if !delay.is_zero() {
                    self.add(lane, Count::Queued, 1);
                }
            }
            Verdict::Denied(reason) => self.record_denied(lane, hits, outcome, capacity, shadow, reason),
        }
    }

    fn record_denied(&self, lane: Lane, hits: u64, outcome: &Outcome, capacity: u64, shadow: bool, reason: Reason) {
        self.add(lane, Count::Hits, hits);
        let over = if outcome.before >= capacity { hits } else { outcome.after.saturating_sub(capacity).min(hits) };
        self.add(lane, Count::OverLimit, over);
        self.add(lane, Count::NearLimit, near_share(outcome, capacity));
        if shadow {
            self.add(lane, Count::ShadowMode, over);
        } else {
            self.add(lane, Count::Denied, 1);
        }
        match reason {
            Reason::Banned => self.add(lane, Count::Banned, 1),
            Reason::NoRoom => self.add(lane, Count::NoRoom, 1),
            Reason::OverLimit | Reason::QueueFull => {}
        }
    }

    /// The sums over all lanes.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for row in &self.lanes {
            for (sum, counter) in totals.0.iter_mut().zip(&row.0) {
                *sum = sum.wrapping_add(counter.load(Ordering::Relaxed));
            }
        }
        // Nearly all hits are of admitted checks, and those are counted once.
        let within = totals.of(Count::WithinLimit);
        if let Some(hits) = totals.0.get_mut(Count::Hits as usize) {
            *hits = hits.wrapping_add(within);
        }
        totals
    }

    fn row(&self, lane: Lane) -> Option<&Row> {
        self.lanes.get(lane.0).or_else(|| self.lanes.get(lane.0 % self.lanes.len()))
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
