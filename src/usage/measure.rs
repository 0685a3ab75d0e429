//! The list of measures. All code that counts, sums, stores or shows usage is driven by it.

use std::sync::atomic::{AtomicU64, Ordering};

/// One measure of usage. A check is counted once for each of its descriptors that matched; all measures only grow.
///
/// The order is that in memory: the measures of an admitted check share a cache line, those of single counters come first,
/// and those derived from others last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Checks admitted, including those in a queue, without a limit, or admitted only because of shadow mode.
    RequestsAllowed,
    /// Hits of checks that the limits admitted, without those admitted only because of shadow mode.
    HitsWithinLimit,
    /// Checks denied.
    RequestsDenied,
    /// Hits of denied checks.
    HitsDenied,
    /// Hits of checks admitted only because of shadow mode.
    HitsShadowAllowed,
    /// Hits between 80 % of the limit and the limit.
    HitsNearLimit,
    /// Checks with a delay because of a queue.
    RequestsQueued,
    /// Checks without a limit: unlimited or disabled.
    RequestsUnlimited,
    /// Hits above the limit.
    HitsOverLimit,
    /// Hits above the limit of a rule in shadow mode.
    HitsShadowDenied,
    /// Checks denied for too many hits.
    DeniedOverLimit,
    /// Checks denied because of a ban.
    DeniedBanned,
    /// Checks denied because the queue was full, or the wait longer than the caller's timeout.
    DeniedQueueFull,
    /// Checks denied because the store's capacity for counters was exhausted.
    DeniedNoRoom,
    /// Refunded hits.
    HitsRefunded,
    /// Checks that matched no rule: for the process as a whole, 0 for rules and counters.
    RequestsUnmatched,
    /// All checks, admitted and denied.
    Requests,
    /// Hits of admitted checks, including those admitted only because of shadow mode.
    HitsAllowed,
    /// All requested hits.
    Hits,
}

/// The number of measures counted for single counters and for requests by entry: the first ones.
pub(super) const PER_COUNTER: usize = Measure::HitsShadowAllowed as usize + 1;

/// The number of counted measures, which fill two cache lines; the others are derived from these.
pub(super) const COUNTED: usize = Measure::RequestsUnmatched as usize + 1;

/// A measure as the history stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// The measure.
    pub measure: Measure,
    /// The name of its column in the database.
    pub name: &'static str,
    /// It also exists for single counters, and for requests by entry.
    pub per_counter: bool,
    /// It counts hits: a check may request so many that the sum of a few rows overflows SQLite's integers.
    pub is_hits: bool,
}

/// The measures that the history stores, in the order of its columns, which is fixed by existing databases.
///
/// [`Measure::HitsWithinLimit`] and [`Measure::HitsShadowAllowed`] are stored as their sum, [`Measure::HitsAllowed`], and
/// [`Measure::HitsDenied`] is the rest of [`Measure::Hits`].
pub const COLUMNS: [Column; 16] = [
    requests("checks", Measure::Requests),
    requests("allowed", Measure::RequestsAllowed),
    requests("denied", Measure::RequestsDenied),
    hits("hits", Measure::Hits),
    hits("hits_allowed", Measure::HitsAllowed),
    hits("hits_over_limit", Measure::HitsOverLimit),
    hits("hits_near_limit", Measure::HitsNearLimit),
    hits("hits_shadow_denied", Measure::HitsShadowDenied),
    hits("hits_refunded", Measure::HitsRefunded),
    requests("queued", Measure::RequestsQueued),
    requests("denied_over_limit", Measure::DeniedOverLimit),
    requests("denied_banned", Measure::DeniedBanned),
    requests("denied_queue_full", Measure::DeniedQueueFull),
    requests("denied_no_room", Measure::DeniedNoRoom),
    requests("unlimited", Measure::RequestsUnlimited),
    requests("unmatched", Measure::RequestsUnmatched),
];

const fn requests(name: &'static str, measure: Measure) -> Column {
    Column { measure, name, per_counter: measure.is_per_counter(), is_hits: false }
}

const fn hits(name: &'static str, measure: Measure) -> Column {
    Column { is_hits: true, ..requests(name, measure) }
}

impl Measure {
    const fn is_per_counter(self) -> bool {
        let index = self as usize;
        index < PER_COUNTER || index >= COUNTED
    }
}

/// The first `N` measures, counted by many threads at once.
#[derive(Debug)]
pub(super) struct Counters<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Counters<N> {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; N])
    }
}

impl<const N: usize> Counters<N> {
    /// Cost: one atomic addition.
    pub(super) fn add(&self, measure: Measure, n: u64) {
        if let Some(counter) = self.0.get(measure as usize) {
            counter.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// Counts a check that the limits admitted. Cost: two atomic additions.
    pub(super) fn allow(&self, hits: u64) {
        self.add(Measure::RequestsAllowed, 1);
        self.add(Measure::HitsWithinLimit, hits);
    }

    /// Counts a denied check. Cost: two atomic additions.
    pub(super) fn deny(&self, hits: u64) {
        self.add(Measure::RequestsDenied, 1);
        self.add(Measure::HitsDenied, hits);
    }

    /// Counts a check admitted only because of shadow mode. Cost: two atomic additions.
    pub(super) fn shadow(&self, hits: u64) {
        self.add(Measure::RequestsAllowed, 1);
        self.add(Measure::HitsShadowAllowed, hits);
    }

    /// The counts so far, in the order of [`Measure`].
    pub(super) fn values(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|counter| counter.load(Ordering::Relaxed))
    }

    /// The counts so far, in the order of [`Measure`].
    pub(super) fn read(&self) -> [u64; N] {
        self.0.each_ref().map(|counter| counter.load(Ordering::Relaxed))
    }
}
