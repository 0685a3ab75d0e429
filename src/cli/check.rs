//! `tidegate check`: prints every error and warning of a configuration, or a summary of its rules.

mod json;

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::builder::BoolishValueParser;

use crate::config::{Files, LoadError, MAX_BYTES, ReadError, Source, warnings};
use crate::rules::{self, LoadOptions, Overlay, RuleSet, SourceFile};
use crate::settings::ConfigPaths;

/// Loads a configuration as the server would, and reports every error, or a summary.
#[derive(Clone, Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools)] // Switches of a command line, each on its own.
pub(super) struct CheckArgs {
    #[command(flatten)]
    paths: ConfigPaths,
    /// Allow several files to extend one domain
    #[arg(long, env = "TIDEGATE_MERGE_DOMAINS", value_parser = BoolishValueParser::new())]
    merge_domains: bool,
    /// Fail on warnings too: on what loads but silently removes or closes limits
    #[arg(long, env = "TIDEGATE_STRICT", value_parser = BoolishValueParser::new())]
    strict: bool,
    /// Print one JSON object for programs: ok, errors, warnings, counts, rules
    #[arg(long, env = "TIDEGATE_JSON", value_parser = BoolishValueParser::new())]
    json: bool,
    /// Print nothing if the configuration loads
    #[arg(long, short, env = "TIDEGATE_QUIET", value_parser = BoolishValueParser::new())]
    quiet: bool,
}

/// Checks and reports; the exit code is 1 if there is an error.
pub(super) fn run(args: &CheckArgs) -> ExitCode {
    let ok = check(args, &mut io::stdin().lock(), &mut io::stdout().lock(), &mut io::stderr().lock());
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The files that were read, and the result.
struct Checked {
    files: Files,
    loaded: Result<RuleSet, LoadError>,
}

/// Whether the configuration is valid. A closed output (`| head`) does not change the result.
fn check(args: &CheckArgs, input: &mut dyn Read, out: &mut dyn Write, err: &mut dyn Write) -> bool {
    let checked = Checked::load(args, input);
    let ok = match &checked.loaded {
        Ok(rules) => !args.strict || warnings(&checked.files, rules).next().is_none(),
        Err(_) => false,
    };
    let _ = if args.json {
        writeln!(out, "{}", json::object(&checked, ok))
    } else {
        match &checked.loaded {
            Err(error) => complain(error, err),
            Ok(rules) if !ok => reject(&checked.files, rules, err),
            Ok(_) if args.quiet => Ok(()),
            Ok(rules) => report(&checked.files, rules, out),
        }
    };
    ok
}

impl Checked {
    /// Reads all paths as one configuration.
    fn load(args: &CheckArgs, input: &mut dyn Read) -> Self {
        let options = LoadOptions { merge_domains: args.merge_domains };
        let mut files = Files::default();
        for path in &args.paths.0 {
            match read(path, options, input) {
                Ok(more) => files.append(more),
                Err(error) => return Self { files, loaded: Err(LoadError::Read(error)) },
            }
        }
        let loaded = rules::load(&files.files, options).map_err(LoadError::Rules);
        Self { files, loaded }
    }
}

fn read(path: &Path, options: LoadOptions, input: &mut dyn Read) -> Result<Files, ReadError> {
    if path != Path::new("-") {
        return Source::open(path, options).read();
    }
    let (name, mut text) = ("<stdin>".to_owned(), Vec::new());
    let read = input.take(MAX_BYTES + 1).read_to_end(&mut text);
    read.map_err(|error| ReadError::Unreadable { path: name.clone().into(), error })?;
    if text.len() as u64 > MAX_BYTES {
        return Err(ReadError::TooMuch { path: name.into(), what: "bytes", max: MAX_BYTES });
    }
    let mut files = Files::default();
    files.files.push(SourceFile { name, text });
    Ok(files)
}

fn complain(error: &LoadError, err: &mut dyn Write) -> io::Result<()> {
    for line in error.lines() {
        writeln!(err, "{line}")?;
    }
    writeln!(err, "not ok: {}", counted(error.lines().count(), "error"))
}

/// Reports the warnings that `--strict` rejects.
fn reject(files: &Files, rules: &RuleSet, err: &mut dyn Write) -> io::Result<()> {
    warnings(files, rules).try_for_each(|warning| writeln!(err, "warning: {warning}"))?;
    writeln!(err, "not ok: {} (--strict)", counted(warnings(files, rules).count(), "warning"))
}

fn report(files: &Files, rules: &RuleSet, out: &mut dyn Write) -> io::Result<()> {
    let count = counted(files.files.len(), "file");
    let domains = counted(rules.domains().count(), "domain");
    writeln!(out, "ok: {count}, {domains}, {}", counted(rules.rules().len(), "rule"))?;
    warnings(files, rules).try_for_each(|warning| writeln!(out, "warning: {warning}"))?;
    rules.lifted(&Overlay::default()).iter().try_for_each(|lifted| writeln!(out, "limits are lifted: {lifted}"))?;
    rules.rules().iter().try_for_each(|rule| writeln!(out, "  {}: {}", rule.path, rule.words()))
}

/// A count with its noun.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests;
