//! Usage: exact counts for every rule, in atomics that the decision path only adds to.
//!
//! Every worker adds to a [`WorkerSlot`] of its own, so that workers do not write to the same cache lines; readers sum up the
//! slots. A bounded number of counters is tracked individually as well. Everything that depends on what clients send (single
//! counters, metrics by value, unknown domains) is bounded, and the rest is aggregated as `other`, so totals stay exact.

mod by_entry;
mod changes;
mod counts;
mod denials;
mod domain_counts;
mod filter;
mod gains;
mod last_counts;
mod measure;
mod peak;
mod requests;
mod rule_name;
mod rule_usage;
mod schedule;
mod selection;
mod series;
mod series_table;
mod snapshot;
mod totals;

pub use by_entry::{EntryKey, KeyUsage, RequestCounts, RequestName};
pub use changes::Changes;
pub use counts::{Counts, Recorded};
pub use denials::{Denial, Denials, DeniedDescriptor, DeniedLimit, Listener, TICK_MS};
#[cfg(test)]
pub(crate) use denials::{denial_for_tests, limit_for_tests};
pub use filter::Filter;
pub use gains::{Gains, LastReading};
pub use measure::{COLUMNS, Column, Measure};
pub use rule_name::{Labels, RuleName};
pub use rule_usage::RuleUsage;
pub use schedule::{ReportPosition, Schedule};
pub use selection::{Scope, Selection};
pub use series::{SeriesUsage, Usage};
pub use series_table::{CounterName, Series, Slot};
pub use snapshot::{CounterCounts, RuleCounts, UsageSnapshot};
pub use totals::Totals;

use peak::Peak;

/// The slot in which a worker counts. Slots matter only for speed: any thread may use any slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerSlot(pub usize);

#[cfg(test)]
mod tests;
