//! PURE: parses a configuration to an immutable [`RuleSet`], or all errors with file and line; and matches descriptors.
//!
//! ```text
//! text --yaml--> nodes with lines --vocabulary--> keys that are known --spec--> values of the right types
//!      --build--> RuleSet { domain -> tree of levels -> Rule }, or every error that the steps reported
//! entries of a descriptor --Domain::find--> Match { rule, which values belong to the counter }
//!                       --Domain::explain--> Explanation { steps, rule or why there is none, rules that are near }
//! entries of a caller --Domain::applicable--> every rule that applies, with what it counts for
//! ```

mod alerts;
mod applicable;
mod build;
mod calendar_period;
mod changes;
mod counter_entries;
mod duration;
mod explain;
mod field;
mod hint;
mod lifted;
mod limit_build;
mod limit_spec;
mod metadata;
mod near_miss;
mod nearest;
mod origin;
mod overlay;
mod overlay_file;
mod own;
mod pattern;
mod period;
mod quote;
mod replicas;
mod report;
mod response;
mod rule;
mod set;
mod sharing;
mod spec;
mod template;
mod tree;
mod usage;
mod vocabulary;
mod walk;
mod words;
pub(crate) mod yaml;

pub use alerts::{Alert, Mail, Per, Target, VARIABLE_PREFIX, Webhook};
pub use applicable::{Applicable, LevelFor};
pub use changes::{Changes, changes};
pub use explain::Explanation;
pub use lifted::{Lift, Lifted, LiftedCounts};
pub use near_miss::{MissReason, NearMiss};
pub(crate) use nearest::{nearest, nearest_of};
pub use origin::Origin;
pub use overlay::{
    Assignment, ByEntries, ConfiguredValue, DomainOverlay, Inactive, Overlay, RuleCase, RuleOverlay, Scope,
    ScopeTarget, SettingName, Switches,
};
pub(crate) use overlay::{check_reachable, unknown};
pub use overlay_file::OverlayFile;
pub use period::{Period, Unit};
pub use replicas::Shared;
pub use response::{Body, HeaderFamily, Reset, Response};
pub use rule::{Level, Rule, RuleLimit, Varies};
pub use set::{Charge, Domain, DomainNode, Entry, Match, RuleSet};
pub use sharing::{Sharing, SharingMode};
pub use template::{Template, TemplatePart};
pub use tree::How;
pub use walk::{Ended, Shown, Step};

use std::collections::HashMap;

use build::Builder;
use report::Report;
use sha2::{Digest as _, Sha256};
use spec::FileSpec;

/// One configuration file: its name as errors show it, and its text.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// The name that errors show, usually the path.
    pub name: String,
    /// The file's content; invalid UTF-8 is an error of the file.
    pub text: Vec<u8>,
}

/// Options for loading that are not in the files.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions {
    /// Several files may define parts of one domain.
    pub merge_domains: bool,
    /// Limits as the reference has them, counted on their own, do not count the hits of denied checks, unless they say it.
    pub count_no_denied: bool,
    /// So many replicas share counters on a cluster, which keeps some limits from being charged all or nothing.
    pub cluster_replicas: Option<u32>,
    /// A month of `unit`, and of a request override, is one of the calendar (of UTC), in place of 30 days.
    pub calendar_months: bool,
}

/// One error of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct ConfigError {
    /// The file's name.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, in the words of the reference service for errors that it has too.
    pub message: String,
}

/// Reads a whole configuration.
///
/// # Errors
/// Every error of every file, in the order of files and lines.
pub fn load(files: &[SourceFile], options: LoadOptions) -> Result<RuleSet, Vec<ConfigError>> {
    load_over(files, options, None)
}

/// Reads a whole configuration, with the keys of an overlay laid over its rules. Parts of the overlay that no rule matches are warnings.
///
/// # Errors
/// As for [`load`].
pub fn load_over(
    files: &[SourceFile],
    options: LoadOptions,
    overlay: Option<&OverlayFile>,
) -> Result<RuleSet, Vec<ConfigError>> {
    let mut used = overlay.map(|overlay| (overlay, overlay.unused()));
    let mut builder = Builder::new(options);
    let mut errors = Vec::new();
    let mut warnings = Vec::new();
    for file in files {
        let mut report = Report::new(&file.name);
        if let Some(mut spec) = read(file, &mut report) {
            if let Some((overlay, used)) = &mut used {
                overlay.lay_over(&mut spec, used);
            }
            builder.add(spec, &mut report);
        }
        let (wrong, odd) = report.finish();
        errors.extend(wrong);
        warnings.extend(odd);
    }
    let missing = builder.missing_rules();
    if !missing.is_empty() {
        errors.extend(missing);
        errors.sort_by_key(|error| (files.iter().position(|file| file.name == error.file), error.line));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let losses = builder.losses();
    if !losses.is_empty() {
        let place: HashMap<&str, usize> = files.iter().enumerate().map(|(at, file)| (&*file.name, at)).collect();
        warnings.extend(losses);
        warnings.sort_by_key(|warning| (place.get(&*warning.file).copied(), warning.line));
    }
    warnings.extend(used.into_iter().flat_map(|(overlay, used)| overlay.inactive(&used)));
    let rules = builder.finish(warnings).with_source(digest(files));
    let errors = options.cluster_replicas.map(|replicas| rules.sharing_errors(true, replicas)).unwrap_or_default();
    if errors.is_empty() { Ok(rules) } else { Err(errors) }
}

/// A digest of the contents, in their order.
fn digest(files: &[SourceFile]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for SourceFile { text, .. } in files {
        hash.update(text.len().to_le_bytes());
        hash.update(text);
    }
    hash.finalize().into()
}

/// Reads one file, as far as possible.
fn read(file: &SourceFile, report: &mut Report<'_>) -> Option<FileSpec> {
    match yaml::read(&file.text) {
        Ok(mut document) => {
            warn_about_losses(&document, report);
            vocabulary::check(&mut document.root, report);
            FileSpec::read(&document.root, report).map(|spec| FileSpec { more: document.more, ..spec })
        }
        Err(yaml::Fault { line, cause }) => {
            report.error(line, format!("error loading config file: yaml: line {line}: {cause}"));
            None
        }
    }
}

/// Warns about parts of a file that are ignored. The reference ignores them too, without a warning.
fn warn_about_losses(document: &yaml::Document, report: &mut Report<'_>) {
    for yaml::Repeated { key, line, first } in &document.repeated {
        let counts = match key.as_str() {
            "rate_limit" | "metadata" => "both are merged, and the last value of each key is used",
            _ => "only the last one is used",
        };
        report.warn(*line, format!("'{key}' is given twice in one map, first in line {first}: {counts}"));
    }
    if let Some(line) = document.more {
        report.warn(
            line,
            "only the first YAML document of a file is read, the rest is ignored: put each domain in its own file",
        );
    }
}
