//! The file of tokens, read again when it changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Principal;
use super::tokens::{Tokens, TokensError};
use crate::runtime::small_files::{self, ContentDigest, ReadError, Reloaded};
use crate::runtime::threads::Worker;

/// The tokens in force.
#[derive(Debug)]
pub(crate) struct TokenFile {
    path: PathBuf,
    tokens: Reloaded<Tokens>,
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
    #[error("it is not a file")]
    NotAFile,
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
        let (digest, bytes) = read(path).map_err(failure)?;
        let tokens = Tokens::read(&bytes).map_err(|error| failure(error.into()))?;
        Ok(Self { path: path.to_owned(), tokens: Reloaded::new(digest, tokens) })
    }

    /// The principal of a token.
    pub(crate) fn find(&self, secret: &str) -> Option<Arc<Principal>> {
        self.tokens.current().find(secret)
    }

    /// The number of tokens in force.
    pub(crate) fn len(&self) -> usize {
        self.tokens.current().len()
    }

    /// Whether the file on disk cannot be used, so that the tokens before its last change are in force.
    pub(crate) fn is_outdated(&self) -> bool {
        self.tokens.is_outdated()
    }

    /// Reads the file again whenever it changes, until the [`Worker`] is dropped.
    ///
    /// # Errors
    /// The system cannot start another thread.
    pub(crate) fn watch(self: &Arc<Self>) -> std::io::Result<Worker> {
        let file = Arc::clone(self);
        small_files::watch("tidegate-tokens", move || file.refresh())
    }

    /// Reads the file again. One that cannot be used leaves the tokens in force, with one line in the log.
    pub(crate) fn refresh(&self) {
        let path = self.path.display();
        match self.tokens.refresh(read(&self.path), |bytes| Ok(Tokens::read(&bytes)?)) {
            None => {}
            Some(Ok(tokens)) => tracing::info!(%path, tokens = tokens.len(), "tokens loaded"),
            Some(Err(error)) => {
                tracing::error!(%path, %error, "the tokens cannot be loaded; those before are in force");
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
        assert!(TokenFile::open(dir.path()).unwrap_err().to_string().contains("it is not a file"));
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
