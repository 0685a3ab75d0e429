//! The data directory: created if missing, and locked by one process at a time.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// A data directory that this process has locked. The lock is released when this is dropped, or the process ends.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataDirError {
    /// Another process has locked it.
    #[error("cannot use --data-dir {0}: another tidegate process is using it; give each process its own directory")]
    Taken(PathBuf),
    /// It cannot be created or written.
    #[error("cannot use --data-dir {path}: {error}")]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
}

impl DataDir {
    /// Creates the directory if it is missing, and locks it.
    ///
    /// # Errors
    /// Another process has locked the directory, or it cannot be created or written.
    pub(crate) fn open(path: &Path) -> Result<Self, DataDirError> {
        let unusable = |error| DataDirError::Unusable { path: path.into(), error };
        fs::create_dir_all(path).map_err(unusable)?;
        let lock = path.join(LOCK);
        // To open a FIFO would wait for its other end.
        if fs::symlink_metadata(&lock).is_ok_and(|found| !found.is_file()) {
            return Err(unusable(io::Error::other("'lock' in it is not a regular file: remove it")));
        }
        let lock = File::create(lock).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.into(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::Taken(path.into())),
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the settings and the audit log.
    pub(crate) fn settings(&self) -> PathBuf {
        Self::settings_in(&self.path)
    }

    /// The path of the settings and the audit log of any data directory.
    pub(crate) fn settings_in(path: &Path) -> PathBuf {
        path.join(SETTINGS)
    }

    /// The path of the history.
    pub(crate) fn usage(&self) -> PathBuf {
        Self::usage_in(&self.path)
    }

    /// The path of the history of any data directory.
    pub(crate) fn usage_in(path: &Path) -> PathBuf {
        path.join(USAGE)
    }
}

/// Locked, never written, so that other programs can still read the database itself.
const LOCK: &str = "lock";
const USAGE: &str = "usage.sqlite";
const SETTINGS: &str = "settings.sqlite";

#[cfg(test)]
mod tests {
    use std::process::Command;

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
        fs::remove_file(path.join(LOCK)).unwrap();
        assert!(Command::new("mkfifo").arg(path.join(LOCK)).status().unwrap().success());
        let error = DataDir::open(&path).unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{error}");
        fs::write(dir.path().join("file"), "").unwrap();
        let error = DataDir::open(&dir.path().join("file")).unwrap_err().to_string();
        assert!(error.starts_with("cannot use --data-dir ") && error.contains("/file: "), "{error}");
    }
}
