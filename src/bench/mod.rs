//! Load for any rate limit service: many checks, and how they were answered.
//!
//! ```text
//! run: threads, their beginning and end, what server and generator cost
//!   `- generator: one thread; a task for each connection that reads, one that keeps the schedule; worker: what they share
//!        |- session: one connection, bytes in, bytes out (pure) --- streams, http2, template, stats
//!        `- schedule: when checks are due (pure)
//! ```
//!
//! The generator must not be what is measured. So a check is bytes that were made once, in which a stream's number and a few
//! digits are written; the answers of one read are taken apart in place; one write carries all checks that are due; and the
//! clock is read once for each batch.

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
