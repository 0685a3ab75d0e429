//! `tidegate trace from-envoy-log`: a trace of what a gateway has logged, where nothing was recorded.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{complain, descriptor};
use crate::simulate::{DescriptorPattern, EnvoyLog, SimulateError, ValuePattern};

/// Traces.
#[derive(Args, Clone, Debug)]
pub(super) struct Trace {
    #[command(subcommand)]
    command: TraceCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum TraceCommand {
    /// Make a trace of an Envoy access log: each request becomes a check
    ///
    /// The log has a line of JSON for each request, admitted or denied, as `json_format` of Envoy writes it; other lines are skipped. A
    /// value of a descriptor is a text or, written %FIELD%, a field of the line. As in Envoy, a line without the field does not have the
    /// descriptor, or with %FIELD?% only not the entry. The trace goes to standard output, and its numbers to standard error.
    ///
    /// Example: tidegate trace from-envoy-log --domain gateway --descriptor 'partner=%partner%' access.log > trace.jsonl
    ///
    /// Exit status: 0 done, 1 the log cannot be read or converted, or no line has a descriptor.
    FromEnvoyLog(FromEnvoyLog),
}

#[derive(Args, Clone, Debug)]
struct FromEnvoyLog {
    /// File with the log; without it, standard input
    #[arg(value_name = "LOG")]
    log: Option<PathBuf>,

    /// The domain of the rules
    #[arg(long, value_name = "DOMAIN", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    domain: String,

    /// A descriptor: its entries in order, with texts or fields of the log as values; repeat the flag for more descriptors
    #[arg(long, value_name = "KEY=%FIELD%,...", required = true, value_parser = pattern)]
    descriptor: Vec<Pattern>,

    /// Field with the time at which a request began: RFC 3339, as %START_TIME% is, or seconds since the epoch
    #[arg(long, value_name = "FIELD", default_value = "time")]
    time: String,

    /// Field with the number of hits that a request costs; without it, and for a line without it, 1
    #[arg(long, value_name = "FIELD")]
    hits: Option<String>,
}

/// One value of `--descriptor`: clap takes a `Vec` for several of them.
#[derive(Clone, Debug)]
struct Pattern(DescriptorPattern);

fn pattern(text: &str) -> Result<Pattern, String> {
    let entries = descriptor::parse(text)?.entries;
    Ok(Pattern(entries.into_iter().map(|entry| (entry.key, ValuePattern::read(&entry.value))).collect()))
}

impl Trace {
    pub(super) fn run(self) -> ExitCode {
        let TraceCommand::FromEnvoyLog(convert) = self.command;
        match convert.run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&format!("error: {error}"));
                ExitCode::FAILURE
            }
        }
    }
}

impl FromEnvoyLog {
    fn run(self) -> Result<(), String> {
        let (name, log) = open(self.log)?;
        let descriptors = self.descriptor.into_iter().map(|Pattern(pattern)| pattern).collect();
        let converter = EnvoyLog { domain: self.domain, time: self.time, hits: self.hits, descriptors };
        let traced = match converter.convert(log, BufWriter::new(io::stdout().lock())) {
            // A closed output (`| head`) is not an error.
            Err(SimulateError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            other => other.map_err(|error| format!("{name}: {error}"))?,
        };
        let (checks, without, other) = (traced.checks, traced.without_descriptor, traced.other);
        complain(&format!(
            "{checks} checks; skipped: {without} lines without a descriptor, {other} lines that are no JSON"
        ));
        if checks == 0 {
            return Err(format!("{name}: no line has the fields of a descriptor"));
        }
        Ok(())
    }
}

fn open(log: Option<PathBuf>) -> Result<(String, Box<dyn BufRead>), String> {
    let Some(path) = log else { return Ok(("standard input".to_owned(), Box::new(io::stdin().lock()))) };
    let file = File::open(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok((path.display().to_string(), Box::new(BufReader::new(file))))
}
