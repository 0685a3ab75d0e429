//! What is counted: the one list of measures, which everything that counts, sums, stores or shows them goes by.

use std::sync::atomic::{AtomicU64, Ordering};

/// One measure of usage. A check is counted once for each of its descriptors that matched; all measures only grow.
///
/// The order is that of the memory: what an admitted check adds to shares a cache line, the measures of single counters
/// come first, and those that follow from others last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Checks admitted, those in a queue, without a limit, or let pass by shadow mode included.
    RequestsAllowed,
    /// Hits of the checks that the limits admitted: without those that only shadow mode let pass.
    HitsWithinLimit,
    /// Checks denied.
    RequestsDenied,
    /// Hits of the checks denied.
    HitsDenied,
    /// Hits of the checks that only shadow mode let pass.
    HitsShadowAllowed,
    /// Hits between 80 % of the limit and the limit.
    HitsNearLimit,
    /// Checks that waited, or were advised to wait, in a queue.
    RequestsQueued,
    /// Checks that no limit was asked about: unlimited or disabled.
    RequestsUnlimited,
    /// Hits above the limit.
    HitsOverLimit,
    /// Hits above the limit of a rule in shadow mode.
    HitsShadowDenied,
    /// Checks denied for too many hits.
    DeniedOverLimit,
    /// Checks denied because of a ban.
    DeniedBanned,
    /// Checks denied because the queue was full, or longer than the caller waits.
    DeniedQueueFull,
    /// Checks denied because the store had no room for another counter.
    DeniedNoRoom,
    /// Hits given back.
    HitsRefunded,
    /// Checks that matched no rule; of the process as a whole, 0 for rules and counters.
    RequestsUnmatched,
    /// All checks: those admitted and those denied.
    Requests,
    /// Hits of the checks admitted, by whatever rule.
    HitsAllowed,
    /// All hits asked for.
    Hits,
}

/// How many measures are known of single counters, and of requests by entry: the first ones, and those that follow.
pub(super) const PER_COUNTER: usize = Measure::HitsShadowAllowed as usize + 1;

/// How many measures are counted, two cache lines of them; the others follow from these.
pub(super) const COUNTED: usize = Measure::RequestsUnmatched as usize + 1;

/// A measure as the history stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// The measure.
    pub measure: Measure,
    /// The name of its column in the database.
    pub name: &'static str,
    /// It is also known of single counters, and of requests by entry.
    pub per_counter: bool,
    /// It counts hits: one check may ask for so many that the sum of a few rows exceeds SQLite's integers.
    pub is_hits: bool,
}

/// The measures that the history stores, in the order of its columns, which databases on disk already have.
///
/// It does not distinguish what admitted a hit: [`Measure::HitsWithinLimit`] and [`Measure::HitsShadowAllowed`] are stored
/// as [`Measure::HitsAllowed`], and [`Measure::HitsDenied`] is the rest of [`Measure::Hits`].
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

    /// A check that the limits admitted. Cost: two atomic additions.
    pub(super) fn allow(&self, hits: u64) {
        self.add(Measure::RequestsAllowed, 1);
        self.add(Measure::HitsWithinLimit, hits);
    }

    /// A check denied. Cost: two atomic additions.
    pub(super) fn deny(&self, hits: u64) {
        self.add(Measure::RequestsDenied, 1);
        self.add(Measure::HitsDenied, hits);
    }

    /// A check that only shadow mode let pass. Cost: two atomic additions.
    pub(super) fn shadow(&self, hits: u64) {
        self.add(Measure::RequestsAllowed, 1);
        self.add(Measure::HitsShadowAllowed, hits);
    }

    /// What was counted so far, in the order of [`Measure`].
    pub(super) fn values(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|counter| counter.load(Ordering::Relaxed))
    }
}
