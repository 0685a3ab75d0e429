//! The errors and warnings of one file, collected while it is read.

use super::yaml::Node;
use super::{ConfigError, quote};
use crate::sanitize::sanitize_lines;

/// The number of errors of one file that are reported. More help nobody, and a file with a million must not fill the log.
const MAX_REPORTED: usize = 1_000;

/// The findings of one file.
#[derive(Debug)]
pub(super) struct Report<'f> {
    file: &'f str,
    errors: Vec<ConfigError>,
    warnings: Vec<ConfigError>,
    omitted: usize,
    /// Whether what is being read may contain secrets.
    is_discreet: bool,
}

impl<'f> Report<'f> {
    /// An empty report on the file of that name.
    pub(super) fn new(file: &'f str) -> Self {
        Self { file, errors: Vec::new(), warnings: Vec::new(), omitted: 0, is_discreet: false }
    }

    /// Calls `read` for a part that may contain secrets, also in the wrong places: its values are in no finding.
    pub(super) fn discreetly<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.is_discreet, true);
        let value = read(self);
        self.is_discreet = before;
        value
    }

    /// Whether no values may be in findings.
    pub(super) fn is_discreet(&self) -> bool {
        self.is_discreet
    }

    /// The end of a message about this value.
    pub(super) fn found(&self, node: &Node) -> String {
        if self.is_discreet { String::new() } else { format!(", found '{}'", quote::value(node)) }
    }

    /// The name of the file.
    pub(super) fn file(&self) -> &'f str {
        self.file
    }

    /// Adds an error, which makes the file unusable.
    pub(super) fn error(&mut self, line: usize, message: impl Into<String>) {
        if self.errors.len() < MAX_REPORTED {
            self.errors.push(self.finding(line, &message.into()));
        } else {
            self.omitted = self.omitted.saturating_add(1);
        }
    }

    /// Adds a warning about a part that is allowed but probably a mistake.
    pub(super) fn warn(&mut self, line: usize, message: impl Into<String>) {
        if self.warnings.len() < MAX_REPORTED {
            self.warnings.push(self.finding(line, &message.into()));
        }
    }

    /// The errors and the warnings, by line, each once: those repeated by an alias have the line and the text of its anchor.
    pub(super) fn finish(mut self) -> (Vec<ConfigError>, Vec<ConfigError>) {
        for findings in [&mut self.errors, &mut self.warnings] {
            findings.sort();
            findings.dedup();
        }
        if self.omitted > 0 {
            let line = self.errors.last().map_or(1, |error| error.line);
            self.errors.push(self.finding(line, &format!("and {} more errors in this file", self.omitted)));
        }
        (self.errors, self.warnings)
    }

    /// The finding that [`error`](Self::error) would add. Text quoted from the file is made safe for terminals; line ends stay,
    /// because some texts of the reference have several lines.
    pub(super) fn finding(&self, line: usize, message: &str) -> ConfigError {
        ConfigError { file: self.file.to_owned(), line, message: sanitize_lines(message) }
    }
}
