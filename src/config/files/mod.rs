//! Rules from files: finding, reading and watching them.

mod listing;
mod partial_write;
mod source;
mod watch;

pub(crate) use partial_write::InForce;
pub use source::{ContentHash, Files, MAX_BYTES, ReadError, Source};
pub(crate) use watch::Verdict;
pub use watch::{Pace, Watch};
