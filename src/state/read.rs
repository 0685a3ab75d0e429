//! Reads the counters of the last run.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::Path;

use super::format::{FormatError, Reader};
use super::record;
use crate::limiter::Limiter;
use crate::units::Timestamp;

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    /// Counters that go on.
    pub(crate) counters: u64,
    /// Counters that are spent, whose limit is not configured any more, or for which there is no memory.
    pub(crate) dropped: u64,
    /// Why the file was not read, or not to its end; in words.
    pub(crate) damage: Option<String>,
}

/// Reads the file, if there is one.
pub(super) fn restore(path: &Path, limiter: &Limiter, now: Timestamp) -> Restored {
    let mut restored = Restored::default();
    let outcome = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return restored,
        Err(error) => Err(FormatError::Io(error)),
        Ok(file) => read(file, limiter, now, &mut restored),
    };
    if let Err(error) = outcome {
        restored.damage = Some(set_aside(path, &error, now));
    }
    restored
}

fn read(file: File, limiter: &Limiter, now: Timestamp, restored: &mut Restored) -> Result<(), FormatError> {
    let mut reader = Reader::begin(BufReader::with_capacity(1 << 20, file))?;
    let limits = limiter.limits();
    while let Some((block, count)) = reader.block()? {
        let mut records = &block[..];
        for _ in 0..count {
            let record = record::take(&mut records, &limits).ok_or(FormatError::Damaged)?;
            let kept = !record.state.is_fresh(now)
                && record.key.is_some_and(|key| limiter.store().restore(&key, record.state));
            if kept {
                restored.counters += 1;
            } else {
                restored.dropped += 1;
            }
        }
        if !records.is_empty() {
            return Err(FormatError::Damaged);
        }
    }
    Ok(())
}

/// Renames a file that cannot be used, so that it can be examined and does not stand in the way of the next one.
fn set_aside(path: &Path, error: &FormatError, now: Timestamp) -> String {
    let aside = path.with_extension(format!("corrupt-{}", now.as_ns() / 1_000_000_000));
    match fs::rename(path, &aside) {
        Ok(()) => format!("{}: {error}; set aside as {}", path.display(), aside.display()),
        Err(other) => format!("{}: {error}; it cannot be set aside: {other}", path.display()),
    }
}
