//! Values made from small files, and made again when these change.
//!
//! The links to such files may be swapped in any way, as those of a Kubernetes Secret are. So they are read each second, and their
//! content is compared.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::threads::{Wait, Worker};

/// Why a file cannot be read.
#[derive(Debug)]
pub enum ReadError {
    /// The error of the system.
    Io(io::Error),
    /// It is a directory, or a pipe, which would have to be waited for.
    NotAFile,
    /// It is longer than it may be.
    TooLong,
}

/// The SHA-256 of what files contain.
pub type ContentDigest = [u8; 32];

/// The value in force.
#[derive(Debug)]
pub struct Reloaded<T> {
    value: ArcSwap<T>,
    /// What was read last, whether or not it is in force; `None`: it could not be read.
    seen: Mutex<Option<ContentDigest>>,
    outdated: AtomicBool,
}

impl<T> Reloaded<T> {
    /// A value made from files with this content.
    pub fn new(seen: ContentDigest, value: T) -> Self {
        Self { value: ArcSwap::from_pointee(value), seen: Mutex::new(Some(seen)), outdated: AtomicBool::new(false) }
    }

    /// The value in force.
    pub fn current(&self) -> Guard<Arc<T>> {
        self.value.load()
    }

    /// Whether the files cannot be used since their last change, so that the value before it is in force.
    pub fn is_outdated(&self) -> bool {
        self.outdated.load(Ordering::Relaxed)
    }

    /// Makes the value again from what was `read`, if that is not what was read last; `None`: it is, or it still cannot be read.
    ///
    /// # Errors
    /// The files cannot be read or used; the value before stays in force.
    pub fn refresh<C, E>(
        &self,
        read: Result<(ContentDigest, C), E>,
        make: impl FnOnce(C) -> Result<T, E>,
    ) -> Option<Result<Arc<T>, E>> {
        let mut seen = self.seen.lock();
        let digest = read.as_ref().ok().map(|(digest, _)| *digest);
        if digest == *seen {
            return None;
        }
        *seen = digest;
        let outcome = read.and_then(|(_, content)| make(content)).map(Arc::new);
        if let Ok(value) = &outcome {
            self.value.store(Arc::clone(value));
        }
        self.outdated.store(outcome.is_err(), Ordering::Relaxed);
        Some(outcome)
    }
}

/// Calls `refresh` each second, until the [`Worker`] is dropped.
///
/// # Errors
/// The system cannot start another thread.
pub fn watch(name: &str, mut refresh: impl FnMut() + Send + 'static) -> io::Result<Worker> {
    Worker::spawn(name, move |stop| {
        while stop.wait(POLL) == Wait::Elapsed {
            refresh();
        }
    })
}

/// What a file of at most this many bytes contains.
///
/// # Errors
/// It cannot be read, is not a file, or is longer.
pub fn read(path: &Path, max_bytes: u64) -> Result<Vec<u8>, ReadError> {
    if !fs::metadata(path)?.is_file() {
        return Err(ReadError::NotAFile);
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes { Err(ReadError::TooLong) } else { Ok(bytes) }
}

/// The digest of what some files contain.
pub fn digest<'c>(contents: impl IntoIterator<Item = &'c [u8]>) -> ContentDigest {
    let mut digest = Sha256::new();
    for content in contents {
        digest.update(content.len().to_le_bytes());
        digest.update(content);
    }
    digest.finalize().into()
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Between two looks at the files.
const POLL: Duration = Duration::from_secs(1);
