//! What is counted of a series, column by column.

/// One count, in the order of the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Checks.
    Checks,
    /// Checks admitted.
    Allowed,
    /// Checks denied.
    Denied,
    /// Hits asked for.
    Hits,
    /// Hits admitted.
    HitsAllowed,
    /// Hits above the limit.
    HitsOverLimit,
    /// Hits near the limit.
    HitsNearLimit,
    /// Hits above the limit of a rule in shadow mode.
    HitsShadowDenied,
    /// Hits given back.
    HitsRefunded,
    /// Checks that waited, or were told to wait, in a queue.
    Queued,
    /// Checks denied for too many hits.
    DeniedOverLimit,
    /// Checks denied because a ban ran.
    DeniedBanned,
    /// Checks denied because the queue was full, or longer than the caller's patience.
    DeniedQueueFull,
    /// Checks denied because there was no room for another counter.
    DeniedNoRoom,
    /// Checks of rules without a limit.
    Unlimited,
    /// Checks that matched no rule.
    Unmatched,
}

/// The columns' names in the database, in the order of [`Column`], and whether a column counts hits: one check may ask
/// for so many that a sum of a few rows is more than SQLite's integers hold.
pub(super) const COLUMNS: [(&str, bool); 16] = [
    ("checks", false),
    ("allowed", false),
    ("denied", false),
    ("hits", true),
    ("hits_allowed", true),
    ("hits_over_limit", true),
    ("hits_near_limit", true),
    ("hits_shadow_denied", true),
    ("hits_refunded", true),
    ("queued", false),
    ("denied_over_limit", false),
    ("denied_banned", false),
    ("denied_queue_full", false),
    ("denied_no_room", false),
    ("unlimited", false),
    ("unmatched", false),
];

/// The counts of one series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; COLUMNS.len()]);

impl Counts {
    /// One of the counts.
    pub fn of(&self, column: Column) -> u64 {
        self.0.get(column as usize).copied().unwrap_or(0)
    }

    /// The same counts, but this one is `count`.
    pub fn with(mut self, column: Column, count: u64) -> Self {
        if let Some(slot) = self.0.get_mut(column as usize) {
            *slot = count;
        }
        self
    }

    /// Whether nothing was counted.
    pub fn is_zero(&self) -> bool {
        self.0.iter().all(|count| *count == 0)
    }

    /// Adds, saturating.
    pub fn add(&mut self, more: &Self) {
        for (sum, count) in self.0.iter_mut().zip(more.0) {
            *sum = sum.saturating_add(count);
        }
    }

    /// What was counted since `earlier`. When a count is lower than it was, the series has begun anew, and all of it is new.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        if self.0.iter().zip(earlier.0).any(|(now, then)| *now < then) {
            return *self;
        }
        let mut difference = *self;
        for (now, then) in difference.0.iter_mut().zip(earlier.0) {
            *now = now.saturating_sub(then);
        }
        difference
    }

    /// The counts in the order of the columns.
    pub(super) fn values(&self) -> impl Iterator<Item = u64> {
        self.0.into_iter()
    }

    pub(super) fn from_values(values: impl IntoIterator<Item = u64>) -> Self {
        let mut counts = Self::default();
        for (slot, value) in counts.0.iter_mut().zip(values) {
            *slot = value;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_never_negative() {
        let counts = |checks, denied| Counts::default().with(Column::Checks, checks).with(Column::Denied, denied);
        for (now, then, want) in [
            (counts(5, 1), counts(3, 1), counts(2, 0)),
            (counts(5, 1), counts(5, 1), counts(0, 0)),
            (counts(2, 0), counts(3, 1), counts(2, 0)),
            (counts(9, 0), counts(3, 1), counts(9, 0)),
        ] {
            assert_eq!(now.since(&then), want, "{now:?} since {then:?}");
        }
    }
}
