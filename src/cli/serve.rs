//! `tidegate serve`: exit status 0 after an orderly shutdown, 1 when it could not start or failed, 130 after a second signal.

mod variables;

use std::ffi::OsStr;
use std::process::ExitCode;

use super::complain;
use super::ratelimit::Notes;
use crate::app::{self, End};
use crate::runtime::clock::Clock;
use crate::settings::{LogFormat, Settings};
use crate::telemetry::log;

/// Serves until a signal stops the process. `notes`: what `ratelimit` mode made of its variables.
pub(super) fn run(settings: &Settings, notes: Option<&Notes>) -> ExitCode {
    let format = settings.log.log_format;
    if let Err(error) = log::start(&settings.log) {
        fail(format, &[error.to_string()]);
        return ExitCode::FAILURE;
    }
    if let Some(notes) = notes {
        notes.log();
    }
    for warning in variables::warnings(std::env::vars_os()) {
        tracing::warn!("{warning}");
    }
    match app::run(settings) {
        Ok(End::Orderly) => ExitCode::SUCCESS,
        Ok(End::Forced) => ExitCode::from(FORCED),
        Err(error) => {
            fail(format, &error.lines());
            ExitCode::FAILURE
        }
    }
}

/// Reports an invalid command line, in JSON if that is the log's format, so that a log collector can read the reason.
pub(super) fn fail_to_parse(error: &clap::Error) {
    fail(LogFormat::Json, &[one_line(error)]);
}

/// What is wrong with a command line, without usage and hints.
pub(super) fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    // Usage and hints follow after an empty line.
    let what = text.split("\n\n").next().unwrap_or_default();
    let what = what.split_whitespace().collect::<Vec<_>>().join(" ");
    what.trim_start_matches("error: ").to_owned()
}

/// Reports why `ratelimit` mode does not start, in the format that its variables name.
pub(super) fn fail_to_start(reason: &str) -> ExitCode {
    let named = |name| std::env::var(name).is_ok_and(|format| format.eq_ignore_ascii_case("json"));
    let is_json = named("TIDEGATE_LOG_FORMAT") || named("LOG_FORMAT");
    fail(if is_json { LogFormat::Json } else { LogFormat::Text }, &[reason.to_owned()]);
    ExitCode::FAILURE
}

/// Whether a command line, which may be invalid, requests `serve` with a log in JSON.
pub(super) fn wants_json<A: AsRef<OsStr>>(arguments: &[A], variable: Option<&OsStr>) -> bool {
    let arguments: Vec<_> = arguments.iter().map(|argument| argument.as_ref().to_string_lossy()).collect();
    let values = arguments.iter().zip(arguments.iter().skip(1).map(|next| &**next).chain([""]));
    let given = values.filter_map(|(argument, next)| match &**argument {
        "--log-format" => Some(next),
        other => other.strip_prefix("--log-format="),
    });
    let is_serve = arguments.first().is_some_and(|command| command == "serve");
    is_serve && given.last().map_or_else(|| variable == Some(OsStr::new("json")), |format| format == "json")
}

/// Reports why the process ends, one line per reason, whatever the log level.
fn fail(format: LogFormat, reasons: &[String]) {
    let now = Clock::start().now();
    for reason in reasons {
        match format {
            LogFormat::Text => complain(&format!("error: {reason}")),
            LogFormat::Json => complain(&log::fatal_json(now, reason)),
        }
    }
}

/// The exit status that shells report for a process that an interrupt ended.
const FORCED: u8 = 130;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_asks_for_json() {
        let cases: &[(&[&str], Option<&str>, bool)] = &[
            (&["serve", "--log-format", "json"], None, true),
            (&["serve", "--log-format=json", "--drain", "soon"], None, true),
            (&["serve", "--drain", "soon"], Some("json"), true),
            (&["serve", "--log-format", "text"], Some("json"), false),
            (&["serve", "--log-format", "json", "--log-format=text"], None, false),
            (&["serve", "--log-format"], None, false),
            (&["serve"], None, false),
            (&["check", "--log-format", "json"], Some("json"), false),
            (&[], Some("json"), false),
        ];
        for (arguments, variable, expected) in cases {
            assert_eq!(wants_json(arguments, variable.map(OsStr::new)), *expected, "{arguments:?} {variable:?}");
        }
    }
}
