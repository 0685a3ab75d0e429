//! A file of access control, read again when it changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::Guard;

use super::content::ContentError;
use crate::runtime::small_files::{self, ContentDigest, ReadError, Reloaded};
use crate::runtime::threads::Worker;

/// What is read from a file.
pub(crate) trait Content: Sized + Send + Sync + 'static {
    /// The flag that names the file.
    const FLAG: &'static str;
    /// What the file has, in the plural.
    const WHAT: &'static str;

    /// Reads the file.
    ///
    /// # Errors
    /// The first thing that is wrong.
    fn read(text: &[u8]) -> Result<Self, ContentError>;

    /// How many of them it has.
    fn len(&self) -> usize;
}

/// The content in force.
#[derive(Debug)]
pub(crate) struct AccessFile<C> {
    path: PathBuf,
    content: Reloaded<C>,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{flag} {path}: {cause}")]
pub(crate) struct AccessFileError {
    flag: &'static str,
    path: String,
    cause: Cause,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Content(#[from] ContentError),
    #[error("it is not a file")]
    NotAFile,
    #[error("longer than {} KiB, which is not such a file", MAX_BYTES >> 10)]
    TooLong,
}

impl<C: Content> AccessFile<C> {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, or is not such a file.
    pub(crate) fn open(path: &Path) -> Result<Self, AccessFileError> {
        let failure = |cause| AccessFileError { flag: C::FLAG, path: path.display().to_string(), cause };
        let (digest, bytes) = read(path).map_err(failure)?;
        let content = C::read(&bytes).map_err(|error| failure(error.into()))?;
        Ok(Self { path: path.to_owned(), content: Reloaded::new(digest, content) })
    }

    /// The content in force.
    pub(super) fn current(&self) -> Guard<Arc<C>> {
        self.content.current()
    }

    /// How many lines are in force.
    pub(crate) fn len(&self) -> usize {
        self.current().len()
    }

    /// Whether the file on disk cannot be used, so that the content before its last change is in force.
    pub(crate) fn is_outdated(&self) -> bool {
        self.content.is_outdated()
    }

    /// Reads the file again whenever it changes, until the [`Worker`] is dropped.
    ///
    /// # Errors
    /// The system cannot start another thread.
    pub(crate) fn watch(self: &Arc<Self>) -> std::io::Result<Worker> {
        let file = Arc::clone(self);
        small_files::watch(&format!("tidegate-{}", C::WHAT), move || file.refresh())
    }

    /// Reads the file again. One that cannot be used leaves the content in force, with one line in the log.
    pub(crate) fn refresh(&self) {
        let (path, what) = (self.path.display(), C::WHAT);
        match self.content.refresh(read(&self.path), |bytes| Ok(C::read(&bytes)?)) {
            None => {}
            Some(Ok(content)) => tracing::info!(%path, count = content.len(), "{what} loaded"),
            Some(Err(error)) => {
                tracing::error!(%path, %error, "the {what} cannot be loaded; those before are in force");
            }
        }
    }
}

fn read(path: &Path) -> Result<(ContentDigest, Vec<u8>), Cause> {
    let bytes = small_files::read(path, MAX_BYTES).map_err(|error| match error {
        ReadError::Io(error) => Cause::Io(error),
        ReadError::NotAFile => Cause::NotAFile,
        ReadError::TooLong => Cause::TooLong,
    })?;
    Ok((small_files::digest([&*bytes]), bytes))
}

/// 1,000 tokens or clients with some domains each are shorter.
const MAX_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::Role;
    use super::super::tokens::{NewToken, Tokens};
    use super::*;

    #[test]
    fn a_changed_file_takes_effect_and_a_broken_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.yaml");
        let [one, two] = ["one", "two"].map(|name| NewToken::new(name, Role::Observer, &[]).unwrap());
        let write = |line: &str| fs::write(&path, format!("tokens:\n{line}\n")).unwrap();
        assert!(AccessFile::<Tokens>::open(&path).unwrap_err().to_string().contains("No such file"));
        assert!(AccessFile::<Tokens>::open(dir.path()).unwrap_err().to_string().contains("it is not a file"));
        write(&one.line);
        let file = AccessFile::<Tokens>::open(&path).unwrap();
        let known = |token: &NewToken| file.current().find(&token.secret).is_some();
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
