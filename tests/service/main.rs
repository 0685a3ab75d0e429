//! The service as its clients see it: the real binary, real sockets, real protocols.

// Clippy knows only functions marked #[test] as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod admin;
mod alerts;
mod ask;
mod bench;
mod check;
mod compressed;
mod delayed;
mod denial_log;
mod drain;
mod health;
mod history;
mod hostile;
mod json;
mod latency;
mod lifted;
mod metadata;
mod metrics;
mod observers;
mod otlp;
mod raw;
mod reflection;
mod reload;
mod requests;
mod server;
mod simulate;
mod start;
mod storm;
mod sums;

use server::TestServer;
