//! Why a configuration cannot be read.

use std::io;
use std::path::{Path, PathBuf};

/// Why the configuration could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The path does not exist.
    #[error("{}: no such file or directory; give a rules file, or a directory that holds *.yaml or *.yml files", path.display())]
    Missing {
        /// The path as it was given.
        path: PathBuf,
    },
    /// The system fails to read something.
    #[error("{}: cannot be read: {error}; check the path and that this user may read it", path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A device, a pipe or a socket.
    #[error("{}: is neither a regular file nor a directory; rules are read from those only", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A directory without any configuration.
    #[error(
        "{}: holds no *.yaml or *.yml file{} (names that begin with a dot are skipped); put the rules there or give another path",
        path.display(),
        named(others)
    )]
    NoFiles {
        /// The directory.
        path: PathBuf,
        /// The first files that it has instead.
        others: Vec<PathBuf>,
    },
    /// There is more than any configuration needs.
    #[error("{}: more than {max} {what}; give a path that holds only rules", path.display())]
    TooMuch {
        /// Where the bound was passed.
        path: PathBuf,
        /// Of what there is too much.
        what: &'static str,
        /// How much is allowed.
        max: u64,
    },
    /// The files kept changing for as long as it takes to read them.
    #[error("{}: keeps changing while it is read; it is tried again at the next change", path.display())]
    Changing {
        /// The path as it was given.
        path: PathBuf,
    },
}

impl ReadError {
    /// The system's failure to read `path`.
    pub(crate) fn unreadable(path: &Path, error: io::Error) -> Self {
        Self::Unreadable { path: path.to_owned(), error }
    }
}

/// `; passed over: 'a', 'b'`, or nothing.
fn named(passed_over: &[PathBuf]) -> String {
    let names: Vec<_> = passed_over.iter().map(|path| format!("'{}'", path.display())).collect();
    if names.is_empty() { String::new() } else { format!("; passed over: {}", names.join(", ")) }
}
