//! A file with a trace that is being recorded. Whatever ends the recording, what is in the file can be read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::line::{append_check, append_note};
use super::note::Note;
use crate::limiter::Check;
use crate::units::Timestamp;

/// A new file that only its owner may read. Whole lines are written, and a line that does not fit on the disk is taken back.
#[derive(Debug)]
pub(crate) struct TraceFile {
    path: PathBuf,
    file: File,
    /// The end of the last whole line.
    bytes: u64,
    lines: Vec<u8>,
}

/// Why a trace cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TraceFileError {
    /// There is such a file, and it is not to be replaced.
    #[error("{0}: the file exists; choose another name, or replace it with --force")]
    Exists(PathBuf),
    /// The error of the system.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
}

impl TraceFile {
    /// Creates the file with mode 0600. `force` replaces a file of that name, which is removed first: it may have another mode.
    ///
    /// # Errors
    /// It exists, or cannot be created.
    pub(crate) fn create(path: &Path, force: bool) -> Result<Self, TraceFileError> {
        let failed = |error| TraceFileError::Io(path.to_owned(), error);
        if force && path.symlink_metadata().is_ok_and(|found| !found.is_dir()) {
            fs::remove_file(path).map_err(failed)?;
        }
        let created = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path);
        let file = created.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => TraceFileError::Exists(path.to_owned()),
            _ => failed(error),
        })?;
        Ok(Self { path: path.to_owned(), file, bytes: 0, lines: Vec::new() })
    }

    /// Adds a check, which [`flush`](Self::flush) writes.
    ///
    /// # Errors
    /// It cannot be written as JSON, which is not to be expected.
    pub(crate) fn add(&mut self, at: Timestamp, check: &Check<'_>) -> Result<(), TraceFileError> {
        append_check(&mut self.lines, at, check).map_err(|error| TraceFileError::Io(self.path.clone(), error))
    }

    /// Adds a note, which [`flush`](Self::flush) writes.
    ///
    /// # Errors
    /// As those of [`add`](Self::add).
    pub(crate) fn add_note(&mut self, note: &Note) -> Result<(), TraceFileError> {
        append_note(&mut self.lines, note).map_err(|error| TraceFileError::Io(self.path.clone(), error))
    }

    /// Writes what was added.
    ///
    /// # Errors
    /// It cannot be written. Then none of it is in the file: the caller may still add a note about the end.
    pub(crate) fn flush(&mut self) -> Result<(), TraceFileError> {
        let lines = std::mem::take(&mut self.lines);
        match self.file.write_all(&lines) {
            Ok(()) => {
                self.bytes += lines.len() as u64;
                Ok(())
            }
            Err(error) => {
                let end = self.bytes;
                let _kept = self.file.set_len(end).and_then(|()| self.file.seek(SeekFrom::Start(end)));
                Err(TraceFileError::Io(self.path.clone(), error))
            }
        }
    }
}

const OWNER_ONLY: u32 = 0o600;
