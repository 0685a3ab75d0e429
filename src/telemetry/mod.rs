//! Observability: the table of metrics, a snapshot of their values, the ways to export it, and the log.
//!
//! ```text
//! limiter's atomics --> Snapshot --> prometheus: text for /metrics
//!                               |--> statsd: pushed to one, when its address is set
//!                               '--> otlp: pushed to a collector, with sampled spans, when an endpoint is set
//! ```
//! Nothing here runs on the decision path, except the choice which checks are traced and which are timed.

pub mod denial_log;
mod labels;
mod latency;
pub mod log;
mod metric;
pub mod names;
pub mod otlp;
pub mod prometheus;
mod snapshot;
mod stats;
mod statsd;
mod statsd_values;
mod store_series;
mod store_values;
mod xds_series;
mod xds_values;

pub use latency::{DecisionTimes, ONE_IN, Times};
pub use snapshot::{
    AlertValues, ConfigValues, ConnectionValues, CounterValues, EntryRequests, HistoryValues, LimitValue,
    ObservingValues, RuleSeries, Snapshot, StateValues, SweepValues, TlsValues,
};
pub use stats::stats_text;
pub(crate) use statsd::{Statsd, StatsdStatus, StatsdTarget};
pub use statsd_values::StatsdValues;
pub use store_values::{StoreChangesValues, StoreNodeValues, StoreValues};
pub use xds_values::XdsValues;
