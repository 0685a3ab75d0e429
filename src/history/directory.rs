//! The data directory: made if missing, and held by one process at a time.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// A data directory that this process holds; it is free again when this is dropped, or the process is gone.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataDirError {
    /// Another process has it.
    #[error("cannot use --data-dir {0}: another tidegate process does; give each process a directory of its own")]
    Taken(PathBuf),
    /// It cannot be made or written.
    #[error("cannot use --data-dir {path}: {error}")]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl DataDir {
    /// Makes the directory if it is missing, and takes it.
    ///
    /// # Errors
    /// When another process has it, or it cannot be made or written.
    pub(crate) fn open(path: &Path) -> Result<Self, DataDirError> {
        let unusable = |error| DataDirError::Unusable { path: path.into(), error };
        fs::create_dir_all(path).map_err(unusable)?;
        let lock = File::create(path.join(LOCK)).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.into(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::Taken(path.into())),
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
    }

    /// Where the history is.
    pub(crate) fn usage(&self) -> PathBuf {
        self.path.join(USAGE)
    }
}

/// Locked, never written: the database itself stays open to other programs that read.
const LOCK: &str = "lock";
const USAGE: &str = "usage.sqlite";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time_and_clear_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let held = DataDir::open(&path).unwrap();
        let error = DataDir::open(&path).unwrap_err().to_string();
        assert!(error.contains("another tidegate process") && error.contains("a/b"), "{error}");
        drop(held);
        drop(DataDir::open(&path).unwrap());
        fs::write(dir.path().join("file"), "").unwrap();
        let error = DataDir::open(&dir.path().join("file")).unwrap_err().to_string();
        assert!(error.starts_with("cannot use --data-dir ") && error.contains("/file: "), "{error}");
    }
}
