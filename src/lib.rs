//! Tidegate: a rate-limit decision service.
//!
//! See `docs/ARCHITECTURE.md` for the map. Imports run one way:
//! `main -> cli -> app -> {grpc, http} -> wire -> limiter -> {rules, store, usage} -> engine -> units`.

pub mod alerts;
pub mod app;
pub mod background;
pub mod cli;
pub mod clock;
pub mod config;
pub mod engine;
pub mod grpc;
pub mod history;
pub mod http;
pub mod limiter;
pub mod load;
pub mod net;
pub mod rules;
pub mod settings;
pub mod shutdown;
pub mod simulate;
pub mod store;
pub mod sweeper;
pub mod telemetry;
pub mod units;
pub mod usage;
pub mod wire;
