//! PURE: configuration text in, every error with file and line or an immutable [`RuleSet`] out; then matching.
//!
//! ```text
//! text --yaml--> node tree with lines --check--> errors, all of them
//!                                     --build--> RuleSet { domain -> tree of levels -> Rule }
//! entries of a descriptor --Domain::find--> Match { rule, which values belong to the counter }
//! ```

mod period;
mod rule;
mod set;

pub use period::{Period, Unit};
pub use rule::{Level, Rule, RuleLimit, Varies};
pub use set::{Charge, Domain, Entry, Match, RuleSet};

/// One configuration file: its name as errors show it, and its text.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// The name that errors show, in general the path.
    pub name: String,
    /// The file's content; invalid UTF-8 is an error of the file.
    pub text: Vec<u8>,
}

/// What is not in the files but decides how they load.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions {
    /// Several files may extend one domain.
    pub merge_domains: bool,
}

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct ConfigError {
    /// The file's name.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, in the reference service's words where it knows the error.
    pub message: String,
}

/// Reads a whole configuration: every error it has, or the rules.
///
/// # Errors
/// Every error of every file, in the order of files and lines.
pub fn load(files: &[SourceFile], options: LoadOptions) -> Result<RuleSet, Vec<ConfigError>> {
    let _ = (files, options);
    Ok(RuleSet::default())
}
