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

pub(crate) use opening::StartError;
pub(crate) use plan::Plan;
pub(crate) use run::{Measured, Progress, RunError, denies_what_it_should, run};
pub(crate) use schedule::{Arrivals, Pace};
pub(crate) use traffic::{MAX_KEYS, Popularity, Traffic};
