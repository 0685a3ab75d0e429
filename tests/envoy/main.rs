//! A real Envoy in front of a real Tidegate.
//!
//! The tests start both on free loopback ports, send plain HTTP requests and look at what comes back, as a user of the
//! two would. They need an Envoy: `ENVOY_BIN` names it (`./test` installs one). Without it each test says `SKIPPED` and
//! passes. Limits are per year here, so that no window ends while a test counts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test")]
#![allow(clippy::print_stderr, reason = "a failed test shows the logs of what it ran")]

mod access_log;
mod bootstrap;
mod charge_after;
mod client;
mod decisions;
mod deployed;
mod drain;
mod example;
mod front_ends;
mod hostile;
mod lab;
mod mutual_tls;
mod outage;
mod proxy;
mod reload;
mod response_parts;
#[path = "../server/mod.rs"]
#[allow(dead_code, reason = "the tests of the service use all of it")]
mod server;
mod starters;
