//! A limit, as the engine sees it.

use crate::calendar::Calendar;
use crate::units::{Nanos, Timestamp};

/// One limit: a number of hits per window, with an algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Hits allowed per window.
    pub max: u32,
    /// The window's length, never zero. Of a calendar the usual one: its windows differ in length.
    pub window: Nanos,
    /// How hits are counted.
    pub algorithm: Algorithm,
    /// What happens once the limit is reached or exceeded.
    pub ban: Option<Ban>,
    /// Whether the hits of a denied check count.
    pub count_denied: CountDenied,
}

/// Whether the hits of a denied check count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountDenied {
    /// They do not.
    Never,
    /// They do if the limit is charged on its own, and do not if it is charged all or nothing with others: the default of
    /// clock-aligned fixed windows, as in the reference.
    Alone,
    /// They do, whichever limit of the check denies: for charges after the fact, which report costs that have been incurred.
    Always,
}

impl Limit {
    /// Whether the hits of a check that this limit denies count, when it is charged on its own.
    pub const fn counts_denied(&self) -> bool {
        !matches!(self.count_denied, CountDenied::Never)
    }

    /// Whether the hits of a denied check count, whichever of its limits denies.
    pub const fn keeps_denied(&self) -> bool {
        matches!(self.count_denied, CountDenied::Always)
    }

    /// The end of the window of all counters at an instant; `None`: counters have windows of their own, or none that end.
    ///
    /// Cost: a division; for a calendar see [`Calendar::window_at`].
    pub fn aligned_end(&self, now: Timestamp) -> Option<Timestamp> {
        match self.algorithm {
            Algorithm::FixedWindow { starts: Starts::Clock } => Some(self.clock_end(now)),
            Algorithm::FixedWindow { starts: Starts::Calendar(calendar) } => Some(calendar.window_at(now).end),
            _ => None,
        }
    }

    /// The first whole multiple of the window's length after an instant.
    pub(super) fn clock_end(&self, now: Timestamp) -> Timestamp {
        now.minus(Nanos::from_ns(now.as_ns() % self.window.as_ns().max(1))).plus(self.window)
    }

    /// The calendar that its windows follow.
    pub const fn calendar(&self) -> Option<&'static Calendar> {
        match self.algorithm {
            Algorithm::FixedWindow { starts: Starts::Calendar(calendar) } => Some(calendar),
            _ => None,
        }
    }

    /// The length of the window at an instant: that of the calendar's, if it has one.
    pub fn window_at(&self, now: Timestamp) -> Nanos {
        self.calendar().map_or(self.window, |calendar| calendar.window_at(now).length())
    }

    /// The most hits that a fresh counter admits at one instant without a delay: the scale of `before` and `after` in an
    /// outcome.
    pub fn capacity(&self) -> u64 {
        match self.algorithm {
            Algorithm::TokenBucket { burst, .. } => burst.into(),
            _ => self.max.into(),
        }
    }
}

/// How hits are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// One count per window.
    FixedWindow {
        /// When windows begin.
        starts: Starts,
    },
    /// Two adjacent windows, the earlier one weighed by its share of the last `window`.
    SlidingWindow,
    /// Every admitted hit with its time.
    SlidingLog,
    /// GCRA: a bucket that fills evenly.
    TokenBucket {
        /// The bucket's size, at least 1.
        burst: u32,
        /// Hits above the burst that may wait.
        queue: Queue,
    },
}

/// When the windows of a fixed window begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Starts {
    /// At whole multiples of the length since the epoch.
    Clock,
    /// At the first hit.
    FirstRequest,
    /// At the edges of a calendar.
    Calendar(&'static Calendar),
}

impl Starts {
    /// Whether all counters have the same windows, whatever they are charged.
    pub const fn is_aligned(self) -> bool {
        !matches!(self, Self::FirstRequest)
    }
}

/// Hits above the burst that may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// The maximum number; 0: no queue.
    pub size: u32,
    /// Who waits.
    pub mode: QueueMode,
}

/// Who waits for a queued hit's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueMode {
    /// The server delays its reply.
    Hold,
    /// The server delays its reply, but the caller waits no longer than this: hits that would wait longer are denied and not
    /// charged.
    HoldAtMost(Nanos),
    /// The answer reports how long the caller should wait.
    Advise,
}

/// A ban of fixed length, which checks during the ban do not renew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Its length, never zero.
    pub length: Nanos,
    /// What begins it.
    pub when: BanWhen,
}

/// What begins a ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BanWhen {
    /// The hit that makes the count equal to the limit, itself admitted; or a denied check.
    Reached,
    /// A denied check.
    Exceeded,
}
