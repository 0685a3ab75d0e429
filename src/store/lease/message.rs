//! What a replica asks the engine about one counter, and the answer.

use crate::units::{Nanos, Timestamp};

/// A request about one counter. All numbers but `waiting`, `rate_millis` and `last` say what happened before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// The number of the request of this counter; what waits for it is decided once it has ended.
    pub number: u32,
    /// When it was made, by the clock of this replica: leases are counted from then.
    pub asked_at: Timestamp,
    /// The engine's name of the window that is meant: its end for fixed windows, its begin for sliding ones, the begin of the
    /// period of buckets; in microseconds. 0: none is known.
    pub window: u64,
    /// Hits of checks that wait.
    pub waiting: u64,
    /// The fewest hits that any of these checks has use for.
    pub least: u64,
    /// Hits per thousand seconds; 0: nothing is wanted but what waits.
    pub rate_millis: u64,
    /// The size of the lease before.
    pub last: u64,
    /// Hits that were lent and go back unspent.
    pub returned: u64,
    /// Tokens that were lent and have been spent.
    pub reported: u64,
    /// Tokens that were lent and are kept; they count to the present period from now on.
    pub kept: u64,
    /// Tokens that were charged or spent, and are given back.
    pub refunded: u64,
    /// Hits to be counted, whatever is left: of an outage, and of denied checks that count.
    pub charged: u64,
}

/// The answer to an [`Ask`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Hits for the checks that wait, to be spent at once.
    pub at_once: u64,
    /// Hits that may be spent until the lease ends.
    pub lease: u64,
    /// Hits that are left for others after that; negative: more are counted than the limit allows.
    pub left: i64,
    /// How long the lease lasts, counted from when it was granted.
    pub lasts: Nanos,
    /// The engine's name of the window; 0: there is none.
    pub window: u64,
    /// While nothing is left: the time until one hit is.
    pub wait: Nanos,
}
