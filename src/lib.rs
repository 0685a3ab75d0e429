//! Tidegate: a rate-limit decision service.
//!
//! See `docs/ARCHITECTURE.md` for the map. Imports run one way:
//! `main -> cli -> app -> {grpc, http} -> wire -> limiter -> {rules, store, usage} -> engine -> units`.

pub mod cli;
pub mod clock;
pub mod config;
pub mod engine;
pub mod limiter;
pub mod rules;
pub mod telemetry;
pub mod units;
pub mod wire;
