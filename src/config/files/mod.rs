//! Rules from files: finding, reading and watching them.

mod listing;
mod partial_write;
mod read_error;
mod source;
mod watch;

pub(crate) use partial_write::InForce;
pub(crate) use read_error::ReadError;
pub(crate) use source::{ContentHash, Files, MAX_BYTES, Source};
pub(crate) use watch::Verdict;
pub(crate) use watch::{Pace, Watch};
