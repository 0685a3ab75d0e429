//! Counters over a restart: written to the data directory at an orderly stop, read at the start.
//!
//! ```text
//! Memory --export--> records (fingerprint of the limit, parts of the key, state) --> counters.state
//! counters.state --> limits in force by their fingerprint --> Memory
//! ```
//!
//! A record names its limit by content, so it finds its counter again in another process, also with another number; those of
//! limits that are no longer configured, and those that are spent, are left out. See [`format`] for the file.

mod format;
mod read;
mod record;
mod write;

use std::path::Path;

pub(crate) use read::Restored;
pub(crate) use write::Written;

use crate::limiter::Limiter;
use crate::units::Timestamp;

/// Reads the counters of the last run, if there are any. A damaged file is set aside, with a line in the log; what is whole before
/// the damage is used.
pub(crate) fn restore(path: &Path, limiter: &Limiter, now: Timestamp) -> Restored {
    read::restore(path, limiter, now)
}

/// Writes all counters that are not spent; replaces the file atomically.
///
/// # Errors
/// The file cannot be written; the former one is left as it is.
pub(crate) fn write(path: &Path, limiter: &Limiter, now: Timestamp) -> std::io::Result<Written> {
    write::write(path, limiter, now)
}

#[cfg(test)]
mod tests;
