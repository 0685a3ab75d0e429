//! Writes all counters.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::Path;

use super::format::Writer;
use super::record;
use crate::limiter::Limiter;
use crate::units::Timestamp;

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Counters.
    pub(crate) counters: u32,
    /// Bytes of the file.
    pub(crate) bytes: u64,
}

/// Writes all counters that are not spent at `now`, and replaces the file.
pub(super) fn write(path: &Path, limiter: &Limiter, now: Timestamp) -> io::Result<Written> {
    let unfinished = path.with_extension("unfinished");
    let mut writer = Writer::begin(BufWriter::new(File::create(&unfinished)?), now.as_ns())?;
    let mut records = Vec::with_capacity(2 * BLOCK_BYTES);
    let mut count = 0;
    for counters in limiter.store().export() {
        // Loaded after the keys, so that it has their limits.
        let limits = limiter.limits();
        for counter in counters.iter().filter(|counter| !counter.state.is_fresh(now)) {
            count += u32::from(record::push(&mut records, &limits, counter));
            if records.len() >= BLOCK_BYTES {
                writer.block(&records, count)?;
                records.clear();
                count = 0;
            }
        }
    }
    if count > 0 {
        writer.block(&records, count)?;
    }
    let (out, counters, bytes) = writer.finish()?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(&unfinished, path)?;
    // The new name is on the disk only when the directory is.
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(Written { counters, bytes })
}

/// A block is written when it has grown to this; a log of the longest kind may make it four times as long.
const BLOCK_BYTES: usize = 256 << 10;
