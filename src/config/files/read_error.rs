//! The errors of reading a configuration.

use std::io;
use std::path::{Path, PathBuf};

/// Why the configuration could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The path does not exist.
    #[error("{}: no such file or directory; give a rules file, or a directory with *.yaml or *.yml files", path.display())]
    Missing {
        /// The path as it was given.
        path: PathBuf,
    },
    /// The system reports an error.
    #[error("{}: cannot be read: {error}; check the path and that this user may read it", path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A device, a pipe or a socket.
    #[error("{}: is neither a regular file nor a directory; rules are read only from these", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A directory without any configuration.
    #[error(
        "{}: contains no *.yaml or *.yml file{} (names that begin with a dot are skipped); put the rules there or give another path",
        path.display(),
        named(others)
    )]
    NoFiles {
        /// The directory.
        path: PathBuf,
        /// The first other files in it.
        others: Vec<PathBuf>,
    },
    /// The configuration exceeds a bound.
    #[error("{}: more than {max} {what}; give a path that contains only rules", path.display())]
    TooMuch {
        /// Where the bound was exceeded.
        path: PathBuf,
        /// What is bounded.
        what: &'static str,
        /// The bound.
        max: u64,
    },
    /// The files changed each time while they were read.
    #[error("{}: keeps changing while it is read; it is read again at the next change", path.display())]
    Changing {
        /// The path as it was given.
        path: PathBuf,
    },
}

impl ReadError {
    /// The system's error at `path`.
    pub(crate) fn unreadable(path: &Path, error: io::Error) -> Self {
        Self::Unreadable { path: path.to_owned(), error }
    }
}

/// `; skipped: 'a', 'b'`, or nothing.
fn named(skipped: &[PathBuf]) -> String {
    let names: Vec<_> = skipped.iter().map(|path| format!("'{}'", path.display())).collect();
    if names.is_empty() { String::new() } else { format!("; skipped: {}", names.join(", ")) }
}
