//! Sums, as everybody who reads the usage gets them.

/// What was counted since the process began: of a rule, of a counter, or of several together.
///
/// A check is counted once for each of its descriptors that matched. All of these only grow. Of a single counter only
/// the first five are known, the others are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Checks admitted, those in a queue, without a limit, or let pass by shadow mode included.
    pub requests_allowed: u64,
    /// Checks denied.
    pub requests_denied: u64,
    /// Hits of the checks admitted.
    pub hits_allowed: u64,
    /// Hits of the checks denied.
    pub hits_denied: u64,
    /// Hits of the checks that the limits admitted: without those that only shadow mode let pass.
    pub hits_within_limit: u64,
    /// Hits between 80 % of the limit and the limit.
    pub hits_near_limit: u64,
    /// Hits above the limit.
    pub hits_over_limit: u64,
    /// Hits above the limit of a rule in shadow mode.
    pub hits_shadow_denied: u64,
    /// Hits given back.
    pub hits_refunded: u64,
    /// Checks that waited, or were told to wait, in a queue.
    pub requests_queued: u64,
    /// Checks that no limit was asked about: unlimited or disabled.
    pub requests_unlimited: u64,
    /// Checks denied for too many hits.
    pub denied_over_limit: u64,
    /// Checks denied because of a ban.
    pub denied_banned: u64,
    /// Checks denied because the queue was full, or longer than the caller waits.
    pub denied_queue_full: u64,
    /// Checks denied because the store had no room for another counter.
    pub denied_no_room: u64,
}

impl Totals {
    /// All checks.
    pub fn requests(&self) -> u64 {
        self.requests_allowed.saturating_add(self.requests_denied)
    }

    /// All hits asked for.
    pub fn hits(&self) -> u64 {
        self.hits_allowed.saturating_add(self.hits_denied)
    }

    /// Only what is known of single counters.
    pub(super) fn of_counter(&self) -> Self {
        Self {
            requests_allowed: self.requests_allowed,
            requests_denied: self.requests_denied,
            hits_allowed: self.hits_allowed,
            hits_denied: self.hits_denied,
            hits_within_limit: self.hits_within_limit,
            ..Self::default()
        }
    }

    /// Whether nothing was counted.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// Both together.
    pub fn plus(&self, other: &Self) -> Self {
        self.each(other, u64::saturating_add)
    }

    /// What came since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        self.each(earlier, u64::saturating_sub)
    }

    fn each(&self, other: &Self, both: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            requests_allowed: both(self.requests_allowed, other.requests_allowed),
            requests_denied: both(self.requests_denied, other.requests_denied),
            hits_allowed: both(self.hits_allowed, other.hits_allowed),
            hits_denied: both(self.hits_denied, other.hits_denied),
            hits_within_limit: both(self.hits_within_limit, other.hits_within_limit),
            hits_near_limit: both(self.hits_near_limit, other.hits_near_limit),
            hits_over_limit: both(self.hits_over_limit, other.hits_over_limit),
            hits_shadow_denied: both(self.hits_shadow_denied, other.hits_shadow_denied),
            hits_refunded: both(self.hits_refunded, other.hits_refunded),
            requests_queued: both(self.requests_queued, other.requests_queued),
            requests_unlimited: both(self.requests_unlimited, other.requests_unlimited),
            denied_over_limit: both(self.denied_over_limit, other.denied_over_limit),
            denied_banned: both(self.denied_banned, other.denied_banned),
            denied_queue_full: both(self.denied_queue_full, other.denied_queue_full),
            denied_no_room: both(self.denied_no_room, other.denied_no_room),
        }
    }
}
