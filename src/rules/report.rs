//! What is wrong with one file, collected while it is read.

use super::ConfigError;
use crate::sanitize::sanitize_lines;

/// How many errors of one file are reported. Nobody reads more, and a file of a million mistakes must not fill the log.
const MAX_TOLD: usize = 1_000;

/// The findings of one file.
#[derive(Debug)]
pub(super) struct Report<'f> {
    file: &'f str,
    errors: Vec<ConfigError>,
    warnings: Vec<ConfigError>,
    omitted: usize,
}

impl<'f> Report<'f> {
    /// An empty report on the file of that name.
    pub(super) fn new(file: &'f str) -> Self {
        Self { file, errors: Vec::new(), warnings: Vec::new(), omitted: 0 }
    }

    /// Notes what makes the file unusable.
    pub(super) fn error(&mut self, line: usize, message: impl Into<String>) {
        if self.errors.len() < MAX_TOLD {
            self.errors.push(self.finding(line, &message.into()));
        } else {
            self.omitted = self.omitted.saturating_add(1);
        }
    }

    /// Notes what is allowed but hardly meant.
    pub(super) fn warn(&mut self, line: usize, message: impl Into<String>) {
        if self.warnings.len() < MAX_TOLD {
            self.warnings.push(self.finding(line, &message.into()));
        }
    }

    /// The errors and the warnings, by line, each once: what an alias repeats has the line and the fault of its anchor.
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

    /// What would be noted by [`error`](Self::error). The file's own words must not steer the terminal that shows them; line
    /// ends stay, because some of the reference's texts have several lines.
    pub(super) fn finding(&self, line: usize, message: &str) -> ConfigError {
        ConfigError { file: self.file.to_owned(), line, message: sanitize_lines(message) }
    }
}
