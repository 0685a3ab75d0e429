//! The service as its clients see it: the real binary, real sockets, real protocols.

// Clippy knows only functions marked #[test] as tests.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod admin;
mod alerts;
mod ask;
mod drain;
mod health;
mod held;
mod json;
mod latency;
mod reflection;
mod refusals;
mod server;
mod start;
mod storm;

use server::TestServer;
