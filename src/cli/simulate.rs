//! `tidegate simulate`: exit status 0, or 1 when the configuration or a line of the trace cannot be read.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::BoolishValueParser;

use super::complain;
use crate::config::{Source, warnings};
use crate::limiter::{Limiter, Settings};
use crate::rules::{self, LoadOptions};
use crate::settings::ConfigPath;
use crate::simulate::{self, Output, SimulateError};
use crate::units::Timestamp;

/// The trace, and the rules.
#[derive(Clone, Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools)] // Switches of a command line, each on its own.
pub(super) struct Simulate {
    /// The rules
    #[command(flatten)]
    config: ConfigPath,

    /// Allow several files to extend one domain
    #[arg(long, env = "TIDEGATE_MERGE_DOMAINS", value_parser = BoolishValueParser::new())]
    merge_domains: bool,

    /// Take `unit: month` for a month of the calendar, as `serve --calendar-months`
    #[arg(long, env = "TIDEGATE_CALENDAR_MONTHS", value_parser = BoolishValueParser::new())]
    calendar_months: bool,

    /// File with the trace, in order of time; without it, standard input
    #[arg(long, env = "TIDEGATE_TRACE", value_name = "FILE")]
    trace: Option<PathBuf>,

    /// Print totals per rule and the busiest counters instead of the decisions
    #[arg(long, env = "TIDEGATE_SUMMARY", value_parser = BoolishValueParser::new())]
    summary: bool,

    /// Deny nothing, as `serve --shadow-mode`
    #[arg(long, env = "TIDEGATE_SHADOW_MODE", value_parser = BoolishValueParser::new())]
    shadow_mode: bool,

    /// Treat every descriptor as a quota descriptor, as `serve --quota-mode`
    #[arg(long, env = "TIDEGATE_QUOTA_MODE", value_parser = BoolishValueParser::new())]
    quota_mode: bool,
}

impl Simulate {
    pub(super) fn run(self) -> ExitCode {
        match self.decide() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&error);
                ExitCode::FAILURE
            }
        }
    }

    fn decide(&self) -> Result<(), String> {
        let limiter = self.limiter()?;
        let (name, trace) = self.open()?;
        let out = BufWriter::new(io::stdout().lock());
        let output = if self.summary { Output::Summary } else { Output::Decisions };
        match simulate::run(&limiter, trace, out, output) {
            // A closed output (`| head`) is not an error.
            Err(SimulateError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other.map_err(|error| format!("error: {name}: {error}")),
        }
    }

    fn limiter(&self) -> Result<Limiter, String> {
        let Self { merge_domains, calendar_months, .. } = *self;
        let source =
            Source::open(&self.config.0, LoadOptions { merge_domains, calendar_months, ..LoadOptions::default() });
        let files = source.read().map_err(|error| format!("error: {error}"))?;
        let loaded = rules::load(&files.files, source.options());
        let rules = loaded.map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
        warnings(&files, &rules).for_each(|warning| complain(&format!("warning: {warning}")));
        // Only a summary shows single counters and values.
        let usage_series = if self.summary { SUMMARY_SERIES } else { 0 };
        let (shadow_mode, quota_mode) = (self.shadow_mode, self.quota_mode);
        let settings = Settings { shadow_mode, quota_mode, usage_series, ..Settings::default() };
        let limiter = Limiter::new(settings);
        limiter.replace_rules(Timestamp::EPOCH, rules);
        Ok(limiter)
    }

    fn open(&self) -> Result<(String, Box<dyn BufRead>), String> {
        match &self.trace {
            None => Ok(("standard input".into(), Box::new(io::stdin().lock()))),
            Some(path) => {
                let file = File::open(path).map_err(|error| format!("error: --trace {}: {error}", path.display()))?;
                Ok((path.display().to_string(), Box::new(BufReader::new(file))))
            }
        }
    }
}

/// As many as `serve` tracks individually by default.
const SUMMARY_SERIES: u32 = 10_000;
