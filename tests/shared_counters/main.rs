//! Shared counters on real engines. Without an engine a test says `SKIPPED` and passes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test")]
#![allow(clippy::print_stderr, reason = "a failed test shows the logs of what it ran")]

mod changes;
mod engine_states;
#[path = "../engines/mod.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod engines;
mod equality;
mod failover;
mod faults;
mod fresh;
#[path = "../hosts/mod.rs"]
#[allow(dead_code, reason = "the tests of what is deployed use all of it")]
mod hosts;
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
mod strain;
mod together;
mod topologies;
mod used_up;
mod variables;
mod versions;
mod windows;
