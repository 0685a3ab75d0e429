//! What was counted: per rule always and exactly, in atomics that the decision path only adds to.
//!
//! Every worker adds to a [`Lane`] of its own, so that no cache line is written by all; whoever reads sums the lanes up.
//! Series that depend on what clients send (metrics by value, unknown domains) are bounded; what does not fit goes
//! into one `other` series, so totals stay exact.

mod counts;
mod denials;
mod series;

pub use counts::{Count, Counts, Totals};
pub use denials::{Denial, Denials, Listener, TICK_MS};
pub use series::{Labels, RuleUsage, SeriesUsage, Usage};

/// Which worker counts. Lanes are only a matter of speed: any lane may be used by any thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lane(pub usize);
