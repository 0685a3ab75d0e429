//! What a check is answered: `docs/RULES.md` as tables.
//!
//! Each table is a configuration and a script of checks with their answers (see [`script`]). [`scene::check`] runs it
//! on a virtual clock through the very limiter that serves; a table whose checks all come at one instant is then sent
//! to a running server by gRPC as well (see [`wire`]).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test")]
#![allow(clippy::print_stderr, reason = "a failed test shows the logs of what it ran")]

mod algorithms;
mod bans;
mod candidate;
mod denials;
mod field_cases;
mod flags;
mod hits;
mod matching;
mod metadata;
mod metrics;
mod operated;
mod overrides;
mod plan_changes;
mod reload;
mod scene;
mod script;
#[path = "../server/mod.rs"]
#[allow(dead_code, reason = "the tests of the service use all of it")]
mod server;
mod settings;
mod several;
mod sharing;
mod statistics;
mod usage;
mod windows;
mod wire;
