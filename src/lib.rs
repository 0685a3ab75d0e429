//! Tidegate: a rate-limit decision service. This is the map; `docs/ARCHITECTURE.md` draws it, and
//! `tests/repository/imports.rs` says what may use what.
//!
//! Public is what the binary, the tests, the benches and the fuzz targets use.

// The command line, the composition root, and the settings of `serve`.
pub(crate) mod app;
pub mod cli;
pub(crate) mod settings;

// Three ports: the gRPC data plane, the public HTTP port, the operators' port; and what every gRPC port offers.
pub(crate) mod access;
mod admin;
pub(crate) mod grpc;
pub(crate) mod http;
pub(crate) mod rls;

// What a check goes through, whatever carried it.
pub mod api;
pub mod limiter;
pub mod recording;
pub mod service;
pub mod store;
pub mod usage;

// PURE: rules, algorithms, calendars, instants, bytes as text, and untrusted text made safe to show.
pub mod calendar;
pub mod engine;
pub(crate) mod hex;
pub mod rules;
pub(crate) mod sanitize;
pub mod units;

// PURE: what operators changed, as replicas share it.
pub mod ledger;

// What feeds the limiter, and what follows from what it counts.
pub(crate) mod alerts;
pub(crate) mod config;
pub(crate) mod history;
pub(crate) mod operations;
pub(crate) mod state;
pub mod telemetry;
pub(crate) mod xds;

// The engine of shared counters (Redis or Valkey), and all that is known of its protocol.
pub mod engine_link;
// Who asks it, and when.
pub mod sharing;

// Sockets, HTTP/2, and the process.
pub(crate) mod http2;
pub(crate) mod net;
pub mod runtime;

#[doc(hidden)]
pub mod fuzzed;

// The limiter on a virtual clock, limits that fit what came, and the load generator.
#[cfg(feature = "bench")]
pub(crate) mod bench;
pub mod simulate;
pub mod suggest;
