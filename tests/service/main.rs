//! The service as its clients see it: the real binary, real sockets, real protocols.

// Clippy knows only functions marked #[test] as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod admin;
mod ask;
mod drain;
mod health;
mod history;
mod json;
mod observers;
mod reflection;
mod server;
mod start;
mod storm;
mod sums;

use server::TestServer;
