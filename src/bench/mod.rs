//! A load generator for any rate limit service.
//!
//! ```text
//! run: threads, the start and the end, the cost of server and generator
//!   `- generator: one thread, with a reading task for each connection and a task for the schedule; worker: their state
//!        |- session: one connection, bytes in, bytes out (pure) --- streams, http2, template, stats
//!        `- schedule: when checks are due (pure)
//! ```
//!
//! The generator must not be the bottleneck. So a check is a template of bytes, in which only a stream's number and a few
//! digits change; the answers of one read are parsed in place; one write sends all checks that are due; and the clock is read
//! once for each batch.

mod call_status;
pub(crate) mod chart;
mod failure;
mod generator;
mod opening;
mod plan;
pub(crate) mod report;
mod run;
mod schedule;
mod session;
mod socket;
mod stats;
mod streams;
pub(crate) mod table;
mod template;
mod traffic;
mod worker;

pub use failure::Failure;
pub use opening::StartError;
pub use plan::Plan;
pub use run::{Measured, Progress, RunError, ServerCost, denies_what_it_should, run};
pub use schedule::{Arrivals, Pace};
pub use stats::Stats;
pub use traffic::{DIGITS, MAX_KEYS, OVER_LIMIT, Popularity, Traffic};
