//! Rules files: what is read, what is rejected, what is warned about, and which rule matches.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test")]

mod alerts;
mod calendar;
mod find;
mod keys;
mod reject;
mod sharing;
mod warnings;
