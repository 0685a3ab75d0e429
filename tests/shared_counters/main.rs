//! Shared counters on real engines. Without an engine a test says `SKIPPED` and passes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test")]
#![allow(clippy::print_stderr, reason = "a failed test shows the logs of what it ran")]

mod changes;
#[path = "../engines/mod.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod engines;
mod equality;
mod lease;
mod leases;
mod node;
mod operators;
mod outage;
mod over_admission;
mod replicas;
#[path = "../server/mod.rs"]
#[allow(dead_code, reason = "the tests of the service use all of it")]
mod server;
mod set_up;
mod store_check;
mod topologies;
mod variables;
