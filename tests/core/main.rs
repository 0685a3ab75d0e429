//! The parts around the limiter: the engine against definitions, the store under threads, the reader and
//! writer of messages against the generated types, and a recorded corpus of answers.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test")]

mod calendar;
mod corpus;
mod engine;
mod lease;
mod store;
mod sweep;
mod together;
mod wire;
