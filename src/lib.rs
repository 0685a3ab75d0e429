//! Tidegate: a rate-limit decision service.
//!
//! The modules from top to bottom; `docs/ARCHITECTURE.md` has the map, and `tests/house_rules/imports.rs` what each may
//! use.

// The command line.
pub mod cli;

// The composition root, and its settings.
pub mod app;
pub mod settings;

// Three ports: the gRPC data plane, the public HTTP port, the operators' port; and what every gRPC port offers.
pub mod admin;
pub mod grpc;
pub mod http;
pub mod rls;

// What a check goes through, whatever carried it.
pub mod api;
pub mod limiter;
pub mod service;
pub mod store;
pub mod usage;

// PURE: rules, algorithms, instants.
pub mod engine;
pub mod rules;
pub mod units;

// PURE: untrusted text, made safe to show.
pub mod sanitize;

// What feeds the limiter, and what follows from what it counts.
pub mod alerts;
pub mod config;
pub mod history;
pub mod telemetry;

// Sockets, HTTP/2, and the process.
#[cfg(feature = "bench")]
pub mod http2;
pub mod net;
pub mod runtime;

// An offline client of the limiter, and the load generator.
#[cfg(feature = "bench")]
pub mod bench;
pub mod simulate;
