//! The file with keys that are laid over the rules of the control plane, read again when it changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::rules::{OverlayFile, SourceFile};
use crate::runtime::small_files::{self, ContentDigest, ReadError, Reloaded};

/// The file, and what of it is in force.
#[derive(Debug)]
pub(crate) struct OverlaySource {
    path: PathBuf,
    loaded: Reloaded<OverlayFile>,
}

impl OverlaySource {
    /// Reads the file.
    ///
    /// # Errors
    /// Each error as a line.
    pub(crate) fn open(path: &Path) -> Result<Self, Vec<String>> {
        let (digest, file) = read(path)?;
        Ok(Self { path: path.to_owned(), loaded: Reloaded::new(digest, parse(&file)?) })
    }

    /// What is in force.
    pub(super) fn current(&self) -> Arc<OverlayFile> {
        Arc::clone(&self.loaded.current())
    }

    /// Reads the file again if it has changed, and puts it in force if `accept` does; `None`: it has not changed.
    ///
    /// # Errors
    /// Each error as a line; what was in force stays.
    pub(super) fn refresh(
        &self,
        accept: impl FnOnce(&OverlayFile) -> Result<(), Vec<String>>,
    ) -> Option<Result<(), Vec<String>>> {
        let make = |file: SourceFile| {
            let overlay = parse(&file)?;
            accept(&overlay).map(|()| overlay)
        };
        self.loaded.refresh(read(&self.path), make).map(|outcome| outcome.map(drop))
    }
}

fn read(path: &Path) -> Result<(ContentDigest, SourceFile), Vec<String>> {
    let name = path.display().to_string();
    let wrong = |what: String| vec![format!("--overlay: {name}: {what}")];
    let text = small_files::read(path, MAX_BYTES).map_err(|error| match error {
        ReadError::Io(error) => wrong(error.to_string()),
        ReadError::NotAFile => wrong("is not a file".to_owned()),
        ReadError::TooLong => wrong(format!("is longer than {MAX_BYTES} bytes")),
    })?;
    Ok((small_files::digest([&*text]), SourceFile { name, text }))
}

fn parse(file: &SourceFile) -> Result<OverlayFile, Vec<String>> {
    OverlayFile::read(file).map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

/// Each pattern is compared with every rule.
const MAX_BYTES: u64 = 1 << 20;
