//! A real `tidegate serve` that gets its rules from a control plane: what that may send, and how it may behave.

// Clippy knows only functions marked #[test] as tests.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stderr, reason = "a failed test shows the logs of what it ran")]

mod accepting;
mod contracts;
mod control_plane;
mod gateway_client;
mod hand_over;
mod hostile;
mod overlay;
mod reference;
mod replica;
#[path = "../server/mod.rs"]
#[allow(dead_code, reason = "other tests use all of it")]
mod server;
mod sets;
mod starting;
mod streams;
mod tls;

use server::TestServer;
