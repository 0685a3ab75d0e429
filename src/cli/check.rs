//! `tidegate check`: prints every error and warning of a configuration, or a summary of its rules, with the stored settings over
//! them if wanted.

mod json;
mod settings;

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::BoolishValueParser;

use crate::app::{StoredSettingsError, stored_settings};
use crate::config::{Files, LoadError, MAX_BYTES, ReadError, SettingsBook, Source, warnings};
use crate::rules::{self, LoadOptions, OverlayFile, RuleSet, SourceFile};
use crate::runtime::clock::Clock;
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
    /// Take `unit: month` for a month of the calendar, as `serve --calendar-months`
    #[arg(long, env = "TIDEGATE_CALENDAR_MONTHS", value_parser = BoolishValueParser::new())]
    calendar_months: bool,
    /// Fail on warnings too: on what loads but silently removes or closes limits
    #[arg(long, env = "TIDEGATE_STRICT", value_parser = BoolishValueParser::new())]
    strict: bool,
    /// Data directory of a server: lay its stored settings over the rules, and warn about those that would have no effect
    ///
    /// It is only read, also while the server runs. Example: tidegate check --data-dir /var/lib/tidegate rules/
    #[arg(long, env = "TIDEGATE_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// File with keys that are laid over the rules, as `serve --xds` does it; parts that no rule matches are warnings
    #[arg(long, env = "TIDEGATE_OVERLAY", value_name = "FILE")]
    overlay: Option<PathBuf>,
    /// Print one JSON object for programs: ok, errors, warnings, counts, settings, rules
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
    loaded: Result<Loaded, CheckError>,
}

/// A configuration, and the settings over it.
#[derive(Default)]
struct Loaded {
    rules: RuleSet,
    settings: SettingsBook,
}

/// Why there is nothing to report.
#[derive(Debug, thiserror::Error)]
enum CheckError {
    /// The configuration does not load.
    #[error(transparent)]
    Config(#[from] LoadError),
    /// The stored settings cannot be read.
    #[error(transparent)]
    Settings(#[from] StoredSettingsError),
}

/// Whether the configuration is valid. A closed output (`| head`) does not change the result.
fn check(args: &CheckArgs, input: &mut dyn Read, out: &mut dyn Write, err: &mut dyn Write) -> bool {
    let checked = Checked::load(args, input);
    let warnings = checked.warnings();
    let ok = checked.loaded.is_ok() && (!args.strict || warnings.is_empty());
    let _ = if args.json {
        writeln!(out, "{}", json::object(&checked, ok))
    } else {
        match &checked.loaded {
            Err(error) => complain(error, err),
            Ok(_) if !ok => reject(&warnings, err),
            Ok(_) if args.quiet => Ok(()),
            Ok(loaded) => report(&checked.files, loaded, &warnings, args.data_dir.is_some(), out),
        }
    };
    ok
}

impl Checked {
    /// Reads all paths as one configuration, and the stored settings if they are asked for.
    fn load(args: &CheckArgs, input: &mut dyn Read) -> Self {
        let CheckArgs { merge_domains, calendar_months, .. } = *args;
        let options = LoadOptions { merge_domains, calendar_months, ..LoadOptions::default() };
        let mut files = Files::default();
        for path in &args.paths.0 {
            match read(path, options, input) {
                Ok(more) => files.append(more),
                Err(error) => return Self { files, loaded: Err(LoadError::Read(error).into()) },
            }
        }
        let rules =
            args.overlay.as_deref().map(|path| read_overlay(path, input)).transpose().and_then(|overlay| {
                rules::load_over(&files.files, options, overlay.as_ref()).map_err(LoadError::Rules)
            });
        let rules = rules.map_err(CheckError::from);
        let loaded = rules.and_then(|rules| Loaded::new(rules, args.data_dir.as_deref()));
        Self { files, loaded }
    }

    /// Every warning: of the files, and about settings without an effect.
    fn warnings(&self) -> Vec<String> {
        let Ok(Loaded { rules, settings }) = &self.loaded else { return Vec::new() };
        warnings(&self.files, rules).chain(settings::without_effect(settings)).collect()
    }
}

impl Loaded {
    /// Lays the settings of a data directory over the rules; those that have expired are left out, as a server would.
    fn new(rules: RuleSet, data_dir: Option<&Path>) -> Result<Self, CheckError> {
        let mut settings = data_dir.map(stored_settings).transpose()?.unwrap_or_default();
        settings.lay_over(&rules);
        settings.expire(&rules, Clock::start().now());
        Ok(Self { rules, settings })
    }
}

impl CheckError {
    fn lines(&self) -> Vec<String> {
        match self {
            Self::Config(error) => error.lines().collect(),
            Self::Settings(error) => vec![error.to_string()],
        }
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

fn read_overlay(path: &Path, input: &mut dyn Read) -> Result<OverlayFile, LoadError> {
    let files = read(path, LoadOptions::default(), input).map_err(LoadError::Read)?.files;
    let none = SourceFile { name: path.display().to_string(), text: Vec::new() };
    OverlayFile::read(files.first().unwrap_or(&none)).map_err(LoadError::Rules)
}

fn complain(error: &CheckError, err: &mut dyn Write) -> io::Result<()> {
    let lines = error.lines();
    lines.iter().try_for_each(|line| writeln!(err, "{line}"))?;
    writeln!(err, "not ok: {}", counted(lines.len(), "error"))
}

/// Reports the warnings that `--strict` rejects.
fn reject(warnings: &[String], err: &mut dyn Write) -> io::Result<()> {
    warnings.iter().try_for_each(|warning| writeln!(err, "warning: {warning}"))?;
    writeln!(err, "not ok: {} (--strict)", counted(warnings.len(), "warning"))
}

fn report(
    files: &Files,
    Loaded { rules, settings }: &Loaded,
    warnings: &[String],
    with_settings: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let count = counted(files.files.len(), "file");
    let domains = counted(rules.domains().count(), "domain");
    let set = if with_settings { format!(", {}", counted(settings.list().count(), "setting")) } else { String::new() };
    writeln!(out, "ok: {count}, {domains}, {}{set}", counted(rules.rules().len(), "rule"))?;
    warnings.iter().try_for_each(|warning| writeln!(out, "warning: {warning}"))?;
    rules.lifted(settings.overlay()).iter().try_for_each(|lifted| writeln!(out, "limits are lifted: {lifted}"))?;
    settings::switches(settings).try_for_each(|line| writeln!(out, "  {line}"))?;
    for case in settings::cases(rules, settings.overlay()) {
        let mark = if case.is_set { " (setting)" } else { "" };
        let entries = settings::entries(case.entries);
        writeln!(out, "  {}{entries}: {}{mark}", case.rule.path, case.rule.words())?;
    }
    Ok(())
}

/// A count with its noun.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests;
