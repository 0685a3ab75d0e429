//! The settings in a data directory, for commands that only look: a server may be using it meanwhile.

use std::path::Path;

use crate::config::SettingsBook;
use crate::history::DataDir;
use crate::operations::{Journal, JournalError};

/// Why stored settings cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoredSettingsError {
    /// There is no such directory.
    #[error("--data-dir {0}: there is no such directory")]
    Missing(String),
    /// What is in it cannot be read.
    #[error("--data-dir {0}: cannot read the stored settings: {1}")]
    Unreadable(String, JournalError),
}

/// The settings that are stored in a data directory, which is neither created nor locked nor changed.
///
/// # Errors
/// There is no such directory, or its settings cannot be read.
pub(crate) fn stored_settings(data_dir: &Path) -> Result<SettingsBook, StoredSettingsError> {
    let shown = data_dir.display().to_string();
    if !data_dir.is_dir() {
        return Err(StoredSettingsError::Missing(shown));
    }
    Journal::read_settings(&DataDir::settings_in(data_dir))
        .map_err(|error| StoredSettingsError::Unreadable(shown, error))
}
