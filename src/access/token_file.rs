//! The file of tokens, read again when it changes.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::Principal;
use super::tokens::{Tokens, TokensError};
use crate::runtime::threads::{Wait, Worker};

/// The tokens in force.
#[derive(Debug)]
pub(crate) struct TokenFile {
    path: PathBuf,
    tokens: ArcSwap<Tokens>,
    /// The bytes that were read last, whether or not they are in force.
    seen: Mutex<Vec<u8>>,
    /// The file on disk is not in force.
    failed: AtomicBool,
}

/// Why a file of tokens cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("--admin-tokens {path}: {cause}")]
pub(crate) struct TokenFileError {
    path: String,
    cause: Cause,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Content(#[from] TokensError),
    #[error("longer than {} KiB, which is not a file of tokens", MAX_BYTES >> 10)]
    TooLong,
}

impl TokenFile {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, or is not a file of tokens.
    pub(crate) fn open(path: &Path) -> Result<Self, TokenFileError> {
        let failure = |cause| TokenFileError { path: path.display().to_string(), cause };
        let bytes = read(path).map_err(failure)?;
        let tokens = Tokens::read(&bytes).map_err(|error| failure(error.into()))?;
        Ok(Self {
            path: path.to_owned(),
            tokens: ArcSwap::from_pointee(tokens),
            seen: Mutex::new(bytes),
            failed: AtomicBool::new(false),
        })
    }

    /// The principal of a token.
    pub(crate) fn find(&self, secret: &str) -> Option<Arc<Principal>> {
        self.tokens.load().find(secret)
    }

    /// The number of tokens in force.
    pub(crate) fn len(&self) -> usize {
        self.tokens.load().len()
    }

    /// Whether the file on disk cannot be used, so that the tokens before its last change are in force.
    pub(crate) fn is_outdated(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Reads the file again whenever it changes, until the [`Worker`] is dropped.
    ///
    /// # Errors
    /// The system cannot start another thread.
    pub(crate) fn watch(self: &Arc<Self>) -> std::io::Result<Worker> {
        let file = Arc::clone(self);
        Worker::spawn("tidegate-tokens", move |stop| {
            while stop.wait(POLL) == Wait::Elapsed {
                file.refresh();
            }
        })
    }

    /// Reads the file again. One that cannot be used leaves the tokens in force, with one line in the log.
    pub(crate) fn refresh(&self) {
        let mut seen = self.seen.lock();
        let read = read(&self.path).map(|bytes| (Tokens::read(&bytes).map_err(Cause::from), bytes));
        let error = match read {
            Ok((_, bytes)) if bytes == *seen => return,
            Ok((Ok(tokens), bytes)) => {
                tracing::info!(path = %self.path.display(), tokens = tokens.len(), "tokens loaded");
                self.tokens.store(Arc::new(tokens));
                *seen = bytes;
                return self.failed.store(false, Ordering::Relaxed);
            }
            Ok((Err(error), bytes)) => {
                *seen = bytes;
                error
            }
            // Said once; the content that comes back is then read as new.
            Err(_) if seen.is_empty() && self.is_outdated() => return,
            Err(error) => {
                seen.clear();
                error
            }
        };
        self.failed.store(true, Ordering::Relaxed);
        tracing::error!(path = %self.path.display(), %error, "the tokens cannot be loaded; those before are in force");
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Cause> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES { Err(Cause::TooLong) } else { Ok(bytes) }
}

/// The file is small, and its links may be swapped in any way: it is read each second.
const POLL: Duration = Duration::from_secs(1);
/// 1,000 tokens with some domains each are shorter.
const MAX_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{NewToken, Role};
    use super::*;

    #[test]
    fn a_changed_file_takes_effect_and_a_broken_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.yaml");
        let [one, two] = ["one", "two"].map(|name| NewToken::new(name, Role::Observer, &[]).unwrap());
        let write = |line: &str| fs::write(&path, format!("tokens:\n{line}\n")).unwrap();
        assert!(TokenFile::open(&path).unwrap_err().to_string().contains("No such file"));
        write(&one.line);
        let file = TokenFile::open(&path).unwrap();
        let known = |token: &NewToken| file.find(&token.secret).is_some();
        assert_eq!((known(&one), known(&two), file.is_outdated()), (true, false, false));
        write("  - broken");
        file.refresh();
        assert_eq!((known(&one), known(&two), file.is_outdated()), (true, false, true), "the former tokens stay");
        fs::remove_file(&path).unwrap();
        file.refresh();
        write(&two.line);
        file.refresh();
        assert_eq!((known(&one), known(&two), file.is_outdated()), (false, true, false), "a removed token ends");
        fs::remove_file(&path).unwrap();
        file.refresh();
        file.refresh();
        assert!(known(&two) && file.is_outdated());
        write(&two.line);
        file.refresh();
        assert!(known(&two) && !file.is_outdated(), "the same content again is in force");
    }
}
