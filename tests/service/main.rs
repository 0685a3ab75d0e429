//! The service as its clients see it: the real binary, real sockets, real protocols.

// Clippy knows only functions marked #[test] as tests.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stderr, reason = "a failed test shows the logs of what it ran")]

mod abuse;
mod access;
mod admin;
mod agree;
mod alerts;
mod ask;
mod bench;
mod calendar;
mod check;
mod client_access;
mod compressed;
mod delayed;
mod denial_log;
mod drain;
mod examples;
mod frames;
mod grpcurl;
mod h2spec;
mod hand_over;
mod health;
mod history;
mod hostile;
mod instead;
mod json;
mod latency;
mod lifted;
mod looking;
mod metadata;
mod metrics;
mod observers;
mod operate;
mod operating;
mod other_front_end;
mod otlp;
mod page;
mod raw;
mod record;
mod reflection;
mod reload;
mod requests;
mod restart;
mod secrets;
#[path = "../server/mod.rs"]
#[allow(dead_code, reason = "some of it is for the tests with Envoy")]
mod server;
mod shipped;
mod simulate;
mod small_disk;
mod start;
mod statsd;
mod storm;
mod suggest;
mod sums;
mod tls;
mod tls_server;
mod top;

use server::TestServer;
